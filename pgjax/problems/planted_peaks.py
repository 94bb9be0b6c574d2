"""Cones whose tips are known: many local maxima, of which one is the highest by construction."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from pgjax.checks import check_count
from pgjax.problems.base import Problem, as_floating, box_or_cube, from_cube, to_cube
from pgjax.types import Array, Box, Key

_CENTERS = (-0.9, 0.9)  # in half widths of the box: no tip is at a bound
_SLOPES = (0.5, 2.0)  # of a cone along its principal axes
_HEIGHTS = (0.0, 1.0)


def planted_peaks(
    key: Key, num_states: int = 256, *, num_dims: int = 6, num_peaks: int = 16, box: Box | None = None
) -> Problem:
    """Maximize the highest of several cones: `Q(s, a) = max_i (h_i - |A_i (z - c_i)|)`.

    z is the action in half widths of the box from its center. A state holds the heights h_i, uniform in [0, 1],
    and the centers c_i, uniform in [-0.9, 0.9]^N, so that every state has peaks of its own; the random matrices
    A_i, with singular values between 0.5 and 2, are the problem's. No cone exceeds its height, and the tallest
    attains it at its center: the maximum is max_i h_i. Other tips are local maxima, unless a cone covers them.
    The gradient is finite everywhere, 0 at a tip.

    Args:
        key: random key, for the matrices and the states.
        num_states: number of states B.
        num_dims: N.
        num_peaks: P.
        box: the actions, default [-1, 1]^N.

    Returns:
        a `Problem`; a state `[P + P N]` is the heights, then the centers one after another.
    Raises:
        ValueError: a count out of range, a box of other than N dimensions.
    Cost:
        2 P N^2 multiplications and additions a call.
    """
    check_count("num_states", num_states)
    check_count("num_dims", num_dims)
    check_count("num_peaks", num_peaks)
    box = box_or_cube(box, num_dims)
    key_axes, key_slopes, key_heights, key_centers = jax.random.split(key, 4)
    normal = jax.random.normal(key_axes, (2, num_peaks, num_dims, num_dims))
    left, right = np.linalg.qr(np.asarray(normal, np.float64))[0]
    slopes = np.asarray(
        jax.random.uniform(key_slopes, (num_peaks, num_dims), minval=_SLOPES[0], maxval=_SLOPES[1])
    )
    matrices = np.einsum("pij,pj,pjk->pik", left, slopes.astype(np.float64), right)

    heights = jax.random.uniform(key_heights, (num_states, num_peaks), minval=_HEIGHTS[0], maxval=_HEIGHTS[1])
    centers = jax.random.uniform(
        key_centers, (num_states, num_peaks, num_dims), minval=_CENTERS[0], maxval=_CENTERS[1]
    ) * jnp.asarray(box.high > box.low, jnp.float32).reshape(1, 1, num_dims)  # a fixed dimension has z = 0

    def objective(state: Array, action: Array) -> Array:
        action = as_floating(action)
        offset = to_cube(box, action)[None] - state[num_peaks:].reshape(num_peaks, num_dims)
        scaled = jnp.einsum("pij,pj->pi", jnp.asarray(matrices, action.dtype), offset, precision="highest")
        square = jnp.sum(jnp.square(scaled), axis=-1)
        at_tip = square == 0  # where the square root has an infinite derivative
        distance = jnp.where(at_tip, 0, jnp.sqrt(jnp.where(at_tip, 1, square)))
        return jnp.max(state[:num_peaks] - distance)

    states = jnp.concatenate([heights, centers.reshape(num_states, -1)], axis=-1)
    tallest = np.argmax(np.asarray(heights), axis=-1)
    rows = np.arange(num_states)
    tips = np.asarray(centers, np.float64)[rows, tallest]
    return Problem(states, objective, box, np.asarray(heights, np.float64)[rows, tallest], from_cube(box, tips))
