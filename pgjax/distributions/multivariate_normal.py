"""Gaussian with full covariance."""

from __future__ import annotations

import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from pgjax import noise
from pgjax.distributions import base
from pgjax.distributions.normal import HALF_LOG_2PI, LocationScale, standard_log_density
from pgjax.types import Array, ArrayLike, Key


class MultivariateNormal(LocationScale):
    """Gaussian with mean mu and covariance Sigma = L L^T.

    `log p(a) = -|L^-1 (a - mu)|^2 / 2 - sum_i log |L_ii| - (N / 2) log(2 pi)`

    The covariance itself is never formed. Only the lower triangle of `scale_tril` is read.

    Args:
        mean: mu, shape `[..., N]`.
        scale_tril: L, shape `[..., N, N]`, lower triangular with a diagonal without zeros.

    Raises:
        ValueError: shapes that do not fit.
    Cost:
        N normal numbers and N^2 multiplications a sample; a triangular solve a density.
    Differentiable in:
        mean, scale_tril, action; samples are reparameterized, a = mu + L epsilon.
    """

    _fields = ("loc", "scale_tril")
    _field_ndims = (1, 2)
    scale_tril: Array

    def __init__(self, mean: ArrayLike, scale_tril: ArrayLike):
        names = ("mean", "scale_tril")
        arrays = base.as_float_arrays({"mean": mean, "scale_tril": scale_tril})
        self.loc, tril = base.broadcast_parameters(names, arrays, self._field_ndims)
        num_dims = self.loc.shape[-1]
        if tril.shape[-2:] != (num_dims, num_dims):
            raise ValueError(
                f"scale_tril must have shape [..., {num_dims}, {num_dims}] for a mean of shape "
                f"{self.loc.shape}; got {tril.shape}"
            )
        self.scale_tril = jnp.tril(tril)

    def _sample_n(self, key: Key, n: int) -> Array:
        return self._sample_n_and_log_prob(key, n)[0]

    def _sample_n_and_log_prob(self, key: Key, n: int) -> tuple[Array, Array]:
        loc, scale_tril = base.widen(self.loc, self.scale_tril)
        epsilon = noise.normal(key, (n, *loc.shape), loc.dtype)
        actions = loc[None] + jnp.einsum("...ij,n...j->n...i", scale_tril, epsilon, precision="highest")
        log_prob = jnp.sum(standard_log_density(epsilon), axis=-1) - self._log_det()[None]
        return actions.astype(self.dtype), log_prob

    def log_prob(self, value: ArrayLike) -> Array:
        """Log density of actions `[..., N]`, shape `[...]` (batch shapes broadcast)."""
        action = base.as_event(self, "value", value)
        action, loc = base.align_ranks(*base.widen(action, self.loc))
        _, scale_tril = base.widen(action, self.scale_tril)
        epsilon = _solve(scale_tril, (action - loc)[..., None])[..., 0]
        squares = jnp.sum(standard_log_density(epsilon), axis=-1)
        log_det = base.align_ranks(squares, self._log_det().astype(squares.dtype))[1]
        return squares - log_det

    def entropy(self) -> Array:
        """`sum_i log |L_ii| + (N / 2) log(2 pi e)`, in nats, shape `[...]`."""
        return self._log_det() + self.loc.shape[-1] * (HALF_LOG_2PI + 0.5)

    def kl_divergence(self, other_dist: MultivariateNormal, **_: object) -> Array:
        """`KL(self || other_dist)` >= 0, in nats.

        With `M = L'^-1 L` it is
        `sum_i (M_ii^2 - 1 - log M_ii^2) / 2 + sum_{i>j} M_ij^2 / 2 + |L'^-1 (mu - mu')|^2 / 2`.
        """
        self._check_other(other_dist)
        loc, other_loc, scale, other_scale = base.widen(
            self.loc, other_dist.loc, self.scale_tril, other_dist.scale_tril
        )
        loc, other_loc = base.align_ranks(loc, other_loc)
        scale, other_scale = base.align_ranks(scale, other_scale)
        below = jnp.square(jnp.tril(_solve(other_scale, scale), -1))
        diagonal, other_diagonal = (jnp.abs(jnp.diagonal(s, axis1=-2, axis2=-1)) for s in (scale, other_scale))
        log_ratio = _log_ratio(diagonal, other_diagonal)
        shift = _solve(other_scale, (loc - other_loc)[..., None])[..., 0]
        return 0.5 * (
            jnp.sum(base.expm1_minus(2 * log_ratio) + jnp.square(shift), axis=-1) + jnp.sum(below, axis=(-2, -1))
        )

    def mean(self) -> Array:
        """mu, shape `[..., N]`."""
        return self.loc.astype(self.dtype)

    def mode(self) -> Array:
        """mu, shape `[..., N]`."""
        return self.mean()

    def covariance(self) -> Array:
        """Sigma = L L^T, shape `[..., N, N]`."""
        return jnp.einsum("...ik,...jk->...ij", self.scale_tril, self.scale_tril, precision="highest").astype(
            self.dtype
        )

    def variance(self) -> Array:
        """Diagonal of Sigma, shape `[..., N]`."""
        return jnp.sum(jnp.square(self.scale_tril), axis=-1).astype(self.dtype)

    def _log_det(self) -> Array:
        (scale_tril,) = base.widen(self.scale_tril)
        return jnp.sum(jnp.log(jnp.abs(jnp.diagonal(scale_tril, axis1=-2, axis2=-1))), axis=-1)


def _log_ratio(numerator: Array, denominator: Array) -> Array:
    """log(numerator / denominator) of positive numbers, to full relative accuracy also where they are close."""
    change = numerator / denominator - 1
    close = jnp.abs(change) < 0.5
    exact = (numerator - denominator) / denominator
    return jnp.where(close, jnp.log1p(jnp.where(close, exact, 0.0)), jnp.log(numerator) - jnp.log(denominator))


def _solve(lower: Array, right: Array) -> Array:
    """L^-1 right, `[..., N, M]`, batch dimensions broadcasting."""
    batch_shape = jnp.broadcast_shapes(lower.shape[:-2], right.shape[:-2])
    lower = jnp.broadcast_to(lower, batch_shape + lower.shape[-2:])
    right = jnp.broadcast_to(right, batch_shape + right.shape[-2:])
    if 0 in batch_shape:
        return right
    return solve_triangular(lower, right, lower=True)
