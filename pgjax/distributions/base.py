"""What every pgjax distribution shares: arrays as the only state, and arithmetic in at least float32."""

from __future__ import annotations

import inspect
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from pgjax.types import Array, ArrayLike, DTypeLike, Shape


class Distribution(distrax.Distribution):
    """A distrax distribution whose only state is arrays, each leading with the batch shape.

    Shapes are read from the arrays, so that an instance may be returned from `jit`, built under `vmap`,
    stacked by `scan` or sharded. A subclass names its arrays in `_fields` (the attributes are the pytree's
    children) and the rank of one event's parameters in `_field_ndims`.
    """

    _fields: tuple[str, ...] = ()
    _field_ndims: tuple[int, ...] = ()

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        # distrax's `__new__` takes anything; documentation and editors are to see the arguments of `__init__`.
        signature = inspect.signature(cls.__init__)
        arguments = list(signature.parameters.values())[1:]
        cls.__signature__ = signature.replace(parameters=arguments)
        jax.tree_util.register_pytree_with_keys(
            cls, cls._flatten_with_keys, cls.tree_unflatten, lambda self: self.tree_flatten()
        )

    def _flatten_with_keys(self):
        children, _ = self.tree_flatten()
        return [(jax.tree_util.GetAttrKey(n), c) for n, c in zip(self._fields, children, strict=True)], None

    def tree_flatten(self):
        return tuple(getattr(self, name) for name in self._fields), None

    @classmethod
    def tree_unflatten(cls, aux_data, children):
        self = object.__new__(cls)
        for name, child in zip(cls._fields, children, strict=True):
            setattr(self, name, child)
        return self

    @property
    def batch_shape(self) -> Shape:
        """Shape of the batch of distributions."""
        first = getattr(self, self._fields[0])
        return tuple(first.shape[: first.ndim - self._field_ndims[0]])

    def _check_other(self, other_dist: Any) -> None:
        if type(other_dist) is not type(self) or other_dist.event_shape != self.event_shape:
            raise ValueError(
                f"other_dist must be a {self.name} with event shape {self.event_shape}; got {other_dist!r}"
            )
        self._check_other_batch(other_dist)

    def _check_other_batch(self, other_dist: Any) -> None:
        try:
            np.broadcast_shapes(self.batch_shape, other_dist.batch_shape)
        except ValueError as error:
            raise ValueError(
                f"other_dist must have a batch shape that broadcasts with {self.batch_shape}; got {other_dist!r}"
            ) from error

    def __repr__(self) -> str:
        if not all(hasattr(child, "shape") for child in self.tree_flatten()[0]):  # a tree of shapes, say
            return f"{self.name}{self.tree_flatten()[0]}"
        return f"{self.name}(batch_shape={self.batch_shape}, event_shape={self.event_shape})"


def as_array(name: str, value: ArrayLike) -> Array:
    """The value as a jax array. Raises: ValueError: not an array of numbers."""
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of numbers; got {value!r}") from error


def as_float_array(name: str, value: ArrayLike) -> Array:
    """The value as a jax array of a floating dtype; Python numbers and integers take the default one.

    Raises:
        ValueError: not numbers, or complex ones.
    """
    array = as_array(name, value)
    if jnp.issubdtype(array.dtype, jnp.floating):
        return array
    if jnp.issubdtype(array.dtype, jnp.integer):
        return array.astype(jnp.result_type(float))
    raise ValueError(f"{name} must be real numbers; got dtype {array.dtype}")


def as_float_arrays(values: dict[str, ArrayLike]) -> tuple[Array, ...]:
    """Each value as a floating array; Python numbers and lists take the dtype of the first that has one."""
    arrays = {name: as_float_array(name, value) for name, value in values.items()}
    typed = [arrays[name].dtype for name, value in values.items() if hasattr(value, "dtype")]
    return tuple(
        array.astype(typed[0]) if typed and not hasattr(values[name], "dtype") else array
        for name, array in arrays.items()
    )


def compute_dtype(*dtypes: DTypeLike) -> jnp.dtype:
    """float64 if one of the dtypes is, else float32: what densities are computed and returned in."""
    return jnp.dtype(jnp.float64 if jnp.dtype(jnp.float64) in [jnp.dtype(d) for d in dtypes] else jnp.float32)


def common_dtype(*dtypes: DTypeLike) -> jnp.dtype:
    """The dtype of all, or where they differ the one they are computed in; whatever jax's promotion setting."""
    return jnp.dtype(dtypes[0]) if len({jnp.dtype(d) for d in dtypes}) == 1 else compute_dtype(*dtypes)


def widen(*arrays: Array) -> tuple[Array, ...]:
    """The arrays in their common `compute_dtype`."""
    dtype = compute_dtype(*(a.dtype for a in arrays))
    return tuple(a.astype(dtype) for a in arrays)


def broadcast_parameters(names: tuple[str, ...], arrays: tuple[Array, ...], ndims: tuple[int, ...]):
    """The arrays with their leading (batch) dimensions broadcast together, written out for every rank.

    Raises:
        ValueError: an array has too few dimensions, or the batch shapes do not broadcast.
    """
    for name, array, ndim in zip(names, arrays, ndims, strict=True):
        if array.ndim < ndim:
            raise ValueError(f"{name} must have at least {ndim} dimension(s); got shape {array.shape}")
    batch_shapes = [a.shape[: a.ndim - n] for a, n in zip(arrays, ndims, strict=True)]
    try:
        batch_shape = np.broadcast_shapes(*batch_shapes)
    except ValueError as error:
        given = ", ".join(f"{n} {a.shape}" for n, a in zip(names, arrays, strict=True))
        raise ValueError(f"the batch shapes of {' and '.join(names)} do not broadcast; got {given}") from error
    return tuple(
        jnp.broadcast_to(a, batch_shape + a.shape[a.ndim - n :]) for a, n in zip(arrays, ndims, strict=True)
    )


def align_ranks(*arrays: Array) -> tuple[Array, ...]:
    """The arrays with ones put before their shapes up to a common rank: rank promotion, written out."""
    ndim = max(a.ndim for a in arrays)
    return tuple(a.reshape((1,) * (ndim - a.ndim) + a.shape) for a in arrays)


def as_event(distribution: Distribution, name: str, value: ArrayLike) -> Array:
    """A floating event whose last dimensions are the event shape and whose others broadcast with the batch.

    Raises:
        ValueError: another shape or kind of number.
    """
    event = as_float_array(name, value)
    check_event_shape(distribution, name, event.shape)
    return event if hasattr(value, "dtype") else event.astype(distribution.dtype)


def check_event_shape(distribution: Distribution, name: str, shape: Shape) -> None:
    """Raise ValueError unless the shape is that of events of the distribution, batches broadcasting."""
    event_shape, batch_shape = distribution.event_shape, distribution.batch_shape
    lead = len(shape) - len(event_shape)
    try:
        fits = lead >= 0 and shape[lead:] == event_shape and np.broadcast_shapes(shape[:lead], batch_shape)
    except ValueError:
        fits = False
    if fits is False:
        raise ValueError(
            f"{name} must have shape [..., *event_shape] with event_shape {event_shape}, its other dimensions "
            f"broadcasting with batch_shape {batch_shape}; got shape {shape}"
        )


def expm1_minus(x: Array) -> Array:
    """exp(x) - 1 - x, never negative, with full relative accuracy near 0 (where both parts cancel)."""
    small = jnp.abs(x) < 0.5
    near = jnp.where(small, x, 0.0)
    series = jnp.zeros_like(x)
    for k in range(16, 2, -1):  # sum_{k>=3} 2 x^(k-2) / k!, by Horner
        series = (1.0 + series) * near / k
    far = jnp.where(small, 1.0, x)
    return jnp.where(small, 0.5 * near * near * (1.0 + series), jnp.expm1(far) - far)
