"""How the value-based side acts: categorical distributions made from Q-values."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from pgjax.distributions import base
from pgjax.distributions.categorical import Categorical, allowed_actions, normalize_logits
from pgjax.types import Array, ArrayLike, DTypeLike


class Greedy(Categorical):
    """The action of the greatest Q-value; several that tie share the probability equally.

    Args:
        q_values: Q(s, a), shape `[..., A]`.
        mask: allowed actions, as in `Categorical`.

    Differentiable in:
        nothing (the gradient is zero).
    """

    def __init__(self, q_values: ArrayLike, mask: ArrayLike | None = None):
        self.log_probs = _log(_greedy_probs(*_legal(q_values, mask)))


class EpsilonGreedy(Categorical):
    """The greedy action with probability 1 - epsilon, else any allowed one, all alike.

    `p(a) = (1 - epsilon) greedy(a) + epsilon / |allowed|`; ties share the greedy part.

    Args:
        q_values: Q(s, a), shape `[..., A]`.
        epsilon: probability of a uniform choice, in [0, 1], a scalar or shape `[...]`; may be traced.
        mask: allowed actions, as in `Categorical`.

    Raises:
        ValueError: epsilon outside [0, 1] (a traced one is clipped).
    Differentiable in:
        epsilon.
    """

    def __init__(self, q_values: ArrayLike, epsilon: ArrayLike, mask: ArrayLike | None = None):
        q_values, allowed = _legal(q_values, mask)
        epsilon = _parameter("epsilon", epsilon, q_values, 0.0, 1.0)
        greedy, uniform = _greedy_probs(q_values, allowed), _shares(allowed, q_values.dtype)
        self.log_probs = _log((1 - epsilon) * greedy + epsilon * uniform)


class Softmax(Categorical):
    """Boltzmann exploration: p(a) proportional to exp(Q(s, a) / temperature); temperature 0 is greedy.

    Args:
        q_values: Q(s, a), shape `[..., A]`.
        temperature: in the unit of the Q-values, >= 0, a scalar or shape `[...]`; may be traced.
        mask: allowed actions, as in `Categorical`.

    Raises:
        ValueError: a negative temperature (a traced one counts as 0).
    Differentiable in:
        q_values, temperature (where it is positive).
    """

    def __init__(self, q_values: ArrayLike, temperature: ArrayLike = 1.0, mask: ArrayLike | None = None):
        q_values, allowed = _legal(q_values, mask)
        temperature = _parameter("temperature", temperature, q_values, 0.0, np.inf)
        limit = jnp.finfo(q_values.dtype).max
        finite = jnp.clip(jnp.where(allowed, q_values, 0.0), -limit, limit)
        # The whole difference could overflow.
        halved = 0.5 * finite - 0.5 * jax.lax.stop_gradient(_allowed_max(finite, allowed))
        gap = jnp.where(allowed, 2 * jnp.maximum(halved, -0.5 * limit), 0.0)
        warm = temperature > jnp.finfo(q_values.dtype).tiny
        divisor = jnp.where(warm, temperature, 1.0)
        # At the best, and far below it, where probabilities are 0 in any dtype, the temperature does not matter,
        # but its derivative could overflow.
        settled = (gap == 0) | (gap < -1000 * divisor)
        divisor = jnp.where(settled, jax.lax.stop_gradient(divisor), divisor)
        scaled = normalize_logits(jnp.maximum(gap / divisor, -limit), allowed, "q_values")
        self.log_probs = jnp.where(warm, scaled, _log(_greedy_probs(q_values, allowed)))


def _legal(q_values: ArrayLike, mask: ArrayLike | None) -> tuple[Array, Array]:
    """Q-values in at least float32 and the actions that are allowed; where none is, all are and they tie."""
    (wide,) = base.widen(base.as_float_array("q_values", q_values))
    wide, allowed = allowed_actions(wide, mask, "q_values")
    none_allowed = ~jnp.any(allowed, axis=-1, keepdims=True)
    return jnp.where(none_allowed, 0.0, wide), allowed | none_allowed


def _greedy_probs(q_values: Array, allowed: Array) -> Array:
    """Probability shared by the allowed actions of greatest Q-value; NaN in rows with a NaN Q-value."""
    unknown = jnp.any(allowed & jnp.isnan(q_values), axis=-1, keepdims=True)
    best = allowed & (q_values == _allowed_max(q_values, allowed))
    return jnp.where(unknown, jnp.nan, _shares(best, q_values.dtype))


def _shares(chosen: Array, dtype: DTypeLike) -> Array:
    count = jnp.maximum(jnp.sum(chosen, axis=-1, keepdims=True), 1)
    return chosen.astype(dtype) / count.astype(dtype)


def _allowed_max(q_values: Array, allowed: Array) -> Array:
    return jnp.max(jnp.where(allowed, q_values, -jnp.inf), axis=-1, keepdims=True)


def _log(probs: Array) -> Array:
    return jnp.where(probs > 0, jnp.log(jnp.where(probs > 0, probs, 1.0)), jnp.where(probs == 0, -jnp.inf, probs))


def _parameter(name: str, value: ArrayLike, like: Array, low: float, high: float) -> Array:
    """A scalar or `[...]` parameter as `[..., 1]`, checked where its value is known, clipped where not."""
    array = base.as_array(name, value).astype(like.dtype)
    if array.shape != () and array.shape != like.shape[:-1]:
        raise ValueError(f"{name} must be a scalar or have shape {like.shape[:-1]}; got {array.shape}")
    if not isinstance(array, jax.core.Tracer) and not np.all(
        (np.asarray(array) >= low) & (np.asarray(array) <= high)
    ):
        raise ValueError(f"{name} must be in [{low}, {high}]; got {value}")
    return jnp.clip(array, low, high)[..., None] if array.shape else jnp.clip(array, low, high)
