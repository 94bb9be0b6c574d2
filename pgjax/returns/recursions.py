"""What all returns and advantages are made of: where the recursion ends, and the sum back from there."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pgjax.returns.arrays import as_flags
from pgjax.types import Array, ArrayLike


def ends_of(next_values: Array, terminated: ArrayLike | None, truncated: ArrayLike | None) -> tuple[Array, Array]:
    """The values to go on from, 0 where terminated, and where the recursion is cut."""
    num_steps = len(next_values)
    terminated = as_flags("terminated", terminated, num_steps)
    truncated = as_flags("truncated", truncated, num_steps)
    last = jnp.arange(num_steps) == num_steps - 1
    return jnp.where(terminated, 0, next_values), terminated | truncated | last


# Jitted so that calls outside of jit compile it once, not every time.
@jax.jit
def sum_backward(terms: Array, factor: Array, cut: Array) -> Array:
    """x_t = terms_t + factor x_{t+1}, and x_t = terms_t where cut, whatever (NaN too) comes after."""

    def step(after, now):
        term, cut = now
        total = term + jnp.where(cut, 0, factor * after)
        return total, total

    return jax.lax.scan(step, jnp.zeros((), terms.dtype), (terms, cut), reverse=True)[1]
