"""How the value-based side acts: categorical distributions made from Q-values."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from pgjax.distributions import base
from pgjax.distributions.categorical import Categorical, normalize_logits
from pgjax.types import Array, ArrayLike


class Greedy(Categorical):
    """The action of the greatest Q-value; several that tie share the probability equally.

    Args:
        q_values: Q(s, a), shape `[..., A]`.
        mask: allowed actions, as in `Categorical`.

    Differentiable in: nothing (the gradient is zero).
    """

    def __init__(self, q_values: ArrayLike, mask: ArrayLike | None = None):
        self.log_probs = _log(_greedy_probs(_log_uniform(q_values, mask), q_values))


class EpsilonGreedy(Categorical):
    """The greedy action with probability 1 - epsilon, else any allowed one, all alike.

    p(a) = (1 - epsilon) greedy(a) + epsilon / |allowed|; ties share the greedy part.

    Args:
        q_values: Q(s, a), shape `[..., A]`.
        epsilon: probability of a uniform choice, in [0, 1], a scalar or shape `[...]`; may be traced.
        mask: allowed actions, as in `Categorical`.

    Raises: ValueError: epsilon outside [0, 1] (a traced one is clipped).
    Differentiable in: epsilon.
    """

    def __init__(self, q_values: ArrayLike, epsilon: ArrayLike, mask: ArrayLike | None = None):
        log_uniform = _log_uniform(q_values, mask)
        epsilon = _parameter("epsilon", epsilon, log_uniform, 0.0, 1.0)
        probs = (1 - epsilon) * _greedy_probs(log_uniform, q_values) + epsilon * jnp.exp(log_uniform)
        self.log_probs = _log(probs)


class Softmax(Categorical):
    """Boltzmann exploration: p(a) proportional to exp(Q(s, a) / temperature); temperature 0 is greedy.

    Args:
        q_values: Q(s, a), shape `[..., A]`.
        temperature: in the unit of the Q-values, >= 0, a scalar or shape `[...]`; may be traced.
        mask: allowed actions, as in `Categorical`.

    Raises: ValueError: a negative temperature (a traced one counts as 0).
    Differentiable in: q_values, temperature (where it is positive).
    """

    def __init__(self, q_values: ArrayLike, temperature: ArrayLike = 1.0, mask: ArrayLike | None = None):
        log_uniform = _log_uniform(q_values, mask)
        temperature = _parameter("temperature", temperature, log_uniform, 0.0, np.inf)
        (q_values,) = base.widen(base.as_float_array("q_values", q_values))
        q_values = jnp.broadcast_to(q_values, log_uniform.shape)
        allowed = log_uniform > -jnp.inf
        top = jax.lax.stop_gradient(_allowed_max(q_values, allowed))
        tiny = jnp.finfo(q_values.dtype).tiny
        warm = temperature > tiny
        gap = jnp.where(allowed, q_values, top) - top
        scaled = normalize_logits(gap / jnp.where(warm, temperature, 1.0), allowed, "q_values")
        self.log_probs = jnp.where(warm, scaled, _log(_greedy_probs(log_uniform, q_values)))


def _log_uniform(q_values: ArrayLike, mask: ArrayLike | None) -> Array:
    """Log probabilities of the uniform choice among the allowed actions; NaN in rows with a NaN Q-value."""
    q_values = base.as_float_array("q_values", q_values)
    (wide,) = base.widen(q_values)
    flat = jnp.where(jnp.isnan(wide) | (wide == -jnp.inf), wide, 0.0)
    return jax.lax.stop_gradient(normalize_logits(flat, mask, "q_values"))


def _greedy_probs(log_uniform: Array, q_values: ArrayLike) -> Array:
    """Probability shared by the allowed actions of greatest Q-value; NaN in rows with a NaN Q-value."""
    (q_values,) = base.widen(base.as_float_array("q_values", q_values))
    q_values = jnp.broadcast_to(q_values, log_uniform.shape)
    allowed = log_uniform > -jnp.inf
    unknown = jnp.any(jnp.isnan(log_uniform), axis=-1, keepdims=True)
    best = allowed & (q_values == _allowed_max(q_values, allowed))
    count = jnp.sum(best, axis=-1, keepdims=True)
    shared = best.astype(log_uniform.dtype) / jnp.maximum(count, 1).astype(log_uniform.dtype)
    return jnp.where(unknown, jnp.nan, shared)


def _allowed_max(q_values: Array, allowed: Array) -> Array:
    return jnp.max(jnp.where(allowed, q_values, -jnp.inf), axis=-1, keepdims=True)


def _log(probs: Array) -> Array:
    return jnp.where(probs > 0, jnp.log(jnp.where(probs > 0, probs, 1.0)), jnp.where(probs == 0, -jnp.inf, probs))


def _parameter(name: str, value: ArrayLike, like: Array, low: float, high: float) -> Array:
    """A scalar or `[...]` parameter as `[..., 1]`, checked where its value is known, clipped where not."""
    array = jnp.asarray(value).astype(like.dtype)
    if array.shape != () and array.shape != like.shape[:-1]:
        raise ValueError(f"{name} must be a scalar or have shape {like.shape[:-1]}; got {array.shape}")
    if not isinstance(array, jax.core.Tracer) and not np.all(
        (np.asarray(array) >= low) & (np.asarray(array) <= high)
    ):
        raise ValueError(f"{name} must be in [{low}, {high}]; got {value}")
    return jnp.clip(array, low, high)[..., None] if array.shape else jnp.clip(array, low, high)
