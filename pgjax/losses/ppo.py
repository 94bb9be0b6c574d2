"""Proximal policy optimization: the clipped surrogate, and what to watch while it trains."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from pgjax.distributions.base import expm1_minus
from pgjax.returns.arrays import as_scalar, as_step_weights, as_steps, check_range, without_padding
from pgjax.types import Array, ArrayLike

_MAX_LOG_RATIO = 20.0  # a ratio of 5e8; exp overflows float32 at 88


def ppo_loss(
    log_probs: ArrayLike,
    old_log_probs: ArrayLike,
    advantages: ArrayLike,
    weights: ArrayLike = 1.0,
    *,
    clip_range: ArrayLike = 0.2,
) -> Array:
    """Weigh probability ratios by advantages, without gain from ratios that have moved far enough.

    `L = -sum_t w_t min(rho_t A_t, clip(rho_t, 1 - epsilon, 1 + epsilon) A_t)`, `rho_t = (pi / pi_old)(a_t | s_t)`

    Where the clipped branch is the lower one, the gradient is exactly zero. Log ratios beyond +-20 are held there,
    also in the gradient, so that no ratio overflows. A step impossible under both policies has no part. At
    pi = pi_old the gradient is `policy_gradient_loss`'s.

    Args:
        log_probs: log pi(a_t | s_t), shape `[T]`; here T may as well be a minibatch of steps.
        old_log_probs: log pi_old(a_t | s_t) of the policy that acted, shape `[T]`.
        advantages: A, shape `[T]`.
        weights: w, a scalar or `[T]`.
        clip_range: epsilon.

    Returns:
        the loss, a scalar.
    Raises:
        ValueError: shapes that do not fit, a clip_range known and negative.
    Differentiable in:
        log_probs.
    Reference:
        Schulman et al. (2017), Proximal policy optimization algorithms, equation 7 and table 3.
    """
    log_probs, old_log_probs, advantages = as_steps(
        log_probs=log_probs, old_log_probs=old_log_probs, advantages=advantages
    )
    weights = _without_impossible(as_step_weights("weights", weights, log_probs), log_probs, old_log_probs)
    log_probs, old_log_probs, advantages = without_padding(
        weights, log_probs, old_log_probs, jax.lax.stop_gradient(advantages)
    )
    epsilon = as_scalar("clip_range", clip_range, log_probs, 0)
    log_ratio = log_probs - jax.lax.stop_gradient(old_log_probs)
    ratio = jnp.exp(jnp.clip(log_ratio, -_MAX_LOG_RATIO, _MAX_LOG_RATIO))
    limit = jnp.where(advantages > 0, 1 + epsilon, 1 - epsilon)
    dead = jnp.where(advantages > 0, ratio > limit, ratio < limit)
    return -jnp.sum(weights * advantages * jnp.where(dead, limit, ratio))


class PPODiagnostics(NamedTuple):
    """What `ppo_diagnostics` returns.

    Fields:
        clip_fraction: share of the steps whose ratio is out of the clip range, a scalar.
        kl: an estimate of `KL(pi_old || pi)` in nats, a scalar.
    """

    clip_fraction: Array
    kl: Array


def ppo_diagnostics(
    log_probs: ArrayLike,
    old_log_probs: ArrayLike,
    weights: ArrayLike = 1.0,
    *,
    clip_range: ArrayLike = 0.2,
) -> PPODiagnostics:
    """Measure how far the policy has moved from the one that acted.

    clip_fraction is the mean of `|rho_t - 1| > epsilon`, kl that of `rho_t - 1 - log rho_t`.

    The estimate of the divergence is unbiased and never negative, and has full relative accuracy for small steps;
    but log ratios above 20 count as 20, so that it cannot overflow. A step impossible under both policies has no
    part.

    Args:
        log_probs, old_log_probs, clip_range: as for `ppo_loss`.
        weights: of the weighted means, a scalar or `[T]`, not negative.

    Returns:
        `PPODiagnostics`; 0 where all weights are, kl inf where the policy excludes a step.
    Raises:
        ValueError: shapes that do not fit, a clip_range or weights known and negative.
    Differentiable in:
        nothing.
    Reference:
        Schulman (2020), Approximating KL divergence, estimator k3.
    """
    log_probs, old_log_probs = as_steps(log_probs=log_probs, old_log_probs=old_log_probs)
    check_range("weights", weights, 0)
    weights = _without_impossible(as_step_weights("weights", weights, log_probs), log_probs, old_log_probs)
    total = jnp.sum(weights)
    total = jnp.where(total > 0, total, 1)
    log_probs, old_log_probs = jax.lax.stop_gradient(without_padding(weights, log_probs, old_log_probs))
    log_ratio = jnp.minimum(log_probs - old_log_probs, _MAX_LOG_RATIO)
    outside = jnp.abs(jnp.expm1(log_ratio)) > as_scalar("clip_range", clip_range, log_probs, 0)
    terms = jnp.where(weights == 0, 0, weights / total * expm1_minus(log_ratio))
    return PPODiagnostics(jnp.sum(jnp.where(outside, weights, 0)) / total, jnp.sum(terms))


def _without_impossible(weights: Array, log_probs: Array, old_log_probs: Array) -> Array:
    """Weights with 0 for steps of log probability -inf under both policies, whose ratio is undefined."""
    return jnp.where((log_probs == -jnp.inf) & (old_log_probs == -jnp.inf), 0, weights)
