"""Shared types: arrays, keys, and the box of actions. Nothing here computes with jax."""

from __future__ import annotations

from typing import Any, TypeAlias

import jax
import jax.typing
import numpy as np

__all__ = ["Array", "ArrayLike", "Box", "DTypeLike", "Key", "Params", "Shape"]

Array: TypeAlias = jax.Array
ArrayLike: TypeAlias = jax.typing.ArrayLike
DTypeLike: TypeAlias = jax.typing.DTypeLike
Key: TypeAlias = jax.Array
Params: TypeAlias = Any
Shape: TypeAlias = tuple[int, ...]


@jax.tree_util.register_pytree_node_class
class Box:
    """The box of actions {a : low <= a <= high}, immutable, hashable and a pytree.

    Args:
        low: smallest action, shape `[N]`, or a scalar where `high` has the shape.
        high: largest action, shape `[N]` or a scalar likewise; equal to `low` where a dimension is fixed.

    Both are kept as read-only float64 NumPy arrays `[N]`; where one is traced, as JAX arrays, unchecked but for
    their shape.

    Raises:
        ValueError: not numbers, shapes other than `[N]`, not finite, or low > high.
    Differentiable in:
        low, high, where they are traced.
    """

    __slots__ = ("high", "low")
    low: Any
    high: Any

    def __init__(self, low: ArrayLike, high: ArrayLike):
        if any(isinstance(bound, jax.core.Tracer) for bound in jax.tree.leaves((low, high))):
            low, high = jax.numpy.asarray(low), jax.numpy.asarray(high)
            shape = np.broadcast_shapes(np.shape(low), np.shape(high))
            low, high = jax.numpy.broadcast_to(low, shape), jax.numpy.broadcast_to(high, shape)
        else:
            low, high = _checked_bounds(low, high)
        if low.ndim != 1 or low.shape[0] == 0:
            raise ValueError(f"low and high must have shape [N] with N >= 1; got shape {low.shape}")
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    def __setattr__(self, name: str, value: Any):
        raise AttributeError(f"Box is immutable: cannot set {name}")

    @property
    def num_dims(self) -> int:
        """Number of action dimensions N."""
        return self.low.shape[0]

    def __reduce__(self):
        return Box, (self.low, self.high)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Box)
            and np.array_equal(self.low, other.low)
            and np.array_equal(self.high, other.high)
        )

    def __hash__(self) -> int:
        bounds = np.asarray([self.low, self.high], np.float64) + 0.0  # -0 and 0 are equal, so they hash alike
        return hash(bounds.tobytes())

    def __repr__(self) -> str:
        if isinstance(self.low, np.ndarray) and isinstance(self.high, np.ndarray):
            return f"Box(low={self.low.tolist()}, high={self.high.tolist()})"
        return f"Box(low={self.low}, high={self.high})"

    def tree_flatten(self):
        return (self.low, self.high), None

    @classmethod
    def tree_unflatten(cls, _, children):
        box = object.__new__(cls)
        object.__setattr__(box, "low", children[0])
        object.__setattr__(box, "high", children[1])
        return box


def _checked_bounds(low: ArrayLike, high: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Read-only float arrays of one shape, after checking every value."""
    bounds = []
    for name, bound in (("low", low), ("high", high)):
        try:
            bounds.append(np.array(bound, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} must be numbers of shape [N]; got {bound!r}") from error
        if not np.all(np.isfinite(bounds[-1])):
            raise ValueError(f"{name} must be finite; got {bound!r}")
    try:
        low, high = (np.array(bound) for bound in np.broadcast_arrays(*bounds))
    except ValueError as error:
        shapes = [bound.shape for bound in bounds]
        raise ValueError(f"low and high must have the same shape [N]; got {shapes[0]} and {shapes[1]}") from error
    if np.any(low > high):
        raise ValueError(f"low must not exceed high; got low={low.tolist()}, high={high.tolist()}")
    low.flags.writeable = high.flags.writeable = False
    return low, high
