"""Gaussian with independent action dimensions."""

from __future__ import annotations

import math

import jax.numpy as jnp

from pgjax import noise
from pgjax.distributions import base
from pgjax.types import Array, ArrayLike, Key, Shape

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class LocationScale(base.Distribution):
    """What the Gaussian families share: the first field is the location `[..., N]`, the second the scale."""

    loc: Array

    @property
    def event_shape(self) -> Shape:
        """`(N,)`."""
        return self.loc.shape[-1:]

    @property
    def dtype(self) -> jnp.dtype:
        """The parameters' dtype, which samples have."""
        return base.common_dtype(self.loc.dtype, getattr(self, self._fields[1]).dtype)


class DiagonalNormal(LocationScale):
    """Gaussian with mean mu and standard deviations sigma = exp(log_std), one for each action dimension.

    `log p(a) = sum_i [ -(a_i - mu_i)^2 / (2 sigma_i^2) - log sigma_i - log(2 pi) / 2 ]`

    sigma is never formed on its own: densities are right where exp(+-log_std) leaves float32, up to
    `|log_std| = 167` in float32 and beyond 1300 in float64; past that, sigma is held there. A density that
    overflows is -inf, and its gradient need not be finite. Samples have the parameters' dtype; densities are
    computed and returned in at least float32.

    Args:
        mean: mu, shape `[..., N]`.
        log_std: log sigma, shape `[..., N]`; its batch shape broadcasts with the mean's.

    Raises:
        ValueError: shapes that do not fit.
    Cost:
        one normal number for each sampled action dimension.
    Differentiable in:
        mean, log_std, action; samples are reparameterized, a = mu + sigma * epsilon.
    """

    _fields = ("loc", "log_std")
    _field_ndims = (1, 1)
    log_std: Array

    def __init__(self, mean: ArrayLike, log_std: ArrayLike):
        self.loc, self.log_std = gaussian_parameters(mean, log_std)

    def _sample_n(self, key: Key, n: int) -> Array:
        loc, log_std = base.widen(self.loc, self.log_std)
        epsilon = noise.normal(key, (n, *loc.shape), loc.dtype)
        return (loc[None] + times_std(epsilon, log_std[None])).astype(self.dtype)

    def _sample_n_and_log_prob(self, key: Key, n: int) -> tuple[Array, Array]:
        loc, log_std = base.widen(self.loc, self.log_std)
        epsilon = noise.normal(key, (n, *loc.shape), loc.dtype)
        actions = loc[None] + times_std(epsilon, log_std[None])
        return actions.astype(self.dtype), jnp.sum(standard_log_density(epsilon) - log_std[None], axis=-1)

    def log_prob(self, value: ArrayLike) -> Array:
        """Log density of actions `[..., N]`, shape `[...]` (batch shapes broadcast)."""
        action = base.as_event(self, "value", value)
        action, loc, log_std = base.align_ranks(*base.widen(action, self.loc, self.log_std))
        return jnp.sum(standard_log_density(over_std(action - loc, log_std)) - log_std, axis=-1)

    def entropy(self) -> Array:
        """`sum_i log sigma_i + (N / 2) log(2 pi e)`, in nats, shape `[...]`."""
        (log_std,) = base.widen(self.log_std)
        return jnp.sum(log_std + (HALF_LOG_2PI + 0.5), axis=-1)

    def kl_divergence(self, other_dist: DiagonalNormal, **_: object) -> Array:
        """`KL(self || other_dist)` >= 0, in nats, with full relative accuracy for nearly equal Gaussians."""
        self._check_other(other_dist)
        return gaussian_kl(self.loc, self.log_std, other_dist.loc, other_dist.log_std)

    def mean(self) -> Array:
        """mu, shape `[..., N]`."""
        return self.loc.astype(self.dtype)

    def mode(self) -> Array:
        """mu, shape `[..., N]`."""
        return self.mean()

    def stddev(self) -> Array:
        """sigma, shape `[..., N]`."""
        return jnp.exp(self.log_std).astype(self.dtype)

    def variance(self) -> Array:
        """sigma^2, shape `[..., N]`."""
        return jnp.exp(2 * self.log_std).astype(self.dtype)


def gaussian_parameters(mean: ArrayLike, log_std: ArrayLike) -> tuple[Array, Array]:
    """Mean and log_std as arrays `[..., N]` of one shape, checked."""
    arrays = base.as_float_arrays({"mean": mean, "log_std": log_std})
    loc, scale = base.broadcast_parameters(("mean", "log_std"), arrays, (1, 1))
    if loc.shape != scale.shape:
        raise ValueError(f"log_std must have the mean's N = {loc.shape[-1]} last; got shape {scale.shape}")
    return loc, scale


def times_std(x: Array, log_std: Array) -> Array:
    """x * exp(log_std), in two factors so that neither over- nor underflows, and 0 stays 0."""
    factor = jnp.exp(_half_exponent(log_std))
    return x * factor * factor


def over_std(x: Array, log_std: Array) -> Array:
    """x / exp(log_std), likewise."""
    factor = jnp.exp(-_half_exponent(log_std))
    return x * factor * factor


def standard_log_density(epsilon: Array) -> Array:
    """Log density of standard normal numbers, elementwise."""
    return -0.5 * jnp.square(epsilon) - HALF_LOG_2PI


def gaussian_kl(loc: Array, log_std: Array, other_loc: Array, other_log_std: Array) -> Array:
    """sum_i [ (r_i - 1 - log r_i) / 2 + (mu_i - mu'_i)^2 / (2 sigma'_i^2) ], r = (sigma / sigma')^2."""
    loc, log_std, other_loc, other_log_std = base.align_ranks(*base.widen(loc, log_std, other_loc, other_log_std))
    scale_part = base.expm1_minus(2 * (log_std - other_log_std))
    location_part = jnp.square(over_std(loc - other_loc, other_log_std))
    return 0.5 * jnp.sum(scale_part + location_part, axis=-1)


def _half_exponent(log_std: Array) -> Array:
    limit = 0.95 * math.log(float(jnp.finfo(log_std.dtype).max))
    return jnp.clip(0.5 * log_std, -limit, limit)
