"""Covariance matrix adaptation evolution strategy."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pgjax import noise
from pgjax.checks import check_count
from pgjax.maximizers.base import Candidates, Maximizer, best_point, evaluate, finite_or_lowest
from pgjax.small_matrices import modified_cholesky, solve_lower
from pgjax.types import Array


class _Strategy(NamedTuple):
    """What CMA-ES adapts: `[N]`, [], `[N, N]`, and the two evolution paths `[N]`."""

    mean: Array
    sigma: Array
    covariance: Array
    path_sigma: Array
    path_covariance: Array
    num_steps: Array


@functools.lru_cache(typed=True)
def cma_es(*, num_samples: int | None = None, initial_sigma: float = 0.6) -> Maximizer:
    """Sample a Gaussian whose full covariance and step size adapt to the ranking of its samples.

    Samples are clipped to the box, and the strategy adapts to the clipped ones.

    Args:
        num_samples: samples a step (lambda), >= 2; None for 4 + floor(3 ln N).
        initial_sigma: first standard deviation, in half widths of the box.

    Raises:
        ValueError: a setting out of range.
    Cost:
        num_samples + 1 evaluations a step (the mean is evaluated too), and N^3 / 3 + num_samples N^2 operations.
    Reference:
        Hansen (2016), The CMA evolution strategy: a tutorial, figure 6 and table 1, and appendix A for the first
        deviation (0.3 of the range). Deviation: positive weights only; a Cholesky factor in place of the square
        root, in sampling and in the step size's path, as in Krause, Arbones & Igel (2016), CMA-ES with optimal
        covariance update and storage complexity; samples are repaired by clipping.
    """
    if num_samples is not None:
        check_count("num_samples", num_samples, 2)
    if not initial_sigma > 0:
        raise ValueError(f"initial_sigma must be positive; got {initial_sigma}")

    def size(num_dims):
        return num_samples or 4 + math.floor(3 * math.log(num_dims))

    def init(key, objective, initial):
        del key, objective
        mean = best_point(initial)
        zeros = jnp.zeros_like(mean)
        sigma = jnp.asarray(initial_sigma, mean.dtype)
        return _Strategy(mean, sigma, jnp.eye(len(mean), dtype=mean.dtype), zeros, zeros, jnp.int32(0)), None

    def step(key, objective, strategy):
        mean, sigma = strategy.mean, strategy.sigma
        num_dims = len(mean)
        lower = modified_cholesky(strategy.covariance)
        normals = noise.normal(key, (size(num_dims), num_dims), mean.dtype)
        samples = evaluate(objective, jnp.clip(mean[None] + sigma * (normals @ lower.T), -1, 1))
        weights = _weights(size(num_dims))
        # Values and indices are used whole: else XLA on CPU sorts in place of its faster top-k.
        values, ranked = jax.lax.top_k(finite_or_lowest(samples.values), len(weights))
        best = samples.points[ranked]
        new = _adapt(strategy, lower, (best - mean[None]) / sigma, weights)
        candidates = Candidates(
            jnp.concatenate([best, new.mean[None]]),
            jnp.concatenate([values, jnp.asarray(objective(new.mean))[None]]),
            size(num_dims) + 1,
            0,
        )
        return new, candidates

    return Maximizer(init, step, size)


def _weights(num_samples: int) -> np.ndarray:
    """Positive, falling weights of the better half, with sum 1."""
    num_parents = num_samples // 2
    raw = math.log((num_samples + 1) / 2) - np.log(np.arange(1, num_parents + 1))
    return raw / raw.sum()


def _adapt(strategy: _Strategy, lower: Array, best: Array, weights: np.ndarray) -> _Strategy:
    """The strategy after a step, from the best samples' offsets `[mu, N]` in sigmas, best first."""
    n = best.shape[1]
    mass = 1 / np.sum(weights**2)  # mu_eff
    c_sigma = (mass + 2) / (n + mass + 5)
    d_sigma = 1 + 2 * max(0.0, math.sqrt((mass - 1) / (n + 1)) - 1) + c_sigma
    c_c = (4 + mass / n) / (n + 4 + 2 * mass / n)
    c_1 = 2 / ((n + 1.3) ** 2 + mass)
    c_mu = min(1 - c_1, 2 * (mass - 2 + 1 / mass) / ((n + 2) ** 2 + mass))
    expected = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))

    w = jnp.asarray(weights, best.dtype)[:, None]
    shift = jnp.sum(w * best, axis=0)
    path_sigma = (1 - c_sigma) * strategy.path_sigma + math.sqrt(c_sigma * (2 - c_sigma) * mass) * solve_lower(
        lower, shift
    )
    length = jnp.sqrt(jnp.sum(jnp.square(path_sigma)))
    num_steps = strategy.num_steps + 1
    so_far = 1 - jnp.power((1 - c_sigma) ** 2, num_steps.astype(best.dtype))
    is_short = (length / jnp.sqrt(so_far) < (1.4 + 2 / (n + 1)) * expected).astype(best.dtype)  # h_sigma
    path_covariance = (1 - c_c) * strategy.path_covariance + is_short * math.sqrt(c_c * (2 - c_c) * mass) * shift
    kept = 1 - c_1 - c_mu + (1 - is_short) * c_1 * c_c * (2 - c_c)
    covariance = (
        kept * strategy.covariance
        + c_1 * path_covariance[:, None] * path_covariance[None]
        + c_mu * jnp.sum((w * best)[:, :, None] * best[:, None], axis=0)
    )
    sigma = strategy.sigma * jnp.exp((c_sigma / d_sigma) * (length / expected - 1))
    return _Strategy(
        strategy.mean + strategy.sigma * shift,
        jnp.clip(sigma, 1e-8, 2.0),
        covariance,
        path_sigma,
        path_covariance,
        num_steps,
    )
