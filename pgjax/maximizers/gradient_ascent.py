"""Multi-start gradient ascent, projected onto the box."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import optax

from pgjax.maximizers.base import Maximizer
from pgjax.maximizers.multi_start import (
    DEFAULT_SEARCH,
    DEFAULT_SEARCH_STEPS,
    LocalSearch,
    multi_start,
    value_and_gradient,
)

_DEFAULT_LEARNING_RATE = 0.05


@functools.lru_cache(typed=True)
def gradient_ascent(
    *,
    num_starts: int = 8,
    search: Maximizer | None = DEFAULT_SEARCH,
    num_search_steps: int = DEFAULT_SEARCH_STEPS,
    optimizer: optax.GradientTransformation | None = None,
) -> Maximizer:
    """Climb the gradient from several starts side by side, projected onto the box after every step.

    Each start has its own optimizer state. Gradients that are not finite count as zero.

    Args:
        num_starts: starts K: the best of the initial actions and of the points that `search` returns.
        search: any maximizer, run first for the starts: 512 shifted Sobol points by default, which take at most
            32 dimensions; None to climb from the initial actions alone.
        num_search_steps: its steps.
        optimizer: an optax optimizer that needs gradients alone; its learning rate is in half widths of the box.
            Default Adam, 0.05.

    Raises:
        ValueError: a count out of range; when run, fewer points than starts, or more than 32 dimensions with the
            default search.
    Cost:
        that of the search, then num_starts gradients a step; the first step evaluates the starts.
    Reference:
        Kingma & Ba (2015), Adam; projection: Bertsekas (1976), On the Goldstein-Levitin-Polyak gradient projection
        method. Starts: the best of random points, as in multi-start acquisition optimization, Balandat et al.
        (2020), BoTorch, appendix F.
    """
    optimizer = optax.adam(_DEFAULT_LEARNING_RATE) if optimizer is None else optimizer

    def init(start):
        return start, optimizer.init(start)

    def step(objective, state):
        point, optimizer_state = state
        value, gradient = value_and_gradient(objective, point)
        with jax.numpy_dtype_promotion("standard"):  # optax counts on it
            update, optimizer_state = optimizer.update(-gradient, optimizer_state, point)
        return (jnp.clip(optax.apply_updates(point, update), -1, 1), optimizer_state), point, value

    return multi_start(LocalSearch(init, step), num_starts, search, num_search_steps)
