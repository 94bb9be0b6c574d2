"""Claim a on a six-joint arm and a neural critic: the cheapest search that is good enough, against a control step.

Which of the searches is the cheapest is decided on targets and times of its own; what it loses and takes is then
measured anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import argmax_cases
import harness
import jax
import jax.numpy as jnp
import measure as regrets
import methods
import numpy as np
from claims_rows import Statement

import pgjax
from pgjax import maximizers

CONTROL_STEP_S, GOOD_REGRET = 0.02, 0.01
NUM_TARGETS, NUM_TUNING_GROUPS = 64, 4  # targets a seed; groups of so many targets to choose a search on
BATCH_SIZE = 256
CRITIC, CRITIC_STATES, CRITIC_KEYS = "relu_2x64_late", 32, 4
NUM_ROUNDS = 5  # a value of every time and ratio for each: the interval is from the least to the greatest
LIMITS = {"min_time_s": 0.02, "max_time_s": 0.1, "min_repetitions": 20, "num_rounds": 1}


def _search(name: str, maximizer: maximizers.Maximizer, num_steps: int) -> methods.Search:
    return methods.Search(name, "search", maximizer, num_steps)


def _adam(num_starts: int, num_steps: int, num_search_steps: int) -> methods.Search:
    first = maximizers.random_search()
    maximizer = maximizers.gradient_ascent(num_starts=num_starts, search=first, num_search_steps=num_search_steps)
    return _search(f"Adam {num_starts}x{num_steps}", maximizer, num_steps)


GRID = _search("grid 5^6", maximizers.grid(num_points=5), 1)
RANDOM = _search("random 10,000", maximizers.random_search(num_samples=1000, sequence="uniform"), 10)
ADAM = _search("Adam 8x30", maximizers.gradient_ascent(), 30)
SEARCHES = (
    GRID,
    RANDOM,
    _search("zoom 4 levels, 4 bins", maximizers.coordinate_zoom(num_bins=4, num_levels=4), 21),
    _search("CEM 10x400/40", maximizers.cross_entropy(num_samples=400, num_elites=40), 10),
    ADAM,
    _search("L-BFGS 8x30", maximizers.lbfgs(), 30),
)
CRITIC_SEARCHES = (ADAM, _adam(16, 240, 4), _adam(16, 480, 8))

LOST = "median normalized regret"
ARM, ON_CRITIC = "six-joint arm", "ReLU critic 2x64 fitted to the arm"
CHEAPEST = f"{{}}, batch of 1, the cheapest of our searches with {LOST} <= {GOOD_REGRET}"
ARM_SEARCH, CRITIC_SEARCH = CHEAPEST.format(ARM), CHEAPEST.format(ON_CRITIC)
STEP = f"time per decision, s (control step {CONTROL_STEP_S})"
STATEMENTS: dict[str, Statement] = {
    "arm time": Statement(ARM_SEARCH, STEP, low=CONTROL_STEP_S, says="chapter"),
    # What the chapter leaves out: other searches than the two that it names; a policy, alone and in a batch; critics.
    "arm regret": Statement(f"{ARM}, that search, other targets", LOST, high=GOOD_REGRET),
    "arm grid": Statement(f"{ARM}, grid of 5 points a side, 15,625 evaluations", LOST, low=GOOD_REGRET),
    "arm random": Statement(f"{ARM}, 10,000 random samples", LOST, low=GOOD_REGRET),
    "sample time": Statement("sample of a Gaussian policy, two layers of 64, batch of 1", "time, s", high=1e-3),
    "arm ratio": Statement(ARM_SEARCH, "time / of a policy's sample", low=1.0),
    "batch time": Statement(f"{ARM}, that search, batch of {BATCH_SIZE}", STEP, high=CONTROL_STEP_S),
    "batch ratio": Statement(
        f"{ARM}, that search, batch of {BATCH_SIZE}", "time / of a policy's sample", low=10.0
    ),
    "critic same": Statement(f"{ON_CRITIC}, the arm's search", LOST, low=GOOD_REGRET),
    "critic regret": Statement(
        f"{ON_CRITIC}, the cheapest search that does, other states", LOST, high=GOOD_REGRET
    ),
    "critic time": Statement(CRITIC_SEARCH, STEP, high=CONTROL_STEP_S),
    "critic ratio": Statement(CRITIC_SEARCH, "time / of a policy's sample", low=10.0),
}
Call = tuple[Callable[..., Any], tuple[Any, ...]]


class Trial(NamedTuple):
    """A problem with the scale of its regret, for states to report on, and others to choose a search on."""

    task: methods.Task
    scale: np.ndarray
    tuning: methods.Task
    tuning_scale: np.ndarray


def measure(*, num_seeds: int, seed: int) -> dict[str, Any]:
    """Values of the statements, over "seeds" and over "cases", and the "figure"."""
    key, key_tuning = jax.random.key(seed), jax.random.key(seed + 1_000_000)
    of_arm, of_critic = make_trial(*arm_tasks(key, key_tuning, num_seeds)), make_trial(*critic_tasks())
    acts, first_times, chosen = choose(of_arm, SEARCHES, NUM_TUNING_GROUPS, key_tuning)
    critic_acts, critic_times, critic_chosen = choose(of_critic, CRITIC_SEARCHES, 1, key_tuning)
    lost = {name: group_medians(of_arm.task, of_arm.scale, act, key, num_seeds) for name, act in acts.items()}
    critic_lost, same = (
        [
            np.median(group_medians(of_critic.task, of_critic.scale, act, k, 1))
            for k in jax.random.split(key, CRITIC_KEYS)
        ]
        for act in (
            critic_acts[critic_chosen],
            act_of(of_critic.task, next(search for search in SEARCHES if search.name == chosen)),
        )
    )
    calls: dict[str, Call] = {
        "arm": call(acts[chosen], of_arm.task, 1, key),
        "arm batch": call(acts[chosen], of_arm.task, BATCH_SIZE, key),
        "critic": call(critic_acts[critic_chosen], of_critic.task, 1, key),
        "sample": sample_call(of_arm.task, 1, key),
        "sample batch": sample_call(of_arm.task, BATCH_SIZE, key),
    }
    times = times_in_rounds(calls, NUM_ROUNDS)
    return {
        "seeds": {"arm regret": lost[chosen], "arm grid": lost[GRID.name], "arm random": lost[RANDOM.name]},
        "cases": {
            "arm time": times["arm"],
            "sample time": times["sample"],
            "arm ratio": times["arm"] / times["sample"],
            "batch time": times["arm batch"] / BATCH_SIZE,
            "batch ratio": times["arm batch"] / times["sample batch"],
            "critic same": same,
            "critic regret": critic_lost,
            "critic time": times["critic"],
            "critic ratio": times["critic"] / times["sample"],
        },
        "figure": {
            "searches": [
                {"name": name, "time_s": first_times[name], "regret": float(np.median(lost[name]))}
                for name in acts
            ],
            "chosen": chosen,
            "critic": {
                "name": critic_chosen,
                "time_s": float(np.median(times["critic"])),
                "regret": float(np.median(critic_lost)),
            },
            "sample_time_s": float(np.median(times["sample"])),
            "control_step_s": CONTROL_STEP_S,
            "good_regret": GOOD_REGRET,
        },
    }


def arm_tasks(key: jax.Array, key_tuning: jax.Array, num_seeds: int) -> tuple[methods.Task, methods.Task]:
    """The arm with targets to report on, at least a batch, and with others to choose on."""
    num_targets = num_seeds * NUM_TARGETS
    task = methods.make_task("six_joint_arm", num_targets, key)
    other = methods.make_task("six_joint_arm", NUM_TUNING_GROUPS * NUM_TARGETS, key_tuning)
    return task, task._replace(states=other.states, problem=other.problem)


def critic_tasks() -> tuple[methods.Task, methods.Task]:
    """The critic with the two halves of its states whose maximum is known."""
    task, other = (argmax_cases.make_case(CRITIC, split, CRITIC_STATES, 0).task for split in ("report", "tune"))
    return task, task._replace(states=other.states, problem=other.problem)


def make_trial(task: methods.Task, tuning: methods.Task) -> Trial:
    """Both tasks with their scales."""
    return Trial(task, regrets.regret_scale(task), tuning, regrets.regret_scale(tuning))


def act_of(task: methods.Task, search: methods.Search) -> Callable[..., pgjax.Maximum]:
    """A search on a task, jitted: (params, key, states) -> maximum."""
    return jax.jit(methods.search_method(task, search).act)


def choose(
    trial: Trial, searches: Sequence[methods.Search], num_groups: int, key: jax.Array
) -> tuple[dict[str, Callable[..., pgjax.Maximum]], dict[str, float], str]:
    """The searches jitted, their times at batch 1, and the fastest that is good enough on the states to choose on.

    Where none is, the one that loses least.
    """
    acts = {search.name: act_of(trial.task, search) for search in searches}
    lost = {
        name: float(np.median(group_medians(trial.tuning, trial.tuning_scale, act, key, num_groups)))
        for name, act in acts.items()
    }
    calls = {name: call(act, trial.tuning, 1, key) for name, act in acts.items()}
    times = {name: float(rounds[0]) for name, rounds in times_in_rounds(calls, 1).items()}
    return acts, times, cheapest(lost, times)


def cheapest(lost: Mapping[str, float], times: Mapping[str, float]) -> str:
    """The fastest of those that lose little enough, or the one that loses least."""
    good = [name for name in lost if lost[name] <= GOOD_REGRET]
    return min(good, key=lambda name: times[name]) if good else min(lost, key=lambda name: lost[name])


def group_medians(
    task: methods.Task, scale: np.ndarray, act: Callable[..., pgjax.Maximum], key: jax.Array, num_groups: int
) -> np.ndarray:
    """Median normalized regret of each group of states, each with noise of its own; infinite outside the box."""
    assert task.problem is not None
    medians = []
    keys, indices = jax.random.split(key, num_groups), np.arange(len(task.states)).reshape(num_groups, -1)
    for i, index in enumerate(indices):
        part = task._replace(states=task.states[index], problem=argmax_cases.repeat(task.problem, index))
        row = regrets.regret(part, act(task.params, keys[i], part.states).action, scale[index])
        medians.append(math.inf if row["bound_violations"] else row["normalized_regret"]["median"])
    return np.asarray(medians)


def call(act: Callable[..., Any], task: methods.Task, batch_size: int, key: jax.Array) -> Call:
    """A decision for the first states, to be timed."""
    return act, (task.params, key, first_states(task, batch_size))


def sample_call(task: methods.Task, batch_size: int, key: jax.Array) -> Call:
    """A sample of the chapter's policy, as initialized: its time does not depend on its parameters."""
    policy, states = pgjax.GaussianPolicy(task.box.num_dims), first_states(task, batch_size)
    params = policy.init(jax.random.key(0), states)
    return jax.jit(pgjax.sample, static_argnums=0), (policy, params, key, states)


def first_states(task: methods.Task, batch_size: int) -> jax.Array:
    """One state, or a batch; states are repeated where there are too few."""
    return task.states[0] if batch_size == 1 else jnp.resize(task.states, (batch_size, task.states.shape[1]))


def times_in_rounds(calls: Mapping[str, Call], num_rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each call, a median for each round in which all take their turn."""
    rounds = [harness.time_interleaved(calls, **LIMITS) for _ in range(num_rounds)]
    return {name: np.asarray([timings[name].median_s for timings in rounds]) for name in calls}
