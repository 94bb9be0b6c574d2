"""Keep results in buffers of their own, where XLA on CPU would compute them anew for every use."""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from pgjax.types import Array

__all__ = ["materialize"]

_T = TypeVar("_T")


def materialize(tree: _T) -> _T:
    """Return the integer and floating arrays of a pytree as they are, each computed once.

    XLA on CPU fuses what is cheap to write into its consumers, whatever it costs: random numbers shared by a
    batch are then drawn again for each element, a chain of joints is computed again for each of its joints. It
    drops optimization barriers first, but does not fuse through a conditional, which takes .1 microseconds.
    Safe under every transformation; other platforms do nothing.
    """
    arrays, structure = jax.tree.flatten(tree)
    if any(array.size == 0 for array in arrays):
        return tree
    return jax.tree.unflatten(structure, _materialize.bind(*arrays))


def _behind_conditional(*arrays: Array) -> tuple[Array, ...]:
    first = arrays[0].ravel()[0]
    word = jax.lax.bitcast_convert_type(first, f"uint{8 * first.dtype.itemsize}")
    always = (word | jnp.ones_like(word)) != 0  # true, which the compiler does not work out
    return jax.lax.cond(always, lambda *same: same, lambda *same: tuple(map(jnp.zeros_like, same)), *arrays)


# A primitive, so that vmap leaves the conditional one: batched, it would become a selection.
_materialize = Primitive("materialize")
_materialize.multiple_results = True
_materialize.def_impl(lambda *arrays: arrays)
_materialize.def_abstract_eval(lambda *arrays: arrays)
mlir.register_lowering(_materialize, lambda ctx, *arrays: arrays)
mlir.register_lowering(_materialize, mlir.lower_fun(_behind_conditional, multiple_results=True), platform="cpu")


def _jvp(primals, tangents):
    tangents = [ad.instantiate_zeros(tangent) for tangent in tangents]
    return _materialize.bind(*primals), _materialize.bind(*tangents)


def _transpose(cotangents, *arrays):
    return _materialize.bind(*map(ad.instantiate_zeros, cotangents))


def _batch(arrays, dims):
    size = next(array.shape[d] for array, d in zip(arrays, dims, strict=True) if d is not None)
    arrays = [batching.bdim_at_front(array, d, size) for array, d in zip(arrays, dims, strict=True)]
    return _materialize.bind(*arrays), [0] * len(arrays)


ad.primitive_jvps[_materialize] = _jvp
ad.primitive_transposes[_materialize] = _transpose
batching.primitive_batchers[_materialize] = _batch
