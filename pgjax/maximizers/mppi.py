"""Model-predictive path integral control's sampler, for one action."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp

from pgjax.maximizers.base import Maximizer
from pgjax.maximizers.gaussian_search import gaussian_search
from pgjax.types import Array


@functools.lru_cache(typed=True)
def mppi(
    *,
    num_samples: int = 512,
    num_elites: int = 64,
    initial_std: float = 2.0,
    min_std: float = 0.05,
    temperature: float = 0.5,
) -> Maximizer:
    """Sample a Gaussian, refit it to the best samples weighted by exp(temperature * value): MPPI with elites.

    As `cross_entropy`, with weights exp(temperature * (value - best value)) on the elites in place of equal ones.
    The initial actions stand for election with the samples of every step: give a policy's samples as `initial`.

    Args:
        num_samples: samples a step.
        num_elites: points kept, 1 <= num_elites <= num_samples; all of them: MPPI as first published.
        initial_std: first and largest std, in half widths of the box.
        min_std: smallest std, in half widths of the box.
        temperature: weight of the values, in 1 / their unit (TD-MPC2's name; it is an inverse temperature). The
            result depends on the objective's scale.

    Raises:
        ValueError: a setting out of range.
    Cost:
        num_samples + 1 evaluations a step.
    Reference:
        Williams et al. (2017), Information theoretic MPC for model-based reinforcement learning. With elites, and
        the defaults, six steps and 24 proposals of the policy: Hansen et al. (2024), TD-MPC2, appendix H.
        Deviation: the proposals come on top of the samples; the best action found is returned, not one drawn from
        the elites.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be finite and not negative; got {temperature}")
    return gaussian_search(
        num_samples=num_samples,
        num_elites=num_elites,
        initial_std=initial_std,
        min_std=min_std,
        max_std=initial_std,
        weigh=lambda values: _exponential_weights(values, temperature),
        keep_initial=True,
    )


def _exponential_weights(values: Array, temperature: float) -> Array:
    """exp(temperature * (value - best)), normalized; equal ones where no value is finite."""
    finite = jnp.isfinite(values)
    scores = jnp.where(finite, temperature * (values - jnp.max(values)), -jnp.inf)
    return jax.nn.softmax(jnp.where(jnp.any(finite), scores, 0))
