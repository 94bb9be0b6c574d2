"""Points of the Sobol sequence under jit, from SciPy's direction numbers."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
from scipy.stats import qmc

from pgjax.materialize import materialize
from pgjax.types import Array

_NUM_BITS = 20  # the sequence's length: 2^20 points
_MAX_DIMS = 32


def sobol_points(start: Array, num_points: int, shift: Array) -> Array:
    """Points start ... start + num_points - 1 of the Sobol sequence, digitally shifted, in [-1, 1).

    Point i is the exclusive or of the direction numbers of the bits that are set in i's Gray code.

    Args:
        start: index of the first, uint32 scalar; indices are taken modulo 2^20.
        num_points: K.
        shift: random bits for each dimension, uint32 `[N]`, combined with every point by exclusive or.

    Returns:
        float32 `[K, N]`.
    Raises:
        ValueError: more than 32 dimensions.
    Reference:
        Sobol' (1967); Joe & Kuo (2008), Constructing Sobol sequences with better two-dimensional projections,
        through `scipy.stats.qmc.Sobol`.
    """
    num_dims = shift.shape[0]
    if num_dims > _MAX_DIMS:
        raise ValueError(f"the Sobol sequence is offered up to {_MAX_DIMS} dimensions; got {num_dims}")
    return materialize(_points(num_points, start, shift))


def _points(num_points: int, start: Array, shift: Array) -> Array:
    num_dims = shift.shape[0]
    index = start + jnp.arange(num_points, dtype=jnp.uint32)
    gray = (index ^ (index >> jnp.uint32(1)))[None]
    bits = jnp.broadcast_to(shift[:, None], (num_dims, num_points))  # points last: they vectorize
    for bit, direction in enumerate(_direction_numbers(num_dims)):
        chosen = jnp.uint32(0) - ((gray >> jnp.uint32(bit)) & jnp.uint32(1))  # all ones or all zeros
        bits = bits ^ (chosen & jnp.asarray(direction)[:, None])
    return ((bits >> jnp.uint32(8)).astype(jnp.float32) * 2.0**-23 - 1).T


@functools.lru_cache
def _direction_numbers(num_dims: int) -> np.ndarray:
    """Direction numbers, uint32 `[bits, N]`: consecutive points of the sequence differ by one of them."""
    engine = qmc.Sobol(num_dims, scramble=False, bits=32)
    directions = np.zeros((_NUM_BITS, num_dims), np.uint32)
    for bit in range(_NUM_BITS):
        # Between points 2^bit - 1 and 2^bit, the Gray code changes in this bit alone.
        engine.reset()
        if bit:
            engine.fast_forward(2**bit - 1)
        before, after = (engine.random(2) * 2.0**32).astype(np.uint32)
        directions[bit] = before ^ after
    return directions
