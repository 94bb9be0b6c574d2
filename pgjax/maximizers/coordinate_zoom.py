"""Coordinate search that zooms in: coarse-to-fine bins, one dimension after the other."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from pgjax.checks import check_count
from pgjax.maximizers.base import Candidates, Maximizer, best_point, evaluate, finite_or_lowest


@functools.lru_cache(typed=True)
def coordinate_zoom(*, num_bins: int = 5, num_levels: int = 3) -> Maximizer:
    """Search one dimension after the other, over ever smaller bins around the best point.

    A step is one level: each dimension in turn is divided into num_bins bins, and moves to the middle of the best
    one if that beats where it is. At level 0 the bins divide the whole range; at each further level, the range of
    one bin of the level before, around the point. After the last level the next step begins at level 0 again,
    from the best point.

    Args:
        num_bins: bins of a dimension, >= 2.
        num_levels: levels of a sweep; the last one's bins are 2 num_bins^-num_levels wide on the cube.

    Raises:
        ValueError: a setting out of range.
    Cost:
        N num_bins evaluations a step, num_bins at a time.
    Reference:
        Seo et al. (2024), Continuous control with coarse-to-fine reinforcement learning (CQN): its levels and
        bins, 3 and 5. Deviation: there a critic with values for each dimension chooses all of them at once; here
        they are chosen in turn, by coordinate ascent on any objective.
    """
    check_count("num_bins", num_bins, 2)
    check_count("num_levels", num_levels)

    def init(key, objective, initial):
        del key, objective
        point = best_point(initial)
        value = jnp.max(finite_or_lowest(initial.values))
        return (point, value, jnp.int32(0)), None

    def step(key, objective, state):
        del key
        point, value, level = state
        offsets = ((2 * jnp.arange(num_bins) + 1).astype(point.dtype) / num_bins - 1) * jnp.power(
            jnp.asarray(1 / num_bins, point.dtype), level.astype(point.dtype)
        )

        def move(best, i):
            point, value = best
            middle = jnp.where(level == 0, 0, point[i])
            along = jnp.arange(point.shape[0]) == i
            tries = jnp.clip(middle + offsets, -1, 1)
            tried = evaluate(objective, jnp.where(along[None], tries[:, None], point[None]))
            values = finite_or_lowest(tried.values)
            j = jnp.argmax(values)
            better = values[j] > value
            return (jnp.where(better, tried.points[j], point), jnp.where(better, values[j], value)), None

        num_dims = point.shape[0]
        (point, value), _ = jax.lax.scan(move, (point, value), jnp.arange(num_dims))
        state = (point, value, (level + 1) % num_levels)
        return state, Candidates(point[None], value[None], num_dims * num_bins, 0)

    return Maximizer(init, step, lambda _: num_bins)
