"""Multi-start projected L-BFGS."""

from __future__ import annotations

import functools

import jax.numpy as jnp

from pgjax.checks import check_count
from pgjax.maximizers.base import Maximizer
from pgjax.maximizers.multi_start import (
    DEFAULT_SEARCH,
    DEFAULT_SEARCH_STEPS,
    free_gradient,
    multi_start,
    trial_steps,
    value_and_gradient,
)
from pgjax.types import Array

# Of a pair, s.y / (|s| |y|): pairs below, among them those of negative curvature, are dropped.
_MIN_CURVATURE = 1e-8


@functools.lru_cache(typed=True)
def lbfgs(
    *,
    num_starts: int = 8,
    search: Maximizer | None = DEFAULT_SEARCH,
    num_search_steps: int = DEFAULT_SEARCH_STEPS,
    memory_size: int = 5,
    initial_step: float = 0.1,
) -> Maximizer:
    """Climb by limited-memory quasi-Newton steps from several starts side by side, projected onto the box.

    Each start is on its own: its memory, its step length. Dimensions at a bound that the gradient presses on are
    held. A step evaluates one point of each start: it is accepted if the objective rises enough (Armijo); else the
    next step tries a shorter one in the same direction, so that starts never wait for one another's line searches.

    Args:
        num_starts, search, num_search_steps: the starts, as for `gradient_ascent`.
        memory_size: pairs of changes of point and gradient kept.
        initial_step: length of the first step in its largest dimension, in half widths of the box. It doubles
            while no pair of positive curvature is known, as on linear pieces.

    Raises:
        ValueError: a setting out of range; when run, as `gradient_ascent`.
    Cost:
        that of the search, then num_starts gradients a step; the first step evaluates the starts.
    Reference:
        Nocedal & Wright (2006), Numerical optimization, algorithm 7.4 (two-loop recursion; its memory, 5); held
        dimensions: Bertsekas (1982), Projected Newton methods for optimization problems with simple constraints.
        Deviation: backtracking instead of Wolfe's conditions; pairs of negative curvature are dropped.
    """
    check_count("memory_size", memory_size)
    if not initial_step > 0:
        raise ValueError(f"initial_step must be positive; got {initial_step}")

    def no_pairs(start):
        pairs = jnp.zeros((memory_size, *start.shape), start.dtype)
        return pairs, pairs

    def examine(objective, trial, point, gradient, model):
        value, trial_gradient = value_and_gradient(objective, trial)
        new_pair = (trial - point, gradient - trial_gradient)
        steps, changes = (jnp.concatenate([old[1:], new[None]]) for old, new in zip(model, new_pair, strict=True))
        direction = _direction(free_gradient(trial, trial_gradient), steps, changes, initial_step)
        return value, trial_gradient, direction, (steps, changes)

    return multi_start(trial_steps(no_pairs, examine), num_starts, search, num_search_steps)


def _direction(gradient: Array, steps: Array, changes: Array, initial_step: float) -> Array:
    """The two-loop recursion in the free dimensions; along the gradient, ever farther, while no pair is known."""
    free = gradient != 0
    steps, changes = jnp.where(free[None], steps, 0), jnp.where(free[None], changes, 0)
    curvatures = jnp.sum(steps * changes, axis=1)
    sizes = jnp.sqrt(jnp.sum(jnp.square(steps), axis=1) * jnp.sum(jnp.square(changes), axis=1))
    known = curvatures > _MIN_CURVATURE * sizes
    inverse = jnp.where(known, 1 / jnp.where(known, curvatures, 1), 0)
    direction, weights = gradient, []
    for i in reversed(range(len(steps))):
        weights.append(inverse[i] * jnp.sum(steps[i] * direction))
        direction = direction - weights[-1] * changes[i]
    tiny = jnp.finfo(gradient.dtype).tiny
    last = jnp.max(jnp.abs(steps[-1]))
    length = jnp.where(last > 0, jnp.minimum(2 * last, 1), initial_step)
    scale = length / jnp.maximum(jnp.max(jnp.abs(gradient)), tiny)
    for i in range(len(steps)):  # the newest known pair's curvature
        newest = curvatures[i] / jnp.maximum(jnp.sum(jnp.square(changes[i])), tiny)
        scale = jnp.where(known[i], newest, scale)
    direction = scale * direction
    for i, weight in zip(range(len(steps)), reversed(weights), strict=True):
        direction = direction + steps[i] * (weight - inverse[i] * jnp.sum(changes[i] * direction))
    return jnp.where(free, direction, 0)
