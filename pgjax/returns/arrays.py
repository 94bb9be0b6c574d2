"""The arrays of one trajectory, checked: numbers, flags and weights of its T steps."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from pgjax.distributions.base import as_array, as_float_array, as_float_arrays, widen
from pgjax.types import Array, ArrayLike


def as_steps(**arrays: ArrayLike) -> tuple[Array, ...]:
    """Each array as numbers `[T]` of one length and dtype, at least float32. Raises: ValueError: another shape."""
    steps = widen(*as_float_arrays(arrays))
    first, *_ = arrays
    for name, array in zip(arrays, steps, strict=True):
        if array.ndim != 1:
            raise ValueError(f"{name} must have shape [T], one trajectory (vmap over more); got {array.shape}")
        if array.shape != steps[0].shape:
            raise ValueError(f"{name} must have the shape of {first}, {steps[0].shape}; got {array.shape}")
    return steps


def as_flags(name: str, flags: ArrayLike | None, num_steps: int) -> Array:
    """Booleans `[T]`, all False for None. Raises: ValueError: another shape."""
    array = jnp.zeros(num_steps, bool) if flags is None else as_array(name, flags).astype(bool)
    if array.shape != (num_steps,):
        raise ValueError(f"{name} must have shape [T] = {(num_steps,)}; got {array.shape}")
    return array


def as_step_weights(name: str, weights: ArrayLike, like: Array) -> Array:
    """Numbers `[T]` from a scalar or `[T]`, in the dtype of `like`. Raises: ValueError: another shape."""
    array = as_array(name, weights)
    if array.shape not in ((), like.shape):
        raise ValueError(f"{name} must be a scalar or have shape [T] = {like.shape}; got {array.shape}")
    return jnp.broadcast_to(array.astype(like.dtype), like.shape)


def without_padding(weights: Array, *steps: Array) -> tuple[Array, ...]:
    """The arrays with 0 where the weight is 0: no NaN there can reach a sum or a gradient."""
    return tuple(jnp.where(weights == 0, 0, array) for array in steps)


def as_scalar(
    name: str, value: ArrayLike, like: Array, lowest: float = -math.inf, highest: float = math.inf
) -> Array:
    """A finite number in the dtype of `like`. Raises: ValueError: not a scalar, or known and out of range."""
    if isinstance(value, str):
        raise ValueError(f"{name} must be a number; got {value!r}")
    array = as_float_array(name, value)
    if array.ndim != 0:
        raise ValueError(f"{name} must be a scalar; got shape {array.shape}")
    check_range(name, value, lowest, highest)
    return array.astype(like.dtype)


def check_range(name: str, value: ArrayLike, lowest: float, highest: float = math.inf) -> None:
    """Raise ValueError where a number is known (not traced) and not finite or out of [lowest, highest]."""
    if isinstance(value, jax.core.Tracer):
        return
    numbers = np.asarray(value, np.float64)
    if not np.all(np.isfinite(numbers) & (numbers >= lowest) & (numbers <= highest)):
        raise ValueError(f"{name} must be finite and in [{lowest}, {highest}]; got {value!r}")
