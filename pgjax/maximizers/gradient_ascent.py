"""Multi-start projected gradient ascent, with any optax optimizer."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import optax

from pgjax.checks import check_count
from pgjax.maximizers.base import Candidates, Maximizer, evaluate, finite_or_lowest
from pgjax.maximizers.sobol import sobol_points

_DEFAULT_LEARNING_RATE = 0.05
_MIN_SIDE_BY_SIDE = 64  # candidates evaluated at once, so that blocks of states are sized for the steps


@functools.lru_cache(typed=True)
def gradient_ascent(
    *,
    num_starts: int = 8,
    num_candidates: int = 512,
    optimizer: optax.GradientTransformation | None = None,
) -> Maximizer:
    """Climb the gradient from several starts side by side, projected onto the box after every step.

    The starts are the best num_starts of num_candidates points: the initial action and a shifted Sobol sequence.
    Each start has its own optimizer state. Gradients that are not finite count as zero.

    Args:
        num_starts: starts K.
        num_candidates: points evaluated to choose the starts from, the initial action among them; at least
            num_starts. With one of each, the search climbs from the initial action alone.
        optimizer: an optax optimizer that needs gradients alone; its
            learning rate is in half widths of the box. Default Adam, 0.05.

    Raises: ValueError: a count out of range, more than 32 dimensions.
    Cost: num_candidates evaluations and num_starts gradients at the start, num_starts gradients a step. At most 32
        dimensions, for the Sobol points.
    Reference: Kingma & Ba (2015), Adam; projection: Bertsekas (1976), On the Goldstein-Levitin-Polyak gradient
        projection method. Starts: the best of random points, as in multi-start acquisition optimization,
        Balandat et al. (2020), BoTorch, appendix F.
    """
    check_count("num_starts", num_starts)
    check_count("num_candidates", num_candidates, num_starts)
    optimizer = optax.adam(_DEFAULT_LEARNING_RATE) if optimizer is None else optimizer

    def init(key, objective, initial_point):
        shift = jax.random.bits(key, initial_point.shape, jnp.uint32)
        sobol = sobol_points(jnp.uint32(0), num_candidates - 1, shift).astype(initial_point.dtype)
        points = jnp.concatenate([initial_point[None], sobol])
        candidates = evaluate(objective, points, max(num_starts, _MIN_SIDE_BY_SIDE))
        starts = points[jax.lax.top_k(finite_or_lowest(candidates.values), num_starts)[1]]
        _, gradients = climb(objective, starts)
        state = (starts, gradients, jax.vmap(optimizer.init)(starts))
        return state, candidates._replace(num_gradients=num_starts)

    def step(key, objective, state):
        del key
        points, gradients, optimizer_state = state
        with jax.numpy_dtype_promotion("standard"):  # optax counts on it
            updates, optimizer_state = jax.vmap(optimizer.update)(-gradients, optimizer_state, points)
        points = jnp.clip(optax.apply_updates(points, updates), -1, 1)
        values, gradients = climb(objective, points)
        return (points, gradients, optimizer_state), Candidates(points, values, 0, num_starts)

    def climb(objective, points):
        """Values and gradients, zero where they are not finite."""
        values, gradients = jax.vmap(jax.value_and_grad(objective))(points)
        return values, jnp.where(jnp.isfinite(gradients), gradients, 0)

    return Maximizer(init, step, lambda _: max(num_starts, _MIN_SIDE_BY_SIDE))
