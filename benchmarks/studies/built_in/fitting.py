"""Fit critics to the six-joint arm's Q on the same data, and say how well each fits."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import pgjax
from studies.common.acting import learned
from studies.common.acting.tasks import Task

NEAR_STD_RAD = 0.3  # of the training actions around a solution, in every joint
NUM_FIT_STATES, NUM_FIT_ACTIONS = 1024, 16
LEARNING_RATE, TRAINING_BATCH = 3e-3, 512


def make_critics(box: pgjax.Box, hidden_sizes: tuple[int, ...]) -> dict[str, Any]:
    """The critics by name, all with the same torso."""
    return {
        "quadratic": pgjax.QuadraticCritic(box, hidden_sizes),
        "control points": pgjax.ControlPointCritic(box, hidden_sizes),
        "factored, 2 bins": pgjax.FactoredCritic(box, hidden_sizes),
        "factored, 11 bins": pgjax.FactoredCritic(box, hidden_sizes, num_bins=11),
        "plain": pgjax.QNetwork(hidden_sizes),
    }


def fit(critic: Any, task: Task, key: jax.Array, num_steps: int) -> Any:
    """Parameters that minimize the squared error to the true Q, on the box's actions and those near a solution.

    Half of a batch's actions are uniform, half are a solution of the state's target with Gaussian noise.
    """
    key_init, key_states, key_train = jax.random.split(key, 3)
    problem = pgjax.problems.six_joint_arm(key_states, learned.TRAINING_TARGETS)
    state_size, num_dims = task.states.shape[-1], task.box.num_dims
    data = jnp.concatenate([problem.states, jnp.asarray(problem.best_action, jnp.float32)], axis=-1)
    low, high = (jnp.asarray(bound, jnp.float32)[None] for bound in (task.box.low, task.box.high))

    def loss(params, key, rows):
        states, solutions = rows[:, :state_size], rows[:, state_size:]
        key_uniform, key_near = jax.random.split(key)
        uniform = jax.random.uniform(key_uniform, solutions.shape, minval=low, maxval=high)
        near = near_solution(key_near, solutions, task.box)
        is_near = jnp.arange(len(rows)) % 2 == 0
        actions = jnp.where(is_near[:, None], near, uniform)
        values = jax.vmap(task.objective, (None, 0, 0))(task.params, states, actions)
        return jnp.mean((critic.apply(params, states, actions) - values) ** 2)

    params = jax.jit(critic.init)(key_init, task.states[0], jnp.zeros(num_dims))
    return learned.train(loss, params, key_train, num_steps, TRAINING_BATCH, LEARNING_RATE, data)


def near_solution(key: jax.Array, solutions: jax.Array, box: pgjax.Box) -> jax.Array:
    """The solutions `[B, N]` with noise, in the box."""
    low, high = (jnp.asarray(bound, jnp.float32)[None] for bound in (box.low, box.high))
    return jnp.clip(solutions + NEAR_STD_RAD * jax.random.normal(key, solutions.shape), low, high)


def fit_quality(critic: Any, params: Any, task: Task, key: jax.Array) -> dict[str, float]:
    """R^2 on held-out targets: on uniform actions, and on the mixture trained on (half near a solution)."""
    assert task.problem is not None
    states = jnp.tile(task.states[:NUM_FIT_STATES], (NUM_FIT_ACTIONS, 1))
    solutions = jnp.tile(jnp.asarray(task.problem.best_action[:NUM_FIT_STATES], jnp.float32), (NUM_FIT_ACTIONS, 1))
    low, high = (jnp.asarray(bound, jnp.float32)[None] for bound in (task.box.low, task.box.high))
    key_uniform, key_near = jax.random.split(key)
    uniform = jax.random.uniform(key_uniform, solutions.shape, minval=low, maxval=high)
    actions = jnp.stack([uniform, near_solution(key_near, solutions, task.box)])
    true, fitted = (
        np.asarray(values_of(objective, given, states, actions), np.float64)
        for objective, given in ((task.objective, task.params), (critic.apply, params))
    )
    errors = (fitted - true) ** 2
    return {
        "r_squared_uniform": float(1 - np.mean(errors[0]) / np.var(true[0])),
        "r_squared_mixture": float(1 - np.mean(errors) / np.var(true)),
    }


@functools.partial(jax.jit, static_argnums=0)
def values_of(objective: Any, params: Any, states: jax.Array, actions: jax.Array) -> jax.Array:
    """Values of actions `[A, B, N]` of states `[B, D]`."""
    return jax.vmap(jax.vmap(objective, (None, 0, 0)), (None, None, 0))(params, states, actions)
