"""Problems by name, with known or bracketed maxima, each in two disjoint splits: one to tune on, one to report."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import pgjax
from pgjax import problems
from studies.common.acting import learned
from studies.common.acting.tasks import ARM, ARM_FLOPS, Task
from studies.common.timing import mlp_flops

Split = Literal["tune", "report"]
NUM_STATES = 256
TRACKING_NOISE_RAD = 0.1
# In six dimensions; the first three are also timed at every batch size.
NAMES = (
    ARM,
    "relu_2x64_late",
    "relu_2x256_late",
    "tanh_2x64_late",
    "relu_2x64_early",
    "tanh_2x256_late",
    "six_joint_arm_tracking",
    "six_joint_arm_step",
    "planted_peaks_6d",
    "rastrigin_6d",
    "ackley_6d",
    "quadratic_6d",
)
TIMED_EVERYWHERE = NAMES[:3]
TUNED_ON = (ARM, "relu_2x64_late", "rastrigin_6d")
DIMENSION_FAMILIES = ("planted_peaks", "rastrigin", "quadratic")
DIMENSIONS = (1, 2, 3, 6, 12, 24)


class Case(NamedTuple):
    """A problem as the benchmark uses it.

    Fields: task; title; family, of problems that differ in dimension alone; initial actions `[B, N]` or None;
    policy: a trained (module, params), or None.
    """

    task: Task
    title: str
    family: str
    initial: jax.Array | None
    policy: tuple[pgjax.GaussianPolicy, Any] | None


def make_case(name: str, split: Split, num_states: int, training_steps: int) -> Case:
    """A problem by name, its states repeated to num_states; with a policy where one can be trained for it."""
    key = jax.random.fold_in(jax.random.key(20), 0 if split == "report" else 1)
    if match := re.fullmatch(r"(relu|tanh)_2x(\d+)_(\w+)", name):
        return _critic_case(name, split, num_states, training_steps, int(match[2]))
    initial = policy = None
    if name == "six_joint_arm_step":
        problem, title, flops = problems.six_joint_arm_step(key), "arm, one move of 0.05 rad", ARM_FLOPS
    elif name.startswith("six_joint_arm"):
        problem, title, flops = problems.six_joint_arm(key, NUM_STATES), "arm", ARM_FLOPS
        if name == "six_joint_arm_tracking":
            noise = TRACKING_NOISE_RAD * jax.random.normal(jax.random.fold_in(key, 1), (NUM_STATES, 6))
            initial, title = jnp.asarray(problem.best_action, jnp.float32) + noise, "arm, warm start 0.1 rad off"
        else:
            policy = _train(problem, training_steps)
    else:
        problem, title, flops = _analytic(name, key)
    size = len(problem.states)
    index = np.arange(num_states) % size
    problem = repeat(problem, index)
    task = Task(
        name,
        lambda _, state, action: problem.objective(state, action),
        (),
        problem.states,
        min(num_states, size),
        problem.box,
        problem,
        0,
        flops,
    )
    family = name.rpartition("_")[0] if name.endswith("d") else name
    return Case(task, title, family, None if initial is None else initial[index], policy)


def repeat(problem: problems.Problem, index: np.ndarray) -> problems.Problem:
    """The problem with the states of these indices."""
    upper = None if problem.upper_bound is None else problem.upper_bound[index]
    return problem._replace(
        states=problem.states[index],
        maximum=problem.maximum[index],
        best_action=problem.best_action[index],
        upper_bound=upper,
    )


def _analytic(name: str, key: jax.Array) -> tuple[problems.Problem, str, int]:
    """The problem, its title, and the operations of one evaluation."""
    family, _, dims = name.rpartition("_")
    n = int(dims.removesuffix("d"))
    makers: dict[str, tuple[Callable[..., problems.Problem], dict[str, str], str, int]] = {
        "planted_peaks": (problems.planted_peaks, {}, "planted peaks", 32 * n * n),
        "rastrigin": (problems.separable, {"function": "rastrigin"}, "Rastrigin", 6 * n),
        "ackley": (problems.separable, {"function": "ackley"}, "Ackley, separable", 8 * n),
        "quadratic": (problems.quadratic, {"curvature": "indefinite"}, "quadratic, indefinite", 2 * n * n + 2 * n),
    }
    maker, settings, title, flops = makers[family]
    return maker(key, NUM_STATES, num_dims=n, **settings), f"{title}, {n}-d", flops


def _critic_case(name: str, split: Split, num_states: int, training_steps: int, width: int) -> Case:
    """A critic fitted to the arm's Q; half of its states with brackets are kept for tuning."""
    critic, problem = problems.load_critic(name), problems.critic_problem(name)
    size = len(problem.states) // 2
    problem = repeat(problem, np.arange(num_states) % size + (0 if split == "report" else size))
    state_size, num_dims = problem.states.shape[1], problem.box.num_dims
    task = Task(
        name,
        critic.value,
        jax.tree.map(jnp.asarray, critic.params),
        problem.states,
        min(num_states, size),
        problem.box,
        problem,
        mlp_flops((state_size, width)),
        mlp_flops((num_dims, width, width, 1)),
    )
    return Case(task, f"critic {name.replace('_', ' ')}", name, None, _train(problem, training_steps))


def _train(problem: problems.Problem, num_steps: int) -> tuple[pgjax.GaussianPolicy, Any] | None:
    """A Gaussian policy of the arm's targets that maximizes Q; None for no steps."""
    if num_steps == 0:
        return None
    params = learned.train_gaussian(problem, jax.random.key(21), num_steps)
    return learned.gaussian_policy(problem), params
