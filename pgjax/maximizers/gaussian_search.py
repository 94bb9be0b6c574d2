"""Sample a Gaussian, refit it to the best samples, repeat: what the cross-entropy method and MPPI share."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from pgjax import noise
from pgjax.checks import check_count
from pgjax.maximizers.base import Candidates, Maximizer, best_point, evaluate, finite_or_lowest
from pgjax.types import Array


def gaussian_search(
    *,
    num_samples: int,
    num_elites: int,
    initial_std: float,
    min_std: float,
    max_std: float,
    weigh: Callable[[Array], Array],
    keep_initial: bool,
) -> Maximizer:
    """Draw samples from Normal(mean, std), clip them to the box, refit mean and std to the weighted elites.

    Each dimension has its own mean and std. The first mean is the best initial action; new means are evaluated
    too.

    Args:
        num_samples, num_elites, initial_std, min_std, max_std: as in `cross_entropy` and `mppi`.
        weigh: values of the elites `[num_elites]`, -inf where not finite, to weights that sum to 1.
        keep_initial: whether the initial actions stand for election with the samples of every step.

    Raises:
        ValueError: a setting out of range.
    """
    check_count("num_samples", num_samples)
    check_count("num_elites", num_elites)
    if num_elites > num_samples:
        raise ValueError(f"num_elites must be at most num_samples = {num_samples}; got {num_elites}")
    if not initial_std > 0:
        raise ValueError(f"initial_std must be positive; got {initial_std}")
    if not 0 <= min_std <= initial_std:
        raise ValueError(f"min_std must be in [0, initial_std = {initial_std}]; got {min_std}")

    def init(key, objective, initial):
        del key, objective
        mean = best_point(initial)
        kept = (initial.points, initial.values) if keep_initial else None
        return (mean, jnp.full_like(mean, initial_std), kept), None

    def step(key, objective, state):
        mean, std, kept = state
        epsilon = noise.normal(key, (num_samples, *mean.shape), mean.dtype)
        samples = evaluate(objective, jnp.clip(mean[None] + std[None] * epsilon, -1, 1))
        points, values = samples.points, samples.values
        if kept is not None:
            points, values = jnp.concatenate([points, kept[0]]), jnp.concatenate([values, kept[1]])
        values, chosen = jax.lax.top_k(finite_or_lowest(values), num_elites)
        elites, weights = points[chosen], weigh(values)[:, None]
        mean = jnp.sum(weights * elites, axis=0)
        std = jnp.sqrt(jnp.sum(weights * jnp.square(elites - mean[None]), axis=0))
        candidates = Candidates(
            jnp.concatenate([elites, mean[None]]),
            jnp.concatenate([values, jnp.asarray(objective(mean))[None]]),
            num_samples + 1,
            0,
        )
        return (mean, jnp.clip(std, min_std, max_std), kept), candidates

    return Maximizer(init, step, lambda _: num_samples)
