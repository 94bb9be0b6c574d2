"""Keep a result in a buffer of its own, where XLA on CPU would compute it anew for every use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pgjax.types import Array


def materialize(function: Callable[..., Array], *operands: Any, word: Array) -> Array:
    """Return function(*operands), computed once.

    XLA on CPU fuses what is cheap to write into its consumers, whatever it costs: random numbers shared by
    a batch are then drawn again for each element. It drops optimization barriers first, but does not fuse
    through a conditional. Other platforms, and `word` under vmap, just call the function.

    Args:
        function: returns one array.
        operands: its arguments.
        word: a scalar uint32 that the compiler does not know, such as part of a key.
    """

    def behind_conditional(word, *operands):
        always = (word | jnp.uint32(1)) != 0  # true, which the compiler does not work out
        result = jax.eval_shape(function, *operands)
        return jax.lax.cond(always, function, lambda *_: jnp.zeros(result.shape, result.dtype), *operands)

    def direct(word, *operands):
        del word
        return function(*operands)

    return jax.lax.platform_dependent(word, *operands, cpu=behind_conditional, default=direct)
