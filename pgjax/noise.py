"""Standard random numbers and keys, the same as `jax.random`'s, compiled into one vectorized pass on CPU.

On CPU, jax lowers its default generator (threefry2x32) to a loop over rounds that stores every intermediate
array, and XLA then fuses the transform into its consumer, whose inner loop (one action, say six numbers) is
too short to vectorize. Here the rounds are written out, so that they fuse, and the result is kept in a buffer
of its own. The stream is jax's own, bit for bit; keys of other generators go to `jax.random` unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import random as jax_extend_random

from pgjax.materialize import materialize
from pgjax.types import Array, DTypeLike, Key, Shape

__all__ = ["normal", "scan_keys", "split", "uniform"]

# Up to this many numbers (one action's), a buffer of their own costs more than it saves.
_MAX_FUSED = 32
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def normal(key: Key, shape: Shape, dtype: DTypeLike = jnp.float32) -> Array:
    """Draw standard normal numbers, equal to `jax.random.normal(key, shape, dtype)`.

    Args:
        key: random key, consumed.
        shape: shape of the result.
        dtype: a floating dtype.

    Returns:
        array of `shape`.
    Cost:
        about 5 ns a number on one CPU core, against 25 to 50 ns.
    Differentiable in:
        nothing.
    Reference:
        Salmon et al. (2011), Parallel random numbers: as easy as 1, 2, 3 (Threefry-2x32, 20 rounds).
    """
    return _draw(jax.random.normal, key, shape, dtype)


def uniform(key: Key, shape: Shape, dtype: DTypeLike = jnp.float32) -> Array:
    """Draw uniform numbers in [0, 1), equal to `jax.random.uniform(key, shape, dtype)`; see `normal`."""
    return _draw(jax.random.uniform, key, shape, dtype)


def split(key: Key, num: int) -> Key:
    """Make num new keys `[num]`, equal to `jax.random.split(key, num)` and to `jax.random.fold_in(key, i)`.

    Args:
        key: random key, consumed.
        num: number of keys.

    Cost:
        one hash a key, which fuses; jax.random's is a loop of its own on CPU.
    """
    if not _is_partitionable_threefry(key):
        return jax.random.split(key, num)
    key_data = _consume(key)
    counter = jax.lax.iota(jnp.uint32, num)
    words = _threefry2x32(key_data, jnp.zeros_like(counter), counter)
    return jax.random.wrap_key_data(jnp.stack(words, axis=-1), impl="threefry2x32")


def scan_keys(step: Callable[[Any, Key], Any], state: Any, key: Key, num_steps: int, unroll: int = 1) -> Any:
    """`jax.lax.scan` of step(state, key) over num_steps keys that `split` makes of one.

    The loop runs over the keys' data: `jax_debug_key_reuse` calls keys in a loop under vmap reused.
    """
    keys = _typed(split(key, num_steps))
    impl = jax.random.key_impl(keys)

    def step_on_data(state, key_data):
        return step(state, jax.random.wrap_key_data(key_data, impl=impl))

    return jax.lax.scan(step_on_data, state, jax.random.key_data(keys), unroll=unroll)


def _draw(sampler: Callable[..., Array], key: Key, shape: Shape, dtype: DTypeLike) -> Array:
    size = math.prod(shape)
    if not _is_partitionable_threefry(key) or size == 0:
        return sampler(key, shape, dtype)
    key_data = _consume(key)

    def draw(key_data):
        return sampler(jax.random.wrap_key_data(key_data, impl=_FUSED_THREEFRY), (size,), dtype)

    if size <= _MAX_FUSED:
        return draw(key_data).reshape(shape)
    return materialize(draw(key_data)).reshape(shape)


def _is_partitionable_threefry(key: Key) -> bool:
    partitionable = jax.config.jax_threefry_partitionable  # type: ignore[attr-defined]
    return partitionable and str(jax.random.key_impl(_typed(key))) == "threefry2x32"


def _typed(key: Key) -> Key:
    return key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)


def _consume(key: Key) -> Array:
    """The key's data; taking it would not count as consuming the key."""
    if jax.config.jax_debug_key_reuse:  # type: ignore[attr-defined]
        jax.random.bits(key, (0,))
    return jax.random.key_data(_typed(key))


def _threefry2x32(key_data: Array, x0: Array, x1: Array) -> tuple[Array, Array]:
    """Threefry-2x32 of the counters, 20 rounds, written out."""
    k0, k1 = key_data[0], key_data[1]
    schedule = (k0, k1, k0 ^ k1 ^ jnp.uint32(_PARITY))
    x0, x1 = x0 + k0, x1 + k1
    for block in range(5):
        for rotation in _ROTATIONS[block % 2]:
            x0 = x0 + x1
            x1 = (x1 << jnp.uint32(rotation)) | (x1 >> jnp.uint32(32 - rotation))
            x1 = x1 ^ x0
        x0 = x0 + schedule[(block + 1) % 3]
        x1 = x1 + schedule[(block + 2) % 3] + jnp.uint32(block + 1)
    return x0, x1


def _random_bits(key_data: Array, bit_width: int, shape: Shape) -> Array:
    """32 bits a number: jax's partitionable stream, one hash a counter, its two words xor-ed."""
    size = math.prod(shape)
    if bit_width != 32 or size >= 2**32:
        dtype = jnp.dtype(f"uint{bit_width}")
        return jax.random.bits(jax.random.wrap_key_data(key_data, impl="threefry2x32"), shape, dtype)
    counter = jax.lax.iota(jnp.uint32, size)
    x0, x1 = _threefry2x32(key_data, jnp.zeros_like(counter), counter)
    return (x0 ^ x1).reshape(shape)


def _unsupported(*_):
    raise NotImplementedError("this generator only draws bits")


_FUSED_THREEFRY = jax_extend_random.define_prng_impl(
    key_shape=(2,),
    seed=_unsupported,
    split=_unsupported,
    fold_in=_unsupported,
    random_bits=_random_bits,
    name="threefry2x32_fused",
    tag="fry_fused",
)
