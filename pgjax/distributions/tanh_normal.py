"""Gaussian squashed into a box by tanh."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf

from pgjax import noise
from pgjax.distributions import base
from pgjax.distributions.normal import (
    HALF_LOG_2PI,
    LocationScale,
    gaussian_kl,
    gaussian_parameters,
    over_std,
    standard_log_density,
    times_std,
)
from pgjax.types import Array, ArrayLike, Key, Shape


class TanhNormal(LocationScale):
    """Gaussian squashed into a box by tanh, each dimension alone.

    `a = low + (high - low) (1 + tanh u) / 2` with `u ~ Normal(mu, sigma = exp(log_std))`

    `log p(a) = log Normal(u; mu, sigma) - sum_i [ log((high_i - low_i) / 2) + log(1 - tanh(u_i)^2) ]`

    Every sample lies in [low, high], in its own dtype. An action exactly on a bound has the density of the
    action a fourth of its dtype's spacing inside (finite, with finite gradients); outside, the log density
    is -inf. `sample_and_log_prob` uses u itself and so is exact however saturated tanh is.

    Args:
        mean: mu, before the squashing, shape `[..., N]`.
        log_std: log sigma, shape `[..., N]`.
        low, high: bounds, shape `[N]`, `[..., N]` or scalars, low < high.

    Raises:
        ValueError: shapes that do not fit; low >= high (where the values are known).
    Cost:
        as `DiagonalNormal`, and about one exponential and one logarithm for each dimension.
    Differentiable in:
        mean, log_std, action; samples are reparameterized.
    """

    _fields = ("loc", "log_std", "low", "high")
    _field_ndims = (1, 1, 1, 1)
    log_std: Array
    low: Array
    high: Array

    def __init__(self, mean: ArrayLike, log_std: ArrayLike, low: ArrayLike = -1.0, high: ArrayLike = 1.0):
        self.loc, self.log_std = gaussian_parameters(mean, log_std)
        dtype = base.compute_dtype(self.dtype)
        self.low = _bound("low", low, self.loc.shape, dtype)
        self.high = _bound("high", high, self.loc.shape, dtype)
        if _known(self.low, self.high) and not np.all(np.asarray(self.low) < np.asarray(self.high)):
            raise ValueError(f"low must be below high in every dimension; got low={low}, high={high}")

    def _sample_n(self, key: Key, n: int) -> Array:
        return self._squash(self._sample_pre_squash(key, n)[0])

    def _sample_n_and_log_prob(self, key: Key, n: int) -> tuple[Array, Array]:
        u, epsilon = self._sample_pre_squash(key, n)
        (log_std,) = base.widen(self.log_std)
        log_prob = standard_log_density(epsilon) - log_std[None] - self._log_jacobian(u)
        return self._squash(u), jnp.sum(log_prob, axis=-1)

    def _sample_pre_squash(self, key: Key, n: int) -> tuple[Array, Array]:
        loc, log_std = base.widen(self.loc, self.log_std)
        epsilon = noise.normal(key, (n, *loc.shape), loc.dtype)
        limit = jnp.finfo(loc.dtype).max / 4  # keeps u, and so the density, finite
        return jnp.clip(loc[None] + times_std(epsilon, log_std[None]), -limit, limit), epsilon

    def log_prob(self, value: ArrayLike) -> Array:
        """Log density of actions `[..., N]`, shape `[...]`: -inf outside the box, finite on it and inside."""
        action = base.as_event(self, "value", value)
        rounding = float(jnp.finfo(action.dtype).eps)
        action, loc, log_std, low, high = base.align_ranks(
            *base.widen(action, self.loc, self.log_std, self.low, self.high)
        )
        low_edge, high_edge = (jnp.maximum(high - low, 2 * jnp.abs(b)) * (rounding / 8) for b in (low, high))
        from_low, from_high = action - low, high - action
        u = 0.5 * (
            jnp.log(jnp.where(from_low <= 0, low_edge, from_low))
            - jnp.log(jnp.where(from_high <= 0, high_edge, from_high))
        )
        log_prob = standard_log_density(over_std(u - loc, log_std)) - log_std - self._log_jacobian(u)
        outside = jnp.any((from_low < 0) | (from_high < 0), axis=-1)
        return jnp.where(outside, -jnp.inf, jnp.sum(log_prob, axis=-1))

    def entropy(self) -> Array:
        """Entropy in nats, shape `[...]`: the Gaussian's plus `E[log |da/du|]`, by quadrature to about 1e-6.

        Cost:
            113 nodes a dimension.
        Differentiable in:
            mean, log_std, bounds.
        """
        loc, log_std, low, high = base.widen(self.loc, self.log_std, self.low, self.high)
        half_width = 0.5 * (high - low)
        gaussian = log_std + (HALF_LOG_2PI + 0.5)
        return jnp.sum(gaussian + jnp.log(half_width) + _mean_log_det(loc, log_std), axis=-1)

    def kl_divergence(self, other_dist: TanhNormal, **_: object) -> Array:
        """`KL(self || other_dist)`, in nats: that of the Gaussians, which the same squashing leaves unchanged.

        Raises:
            ValueError: the bounds differ. Where they are traced, so that they cannot be compared, the
        result is +inf for bounds that differ.
        """
        self._check_other(other_dist)
        kl = gaussian_kl(self.loc, self.log_std, other_dist.loc, other_dist.log_std)
        low, high, other_low, other_high = base.align_ranks(
            *base.widen(self.low, self.high, other_dist.low, other_dist.high)
        )
        if _known(low, high, other_low, other_high):
            if not (np.all(low == other_low) and np.all(high == other_high)):
                raise ValueError("other_dist must have the same low and high: KL has no closed form otherwise")
            return kl
        return jnp.where(jnp.all((low == other_low) & (high == other_high), axis=-1), kl, jnp.inf)

    def mode(self) -> Array:
        """The squashed mean, shape `[..., N]`: the usual deterministic action (the density may peak elsewhere)."""
        (loc,) = base.widen(self.loc)
        return self._squash(loc)

    def _squash(self, u: Array) -> Array:
        """The action for u, counted from the nearer bound, so that it is exact close to it; inside the box."""
        u, low, high = base.align_ranks(*base.widen(u, self.low, self.high))
        below = u < 0
        distance = (high - low) * jax.nn.sigmoid(jnp.where(below, 2 * u, -2 * u))
        action = jnp.clip(jnp.where(below, low + distance, high - distance), low, high)
        return _round_inside(action, low, high, self.dtype)

    def _log_jacobian(self, u: Array) -> Array:
        u, low, high = base.align_ranks(*base.widen(u, self.low, self.high))
        return jnp.log(0.5 * (high - low)) + log_det_tanh(u)


@jax.custom_jvp
def log_det_tanh(u: Array) -> Array:
    """log(1 - tanh(u)^2) = -2 log cosh u, elementwise, to full relative accuracy at every u."""
    magnitude = jnp.abs(u)
    near = -2 * jnp.log1p(2 * jnp.square(jnp.sinh(0.5 * jnp.minimum(magnitude, 1.0))))
    far = 2 * (math.log(2.0) - magnitude - jnp.log1p(jnp.exp(-2 * magnitude)))
    return jnp.where(magnitude < 1.0, near, far)


@log_det_tanh.defjvp
def _log_det_tanh_jvp(primals, tangents):
    (u,), (du,) = primals, tangents
    return log_det_tanh(u), -2 * jnp.tanh(u) * du


def _mean_log_det(loc: Array, log_std: Array) -> Array:
    """E[log(1 - tanh(u)^2)] for u ~ Normal(loc, exp(log_std)), elementwise.

    Up to std 2: the trapezoidal rule in (u - loc) / std, exact to rounding for so smooth an integrand. Above:
    log(1 - tanh^2) = 2 log 2 - 2|u| - 2 log(1 + exp(-2|u|)); E|u| is known, and the rest lies within |u| < 10,
    where the Gaussian is smooth (Gauss-Legendre).
    """
    wide = log_std > math.log(2.0)
    std = jnp.exp(jnp.where(wide, 0.0, log_std))
    narrow_mean = _quadrature(
        _trapezoidal_normal(), lambda x: log_det_tanh(loc[..., None] + std[..., None] * x), std
    )

    limit = 0.45 * math.log(float(jnp.finfo(loc.dtype).max))
    wide_std = jnp.exp(jnp.where(wide, jnp.minimum(log_std, limit), math.log(2.0)))
    scaled = loc / wide_std
    mean_abs = loc * erf(scaled / math.sqrt(2.0)) + 2 * wide_std * jnp.exp(standard_log_density(scaled))
    both_sides = _quadrature(
        _legendre_tail(),
        lambda u: (
            _density(u - loc[..., None], wide_std[..., None]) + _density(u + loc[..., None], wide_std[..., None])
        ),
        wide_std,
    )
    return jnp.where(wide, 2 * (math.log(2.0) - mean_abs - both_sides), narrow_mean)


def _quadrature(rule: tuple[np.ndarray, np.ndarray], integrand: Callable[[Array], Array], like: Array) -> Array:
    """Sum of weight * integrand(node) over the last axis, for every element of an array of the given shape."""
    nodes, weights = (jnp.asarray(part, like.dtype).reshape((1,) * like.ndim + (-1,)) for part in rule)
    return jnp.sum(weights * integrand(nodes), axis=-1)


def _density(x: Array, std: Array) -> Array:
    return jnp.exp(standard_log_density(x / std)) / std


def _trapezoidal_normal() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for the mean of a function of a standard normal number, step 1/4 in [-8, 8]."""
    nodes = np.linspace(-8.0, 8.0, 65)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, weights / weights.sum()


def _legendre_tail() -> tuple[np.ndarray, np.ndarray]:
    """Nodes in [0, 12], and Gauss-Legendre weights times log(1 + exp(-2 node))."""
    nodes, weights = np.polynomial.legendre.leggauss(48)
    nodes, weights = 6.0 * (nodes + 1.0), 6.0 * weights
    return nodes, weights * np.log1p(np.exp(-2.0 * nodes))


def _bound(name: str, bound: ArrayLike, shape: Shape, dtype: jnp.dtype) -> Array:
    """A bound in the shape of the mean; NumPy while its value is known, so that two can be compared."""
    array = bound if isinstance(bound, jax.Array) else np.asarray(bound)
    try:
        if isinstance(array, np.ndarray):
            return np.broadcast_to(array.astype(dtype), shape)  # type: ignore[return-value]
        return jnp.broadcast_to(array.astype(dtype), np.broadcast_shapes(array.shape, shape)).reshape(shape)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must broadcast to the mean's shape {shape}; got {bound!r}") from error


def _known(*arrays: Array) -> bool:
    return not any(isinstance(a, jax.core.Tracer) for a in arrays)


def _round_inside(action: Array, low: Array, high: Array, dtype: jnp.dtype) -> Array:
    """The action in a narrower dtype, rounded back inside the box where rounding left it."""
    if action.dtype == dtype:
        return action
    limit = float(jnp.finfo(dtype).max)
    rounded = jnp.clip(action, -limit, limit).astype(dtype)
    start = jax.lax.stop_gradient(rounded)
    wide = start.astype(action.dtype)
    toward = jnp.where(wide > high, -jnp.inf, jnp.where(wide < low, jnp.inf, wide)).astype(dtype)
    return rounded + (jnp.nextafter(start, toward) - start)
