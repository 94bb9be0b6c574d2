"""Weights of the steps of one trajectory: 0 for padding, gamma^t for what lies t steps ahead."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pgjax.distributions.base import as_array
from pgjax.returns.arrays import as_flags, as_scalar, check_range
from pgjax.types import Array, ArrayLike


def padding_weights(ended: ArrayLike) -> Array:
    """Weigh the steps of a padded episode: 1 up to its end, that step included, and 0 after.

    Args:
        ended: where it terminated or was truncated, flags `[T]`; what comes after the first is padding.

    Returns:
        shape `[T]`, in the default floating dtype.
    Raises:
        ValueError: another shape.
    """
    ended = _as_ended(ended).astype(jnp.int32)
    return (jnp.cumsum(ended) == ended).astype(float)


def discount_weights(ended: ArrayLike, *, discount: ArrayLike, first_step: ArrayLike = 0) -> Array:
    """Weigh each step by gamma^t, with t counted from its episode's start.

    Policy gradients of the discounted return need this factor; see `pgjax.losses.reinforce_loss`.

    Args:
        ended: where an episode terminated or was truncated, flags `[T]`; the next step starts another.
        discount: gamma.
        first_step: t of the trajectory's first step, where it goes on with an episode.

    Returns:
        shape `[T]`, in the default floating dtype.
    Raises:
        ValueError: another shape, a discount known and out of [0, 1], a first_step known and negative.
    """
    ended = _as_ended(ended)
    step = jnp.arange(len(ended), dtype=jnp.int32)
    starts = jnp.concatenate([jnp.zeros(1, bool), ended])[:-1]
    first = as_array("first_step", first_step)
    if first.ndim != 0 or not jnp.issubdtype(first.dtype, jnp.integer):
        raise ValueError(f"first_step must be an integer; got shape {first.shape}, dtype {first.dtype}")
    check_range("first_step", first_step, 0)
    first = -first.astype(jnp.int32)
    start = jax.lax.cummax(jnp.where(starts, step, first))
    powers = (step - start).astype(float)
    return as_scalar("discount", discount, powers, 0, 1) ** powers


def _as_ended(ended: ArrayLike) -> Array:
    if ended is None:
        raise ValueError("ended must be flags [T]; got None")
    ended = as_array("ended", ended)
    if ended.ndim != 1:
        raise ValueError(f"ended must have shape [T], one trajectory (vmap over more); got {ended.shape}")
    return as_flags("ended", ended, len(ended))
