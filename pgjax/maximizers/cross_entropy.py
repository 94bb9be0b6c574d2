"""Cross-entropy method."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from pgjax import noise
from pgjax.checks import check_count
from pgjax.maximizers.base import Candidates, Maximizer, evaluate, finite_or_lowest


@functools.lru_cache(typed=True)
def cross_entropy(
    *, num_samples: int = 64, num_elites: int = 6, initial_std: float = 0.5, min_std: float = 1e-3
) -> Maximizer:
    """Sample a Gaussian, refit it to the best samples, repeat: the cross-entropy method (CEM).

    Each step draws num_samples actions from Normal(mean, std), clips them to the box, and sets mean and std
    (each dimension alone) to those of the num_elites best. The new mean is evaluated too, so that the result is
    the best of all samples and all means. The first mean is the initial action.

    Args:
        num_samples: samples a step.
        num_elites: samples kept, 1 <= num_elites <= num_samples.
        initial_std: first std, in half widths of the box.
        min_std: smallest std, in half widths of the box; keeps a clipped or tied population moving.

    Raises: ValueError: a setting out of range.
    Cost: num_samples + 1 evaluations a step.
    Reference: Rubinstein (1999), The cross-entropy method for combinatorial and continuous optimization. 64 and 6,
        two steps: Kalashnikov et al. (2018), QT-Opt, section 4.2. First std, a fourth of the range: Chua et al.
        (2018), PETS, code.
    """
    check_count("num_samples", num_samples)
    check_count("num_elites", num_elites)
    if num_elites > num_samples:
        raise ValueError(f"num_elites must be at most num_samples = {num_samples}; got {num_elites}")
    if not initial_std > 0:
        raise ValueError(f"initial_std must be positive; got {initial_std}")
    if not 0 <= min_std <= initial_std:
        raise ValueError(f"min_std must be in [0, initial_std = {initial_std}]; got {min_std}")

    def init(key, objective, initial_point):
        del key, objective
        return (initial_point, jnp.full_like(initial_point, initial_std)), None

    def step(key, objective, state):
        mean, std = state
        epsilon = noise.normal(key, (num_samples, *mean.shape), mean.dtype)
        samples = evaluate(objective, jnp.clip(mean[None] + std[None] * epsilon, -1, 1))
        values, chosen = jax.lax.top_k(finite_or_lowest(samples.values), num_elites)
        elites = samples.points[chosen]
        mean = jnp.mean(elites, axis=0)
        std = jnp.maximum(jnp.sqrt(jnp.mean(jnp.square(elites - mean[None]), axis=0)), min_std)
        candidates = Candidates(
            jnp.concatenate([elites, mean[None]]),
            jnp.concatenate([values, jnp.asarray(objective(mean))[None]]),
            num_samples + 1,
            0,
        )
        return (mean, std), candidates

    return Maximizer(init, step, lambda _: num_samples)
