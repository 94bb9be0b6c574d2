"""Checks of the numbers that environments are made of and asked with."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from pgjax.types import Array, ArrayLike

_SUM_TOLERANCE = 1e-6


def as_numbers(name: str, value: npt.ArrayLike) -> np.ndarray:
    """A copy in float64; raise ValueError unless these are numbers, in an array."""
    try:
        return np.array(value, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers; got {value!r}") from error


def check_number(name: str, value: npt.ArrayLike) -> None:
    """Raise ValueError unless the value is one finite number."""
    number = as_numbers(name, value)
    if number.shape != () or not np.isfinite(number):
        raise ValueError(f"{name} must be a finite number; got {value!r}")


def check_probabilities(name: str, value: np.ndarray) -> None:
    """Raise ValueError unless the numbers are at least 0 and sum to 1 over the last axis."""
    if not (np.all(value >= 0) and np.allclose(value.sum(-1), 1, rtol=0, atol=_SUM_TOLERANCE)):
        raise ValueError(f"{name} must be probabilities: at least 0, with sum 1 over the last axis")


def as_fraction(name: str, value: ArrayLike) -> Array:
    """A number in [0, 1], shape `[]`, checked where it is known and clipped where it is traced."""
    if not isinstance(value, jax.core.Tracer):
        number = as_numbers(name, value)
        if number.shape == () and not 0 <= number <= 1:
            raise ValueError(f"{name} must be in [0, 1]; got {value!r}")
    if np.shape(value) != ():
        raise ValueError(f"{name} must be a scalar; got shape {np.shape(value)}")
    return jnp.clip(jnp.asarray(value, jnp.result_type(float)), 0, 1)


def in_range(name: str, index: ArrayLike, size: int) -> Array:
    """Whether an index is below the size; raise ValueError where it is known not to be, or no integer `[]`."""
    kind = np.result_type(index) if not hasattr(index, "dtype") else index.dtype
    if np.shape(index) != () or not np.issubdtype(kind, np.integer):
        raise ValueError(f"{name} must be an integer of shape []; got {index!r}")
    if not isinstance(index, jax.core.Tracer) and not 0 <= int(np.asarray(index)) < size:
        raise ValueError(f"{name} must be at least 0 and below {size}; got {index!r}")
    index = jnp.asarray(index)
    return (index >= 0) & (index < size)
