"""Distributions over finitely many actions: one choice, and several choices at once."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from pgjax import noise
from pgjax.distributions import base
from pgjax.types import Array, ArrayLike, Key, Shape

# Up to this many actions, one uniform number is looked up in the cumulative probabilities; above, where that
# number's 2^-23 steps would be too coarse, each action gets a Gumbel number.
_MAX_INVERSE_CDF = 1024


class Categorical(base.Distribution):
    """One of A actions, with probabilities softmax(logits) over the actions that the mask allows.

    `log p(a) = logits_a - log sum_b exp(logits_b)` over the allowed b, and -inf where the mask (or a logit of
    -inf) forbids a.

    A logit of +inf gets all the probability. A row that allows no action is uniform over all its actions, with
    zero gradients, so that padded agents give finite numbers everywhere. A row with a NaN logit has NaN
    densities and the sample -1. Computed in at least float32 whatever the logits' dtype.

    Args:
        logits: unnormalized log probabilities, shape `[..., A]`.
        mask: allowed actions, booleans (or 0 and 1) whose shape broadcasts with the logits'.

    Raises:
        ValueError: shapes that do not fit.
    Cost:
        one uniform number a sample up to 1,024 actions (probabilities are met to 2^-23), A numbers above.
    Differentiable in:
        logits.
    """

    _fields = ("log_probs",)
    _field_ndims = (1,)
    log_probs: Array

    def __init__(self, logits: ArrayLike, mask: ArrayLike | None = None):
        self.log_probs = normalize_logits(base.as_float_array("logits", logits), mask, "logits")

    @property
    def event_shape(self) -> Shape:
        """`()`."""
        return ()

    @property
    def dtype(self) -> jnp.dtype:
        """int32."""
        return jnp.dtype(jnp.int32)

    @property
    def num_actions(self) -> int:
        """Number of actions A."""
        return self.log_probs.shape[-1]

    @property
    def logits(self) -> Array:
        """Normalized logits, which are the log probabilities, shape `[..., A]`."""
        return self.log_probs

    @property
    def probs(self) -> Array:
        """Probabilities, shape `[..., A]`, exactly 0 for forbidden actions."""
        return jnp.exp(self.log_probs)

    def _sample_n(self, key: Key, n: int) -> Array:
        log_probs = jax.lax.stop_gradient(self.log_probs)
        shape = (n, *log_probs.shape[:-1])
        if self.num_actions > _MAX_INVERSE_CDF:
            action = jax.random.categorical(key, log_probs, shape=shape, mode="high")
        else:
            action = _inverse_cdf(log_probs, noise.uniform(key, shape, log_probs.dtype))
        undefined = jnp.any(jnp.isnan(log_probs), axis=-1)
        return jnp.where(undefined[None], -1, action).astype(jnp.int32)

    def log_prob(self, value: ArrayLike) -> Array:
        """Log probability of integer actions `[...]`; -inf for actions outside 0 ... A-1."""
        action = as_integer_event(self, value)
        action, log_probs = _align_batch(action, self.log_probs)
        inside = (action >= 0) & (action < self.num_actions)
        index = jnp.where(inside, action, 0)[..., None]
        return jnp.where(inside, jnp.take_along_axis(log_probs, index, axis=-1)[..., 0], -jnp.inf)

    def entropy(self) -> Array:
        """`-sum_a p_a log p_a` in nats, shape `[...]`."""
        return -jnp.sum(self.probs * _finite(self.log_probs), axis=-1)

    def kl_divergence(self, other_dist: Categorical, **_: object) -> Array:
        """`KL(self || other_dist)` >= 0 in nats; +inf where self allows what other_dist forbids."""
        if not isinstance(other_dist, Categorical) or other_dist.num_actions != self.num_actions:
            raise ValueError(f"other_dist must be over {self.num_actions} actions; got {other_dist!r}")
        self._check_other_batch(other_dist)
        return jnp.sum(_kl_terms(self.log_probs, other_dist.log_probs), axis=-1)

    def mode(self) -> Array:
        """The most probable action, the first of several, shape `[...]`."""
        return jnp.argmax(self.log_probs, axis=-1).astype(jnp.int32)


class MultiCategorical(base.Distribution):
    """Several independent choices at once; factor i has A_i actions, which may differ.

    `log p(a) = sum_i log p_i(a_i)`; each factor as `Categorical`, its masks included.

    Args:
        logits: for each of the F factors an array `[..., A_i]`; batch shapes broadcast.
        masks: None, or for each factor None or the allowed actions `[..., A_i]`.

    Raises:
        ValueError: no factor, another number of masks, or shapes that do not fit.
    Cost:
        F uniform numbers a sample. Memory: F * max A_i numbers a batch element.
    Differentiable in:
        logits.
    """

    _fields = ("log_probs",)
    _field_ndims = (2,)
    log_probs: Array  # [..., F, max A_i], -inf after each factor's own actions

    def __init__(self, logits: Sequence[ArrayLike], masks: Sequence[ArrayLike | None] | None = None):
        if not isinstance(logits, (tuple, list)) or not logits:
            raise ValueError(f"logits must be a tuple with an array for each factor; got {type(logits).__name__}")
        masks = (None,) * len(logits) if masks is None else masks
        if not isinstance(masks, (tuple, list)) or len(masks) != len(logits):
            raise ValueError(f"masks must be a tuple of {len(logits)} masks, one for each factor")
        names = tuple(f"logits[{i}]" for i in range(len(logits)))
        arrays = base.widen(*base.as_float_arrays(dict(zip(names, logits, strict=True))))
        pairs = [allowed_actions(a, m, name) for a, m, name in zip(arrays, masks, names, strict=True)]
        widest = max(a.shape[-1] for a in arrays)
        stacked, allowed, padded = (
            jnp.stack(base.broadcast_parameters(names, parts, (1,) * len(parts)), axis=-2)
            for parts in (
                tuple(_pad(factor, widest, 0.0) for factor, _ in pairs),
                tuple(_pad(mask, widest, False) for _, mask in pairs),
                tuple(_pad(jnp.zeros_like(mask), widest, True) for _, mask in pairs),
            )
        )
        self.log_probs = log_softmax(stacked, allowed, ~padded)

    @property
    def event_shape(self) -> Shape:
        """`(F,)`."""
        return self.log_probs.shape[-2:-1]

    @property
    def dtype(self) -> jnp.dtype:
        """int32."""
        return jnp.dtype(jnp.int32)

    def _factors(self) -> Categorical:
        """All factors as one batch of categoricals, batch shape `[..., F]`."""
        return Categorical.tree_unflatten(None, (self.log_probs,))

    def _sample_n(self, key: Key, n: int) -> Array:
        return self._factors()._sample_n(key, n)

    def log_prob(self, value: ArrayLike) -> Array:
        """Log probability of integer actions `[..., F]`, shape `[...]`."""
        return jnp.sum(self._factors().log_prob(as_integer_event(self, value)), axis=-1)

    def entropy(self) -> Array:
        """Sum of the factors' entropies in nats, shape `[...]`."""
        return jnp.sum(self._factors().entropy(), axis=-1)

    def kl_divergence(self, other_dist: MultiCategorical, **_: object) -> Array:
        """Sum of the factors' divergences in nats, shape `[...]`."""
        self._check_other(other_dist)
        return jnp.sum(self._factors().kl_divergence(other_dist._factors()), axis=-1)

    def mode(self) -> Array:
        """The most probable action of each factor, shape `[..., F]`."""
        return self._factors().mode()


def normalize_logits(logits: Array, mask: ArrayLike | None, name: str) -> Array:
    """Log probabilities over the allowed actions, -inf elsewhere, in at least float32; see `Categorical`."""
    (logits,) = base.widen(logits)
    return log_softmax(*allowed_actions(logits, mask, name))


def log_softmax(logits: Array, allowed: Array, real: Array | bool = True) -> Array:
    """Logits less the logarithm of the allowed ones' sum of exponentials; -inf where not allowed.

    Where none is allowed, all that are real (not padding) are and tie.
    """
    limit = jnp.finfo(logits.dtype).max
    none_allowed = ~jnp.any(allowed, axis=-1, keepdims=True)
    allowed = allowed | (none_allowed & real)
    # Forbidden logits are replaced before any arithmetic: no NaN arises, not even one that is thrown away.
    finite = jnp.clip(jnp.where(allowed & ~none_allowed, logits, 0.0), -limit, limit)
    top = jnp.max(jnp.where(allowed, finite, -limit), axis=-1, keepdims=True)
    halved = 0.5 * finite - 0.5 * jax.lax.stop_gradient(top)  # the whole difference could overflow
    shifted = jnp.where(allowed, 2 * jnp.maximum(halved, -0.5 * limit), 0.0)
    total = jnp.sum(jnp.where(allowed, jnp.exp(shifted), 0.0), axis=-1, keepdims=True)
    return jnp.where(allowed, shifted - jnp.log(total), -jnp.inf)


def allowed_actions(logits: Array, mask: ArrayLike | None, name: str) -> tuple[Array, Array]:
    """The logits and which of them are allowed, by the mask and by not being -inf, broadcast together."""
    if logits.ndim < 1 or logits.shape[-1] == 0:
        raise ValueError(f"{name} must have shape [..., A] with A >= 1; got {logits.shape}")
    possible = logits != -jnp.inf
    if mask is None:
        return logits, possible
    mask = base.as_array("mask", mask)
    if jnp.issubdtype(mask.dtype, jnp.complexfloating):
        raise ValueError(f"mask must be booleans or 0 and 1; got dtype {mask.dtype}")
    try:
        shape = jnp.broadcast_shapes(mask.shape, logits.shape)
    except ValueError as error:
        raise ValueError(f"mask must broadcast with {name} {logits.shape}; got shape {mask.shape}") from error
    if shape[-1] != logits.shape[-1]:
        raise ValueError(f"mask must have the {logits.shape[-1]} actions of {name} last; got shape {mask.shape}")
    return jnp.broadcast_to(logits, shape), jnp.broadcast_to(possible, shape) & jnp.broadcast_to(
        mask.astype(bool), shape
    )


def as_integer_event(distribution: base.Distribution, value: ArrayLike) -> Array:
    """An integer event whose shape fits the distribution's."""
    action = base.as_array("value", value)
    if not jnp.issubdtype(action.dtype, jnp.integer):
        raise ValueError(f"value must be integer actions; got dtype {action.dtype}")
    base.check_event_shape(distribution, "value", action.shape)
    return action


def _pad(factor: Array, size: int, value: float) -> Array:
    return jnp.pad(factor, [(0, 0)] * (factor.ndim - 1) + [(0, size - factor.shape[-1])], constant_values=value)


def _inverse_cdf(log_probs: Array, uniform: Array) -> Array:
    """The first possible action whose cumulative probability exceeds a uniform share of the whole.

    Only possible actions are looked at: a parallel sum need not stay level over impossible ones.
    """
    # From multiples of 2^-23 to the middles between them: 0 would pick any first action.
    uniform = uniform + 2.0**-24
    cumulative = jnp.where(log_probs > -jnp.inf, jnp.cumsum(jnp.exp(log_probs), axis=-1), -jnp.inf)
    total = jnp.max(cumulative, axis=-1)
    point = jnp.minimum(uniform * total[None], jnp.nextafter(total, jnp.zeros_like(total))[None])
    index = jnp.arange(log_probs.shape[-1], dtype=jnp.int32).reshape((1,) * log_probs.ndim + (-1,))
    return jnp.min(jnp.where(cumulative[None] > point[..., None], index, log_probs.shape[-1] - 1), axis=-1)


def _align_batch(action: Array, log_probs: Array) -> tuple[Array, Array]:
    """Both with the same batch shape, the log probabilities with their actions last."""
    shape = jnp.broadcast_shapes(action.shape, log_probs.shape[:-1])
    return jnp.broadcast_to(action, shape), jnp.broadcast_to(log_probs, (*shape, log_probs.shape[-1]))


def _finite(log_probs: Array) -> Array:
    """Log probabilities with 0 for -inf: an impossible action adds nothing, in value and gradient."""
    return jnp.where(log_probs == -jnp.inf, 0.0, log_probs)


def _kl_terms(log_p: Array, log_q: Array) -> Array:
    """Terms p (r - 1 - log r), r = q / p: never negative, and they sum to KL because p and q sum to 1."""
    log_p, log_q = base.align_ranks(*base.widen(log_p, log_q))
    p, q = jnp.exp(log_p), jnp.exp(log_q)
    possible = p > 0
    forbidden = possible & (log_q == -jnp.inf)
    log_ratio = jnp.where(possible & ~forbidden, _finite(log_q) - _finite(log_p), 0.0)
    close = jnp.abs(log_ratio) < 0.5
    near = p * base.expm1_minus(jnp.where(close, log_ratio, 0.0))
    far = q - p - p * log_ratio
    return jnp.where(forbidden, jnp.inf, jnp.where(close & possible, near, far))
