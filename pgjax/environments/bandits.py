"""Bandits with exact answers: K arms under a softmax policy, and a quadratic reward under a Gaussian one."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from pgjax.checks import check_count
from pgjax.distributions import DiagonalNormal, MultivariateNormal
from pgjax.environments.checks import as_numbers, check_number, in_range
from pgjax.types import Array, ArrayLike, Key

_SYMMETRY_TOLERANCE = 1e-6


class GaussianBandit(NamedTuple):
    """K arms with Gaussian rewards; `gaussian_bandit` checks the fields.

    Fields:
        mean: of each arm's reward, shape `[K]`.
        std: its standard deviation, shape `[K]`.
    """

    mean: Array
    std: Array

    def pull(self, key: Key, action: ArrayLike) -> Array:
        """The reward of one arm, shape `[]`; nan where a traced action is out of range."""
        known = in_range("action", action, self.mean.shape[0])
        noise = jax.random.normal(key, (), self.mean.dtype)
        return jnp.where(known, self.mean[action] + self.std[action] * noise, jnp.nan)

    def expected_reward(self, logits: Array) -> Array:
        """Of the softmax policy: `sum_i pi_i mean_i`, shape `[]`; differentiable in the logits."""
        return jax.nn.softmax(logits) @ self.mean

    def regret(self, logits: Array) -> Array:
        """What the softmax policy loses against the best arm: `sum_i pi_i (max_j mean_j - mean_i)`, shape `[]`."""
        return jax.nn.softmax(logits) @ (jnp.max(self.mean) - self.mean)

    def policy_gradient(self, logits: Array) -> Array:
        """The gradient of `expected_reward`: `pi_i (mean_i - sum_j pi_j mean_j)`, shape `[K]`."""
        _check_shape("logits", logits, self.mean.shape)
        return jax.nn.softmax(logits) * (self.mean - self.expected_reward(logits))


class QuadraticBandit(NamedTuple):
    """A continuous action a with reward `-(a - a*)^T H (a - a*)` plus Gaussian noise; see `quadratic_bandit`.

    Fields:
        optimum: `a*`, shape `[N]`.
        curvature: H, positive definite, shape `[N, N]`.
        noise_std: standard deviation of the reward, shape `[]`.
    """

    optimum: Array
    curvature: Array
    noise_std: Array

    def pull(self, key: Key, action: Array) -> Array:
        """The reward of one action `[N]`, shape `[]`."""
        _check_shape("action", action, self.optimum.shape)
        noise = self.noise_std * jax.random.normal(key, (), self.optimum.dtype)
        return noise - _quadratic(self.curvature, action - self.optimum)

    def expected_reward(self, pi: DiagonalNormal | MultivariateNormal) -> Array:
        """Of a Gaussian policy: `-(mu - a*)^T H (mu - a*) - tr(H Sigma)`, shape `[...]`, that of pi's batch.

        Raises:
            ValueError: actions of another size.
        Differentiable in:
            pi.
        """
        mean = pi.mean()
        if mean.shape[-1:] != self.optimum.shape:
            raise ValueError(f"pi must have a mean of shape [..., {self.optimum.size}]; got {mean.shape}")
        if isinstance(pi, MultivariateNormal):
            spread = jnp.einsum("ij,...ij->...", self.curvature, pi.covariance(), precision="highest")
        else:
            spread = jnp.einsum("ii,...i->...", self.curvature, pi.variance(), precision="highest")
        return -_quadratic(self.curvature, mean - jnp.broadcast_to(self.optimum, mean.shape)) - spread

    def policy_gradient(self, mean: Array, log_std: Array) -> tuple[Array, Array]:
        """The gradient of `expected_reward` of DiagonalNormal(mean, log_std), in both; shapes `[N]`.

        `d/dmu = -2 H (mu - a*)`, `d/dlog sigma_i = -2 H_ii sigma_i^2`
        """
        _check_shape("mean", mean, self.optimum.shape)
        _check_shape("log_std", log_std, self.optimum.shape)
        pull = jnp.matmul(self.curvature, mean - self.optimum, precision="highest")
        return -2 * pull, -2 * jnp.diagonal(self.curvature) * jnp.exp(2 * log_std)

    def best_diagonal(self, temperature: ArrayLike) -> DiagonalNormal:
        """The diagonal Gaussian with the largest expected reward + temperature * entropy.

        `sigma_i^2 = tau / (2 H_ii)`
        """
        scale = _as_temperature(temperature) / 2
        return DiagonalNormal(self.optimum, 0.5 * (jnp.log(scale) - jnp.log(jnp.diagonal(self.curvature))))

    def best_full(self, temperature: ArrayLike) -> MultivariateNormal:
        """The Gaussian, and the distribution, with the largest expected reward + temperature * entropy.

        `Sigma = tau / 2 H^-1`
        """
        scale = jnp.sqrt(_as_temperature(temperature) / 2)
        return MultivariateNormal(self.optimum, scale * jnp.linalg.cholesky(jnp.linalg.inv(self.curvature)))

    def covariance_gap(self, temperature: ArrayLike) -> Array:
        """What full covariance gains: `tau / 2 (sum_i log H_ii - log det H)` >= 0, shape `[]`.

        The difference between `best_full` and `best_diagonal` in expected reward + temperature * entropy.
        """
        log_det = jnp.linalg.slogdet(self.curvature)[1]
        return _as_temperature(temperature) / 2 * (jnp.sum(jnp.log(jnp.diagonal(self.curvature))) - log_det)


def gaussian_bandit(mean: npt.ArrayLike, std: npt.ArrayLike = 1.0) -> GaussianBandit:
    """Make a `GaussianBandit` from checked numbers, in JAX's default floating dtype.

    Args:
        mean: of each arm's reward, shape `[K]`, K >= 1.
        std: standard deviations, shape `[K]` or `[]`, at least 0.

    Raises:
        ValueError: wrong shape, not finite, a negative std.
    """
    mean, std = as_numbers("mean", mean), as_numbers("std", std)
    if mean.ndim != 1 or mean.size == 0 or not np.all(np.isfinite(mean)):
        raise ValueError(f"mean must be finite with shape [K], K >= 1; got {mean}")
    if std.shape not in ((), mean.shape) or not np.all(np.isfinite(std) & (std >= 0)):
        raise ValueError(f"std must be finite, at least 0, with shape [] or {mean.shape}; got {std}")
    return GaussianBandit(*(jnp.asarray(x, jnp.result_type(float)) for x in np.broadcast_arrays(mean, std)))


def quadratic_bandit(optimum: npt.ArrayLike, curvature: npt.ArrayLike, noise_std: float = 0.0) -> QuadraticBandit:
    """Make a `QuadraticBandit` from checked numbers, in JAX's default floating dtype.

    Args:
        optimum: `a*`, shape `[N]`, N >= 1.
        curvature: H, symmetric and positive definite, shape `[N, N]`.
        noise_std: at least 0.

    Raises:
        ValueError: wrong shape, not finite, curvature not positive definite, negative noise_std.
    """
    optimum, curvature = as_numbers("optimum", optimum), as_numbers("curvature", curvature)
    if optimum.ndim != 1 or optimum.size == 0 or not np.all(np.isfinite(optimum)):
        raise ValueError(f"optimum must be finite with shape [N], N >= 1; got {optimum}")
    if curvature.shape != (optimum.size,) * 2 or not np.all(np.isfinite(curvature)):
        raise ValueError(f"curvature must be finite with shape {(optimum.size,) * 2}; got {curvature}")
    if not np.allclose(curvature, curvature.T, rtol=_SYMMETRY_TOLERANCE) or np.linalg.eigvalsh(curvature)[0] <= 0:
        raise ValueError(f"curvature must be symmetric and positive definite; got {curvature}")
    check_number("noise_std", noise_std)
    if noise_std < 0:
        raise ValueError(f"noise_std must be finite and at least 0; got {noise_std}")
    return QuadraticBandit(*(jnp.asarray(x, jnp.result_type(float)) for x in (optimum, curvature, noise_std)))


def gradient_ascent(bandit: GaussianBandit, logits: ArrayLike, step_size: float, num_steps: int) -> Array:
    """Climb the exact gradient of a softmax policy's expected reward.

    The regret falls as O(1 / t), t = step_size * steps: with two arms, t * regret -> 1/2 whatever the gap between
    them (gradient flow: e^x + 2x - e^-x = 2 gap t + constant, x the difference of the logits). That is for exact
    gradients and a logit for each arm; one logit for both moves half as fast: t * regret -> 1.

    Args:
        bandit: the arms.
        logits: to start from, shape `[K]`.
        step_size: what the gradient is multiplied by.
        num_steps: >= 1.

    Returns:
        logits after each step, the first ones before them, shape `[num_steps + 1, K]`.
    Raises:
        ValueError: num_steps < 1, logits of another shape.
    Reference:
        Mei et al. (2020), On the global convergence rates of softmax policy gradient methods.
    """
    check_count("num_steps", num_steps)
    if np.shape(logits) != bandit.mean.shape:
        raise ValueError(f"logits must have shape {bandit.mean.shape}; got {np.shape(logits)}")

    def advance(now, _):
        return now + step_size * bandit.policy_gradient(now), now

    start = jnp.asarray(logits, bandit.mean.dtype)
    last, before = jax.lax.scan(advance, start, length=num_steps)
    return jnp.concatenate([before, last[None]])


def _as_temperature(temperature: ArrayLike) -> Array:
    """The temperature, checked to be positive where it is known."""
    if not isinstance(temperature, jax.core.Tracer) and not 0 < float(np.asarray(temperature)) < np.inf:
        raise ValueError(f"temperature must be positive and finite; got {temperature}")
    return jnp.asarray(temperature, jnp.result_type(float))


def _quadratic(matrix: Array, x: Array) -> Array:
    """x^T M x over the last axis, for x `[..., N]`."""
    return jnp.einsum("...i,ij,...j->...", x, matrix, x, precision="highest")


def _check_shape(name: str, value: Array, shape: tuple[int, ...]) -> None:
    if np.shape(value) != shape:
        raise ValueError(f"{name} must have shape {shape}; got {np.shape(value)}")
