"""Judge actions by regret, rescored in float64 on one reference."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from studies.common.acting.tasks import Task
from studies.common.statistics import summarize

NUM_REGRET_ACTIONS = 1024  # uniform actions a state, for the scale of the regret
SUCCESSES = (1e-1, 1e-2, 1e-3, 1e-4)


def regret_scale(task: Task) -> np.ndarray:
    """Maximum minus the mean over uniform actions, for each state, in float64."""
    assert task.problem is not None
    with jax.enable_x64(True):
        uniform = jax.random.uniform(jax.random.key(1), (NUM_REGRET_ACTIONS, task.box.num_dims), jnp.float64)
        actions = task.box.low[None] + (task.box.high - task.box.low)[None] * uniform
        states = np.asarray(task.states, np.float64)
        values = jax.jit(lambda s, a: jax.lax.map(lambda s: jnp.mean(jax.vmap(
            lambda a: task.objective(task.params, s, a))(a)), s, batch_size=16))(states, actions)  # fmt: skip
        return task.problem.maximum - np.asarray(values)


def regret(task: Task, actions: Any, scale: np.ndarray) -> dict[str, Any]:
    """Regret of actions `[K, S, N]` for the first S states under K keys; bounds in the actions' own dtype.

    Actions are rescored in float64, and taken together over keys and states, but for `normalized_regret_by_key`:
    the median of each key.
    """
    assert task.problem is not None
    given = np.asarray(actions)
    count = given.shape[1]
    low, high = (np.asarray(bound, given.dtype) for bound in (task.box.low, task.box.high))
    with jax.enable_x64(True):
        states = np.asarray(task.states[:count], np.float64)
        wide = given.astype(np.float64)
        values = np.stack([rescore(task.objective, task.params, states, own) for own in wide])
    lost = task.problem.maximum[:count] - values
    normalized = lost / scale[:count]
    upper = task.problem.upper_bound
    above = None
    if upper is not None and np.all(np.isfinite(upper[:count])):
        gap = upper[:count] - task.problem.maximum[:count]
        above = summarize(((lost + gap) / (scale[:count] + gap)).ravel())
    return {
        "regret": summarize(lost.ravel()),
        "normalized_regret": summarize(normalized.ravel()),
        "normalized_regret_by_key": np.median(normalized, axis=1).tolist(),
        "normalized_regret_upper": above,
        "success": {str(level): float(np.mean(normalized <= level)) for level in SUCCESSES},
        "bound_violations": int(np.sum(~np.all((given >= low) & (given <= high), axis=-1))),
        "regret_states": count,
    }


@functools.partial(jax.jit, static_argnums=0)
def rescore(objective: Any, params: Any, states: jax.Array, actions: jax.Array) -> jax.Array:
    """Q of each state's action, in the arguments' own dtype."""
    return jax.vmap(objective, (None, 0, 0))(params, states, actions)
