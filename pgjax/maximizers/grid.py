"""Joint grid: the same number of points in every dimension, bounds included."""

from __future__ import annotations

import functools

import jax.numpy as jnp

from pgjax.checks import check_count
from pgjax.materialize import materialize
from pgjax.maximizers.base import Maximizer, evaluate
from pgjax.types import Array


@functools.lru_cache(typed=True)
def grid(*, num_points: int = 3, chunk_size: int = 16_384) -> Maximizer:
    """Evaluate a grid of num_points^N actions.

    Mean regret on `-|a - v|^2` is `N h^2 / 12` for a spacing h; halving h costs 2^N times the evaluations.

    Args:
        num_points: points in each dimension, bounds included; >= 2.
        chunk_size: points evaluated in one step. A grid of more points takes ceil(num_points^N / chunk_size)
            steps; further steps begin again.

    Raises:
        ValueError: a setting out of range; when run, num_points^N >= 2^31.
    Cost:
        min(chunk_size, num_points^N) evaluations a step.
    Reference:
        discretization, as in Metz et al. (2017), Discrete sequential prediction of continuous actions for deep RL,
        section 1. Default 3: bang-off-bang, Seyde et al. (2021), Is bang-bang control all you need?
    """
    check_count("num_points", num_points, 2)
    check_count("chunk_size", chunk_size)

    def init(key, objective, initial):
        del key, objective
        total = num_points ** initial.points.shape[1]
        if total >= 2**31:
            raise ValueError(f"num_points^N must be below 2^31; got {num_points}^{initial.points.shape[1]}")
        return (jnp.uint32(0), jnp.zeros_like(initial.points[0])), None

    def step(key, objective, state):
        del key
        start, like = state
        total = num_points ** like.shape[0]
        size = min(chunk_size, total)
        points = materialize(_grid_points(start, size, num_points, like))
        return ((start + jnp.uint32(size)) % jnp.uint32(total), like), evaluate(objective, points)

    return Maximizer(init, step, lambda num_dims: min(chunk_size, num_points**num_dims))


def _grid_points(start: Array, size: int, num_points: int, like: Array) -> Array:
    """Points start ... start + size - 1 of the grid in [-1, 1]^N, the first dimension changing fastest."""
    num_dims = like.shape[0]
    index = start + jnp.arange(size, dtype=jnp.uint32)
    digits = [(index // jnp.uint32(num_points**i)) % jnp.uint32(num_points) for i in range(num_dims)]
    points = jnp.stack(digits, axis=-1).astype(like.dtype) * (2 / (num_points - 1)) - 1
    # The upper bound itself, not what rounding makes of it.
    return jnp.where(points > 1 - 0.5 / num_points, 1, points)
