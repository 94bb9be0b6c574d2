"""Cross-entropy method."""

from __future__ import annotations

import functools
import math

import jax.numpy as jnp

from pgjax.maximizers.base import Maximizer
from pgjax.maximizers.gaussian_search import gaussian_search


@functools.lru_cache(typed=True)
def cross_entropy(
    *, num_samples: int = 64, num_elites: int = 6, initial_std: float = 0.5, min_std: float = 1e-3
) -> Maximizer:
    """Sample a Gaussian, refit it to the best samples, repeat: the cross-entropy method (CEM).

    Each step draws num_samples actions from Normal(mean, std), clips them to the box, and sets mean and std
    (each dimension alone) to those of the num_elites best. The new mean is evaluated too, so that the result is
    the best of all samples and all means. The first mean is the best initial action.

    Args:
        num_samples: samples a step.
        num_elites: samples kept, 1 <= num_elites <= num_samples.
        initial_std: first std, in half widths of the box.
        min_std: smallest std, in half widths of the box; keeps a clipped or tied population moving.

    Raises:
        ValueError: a setting out of range.
    Cost:
        num_samples + 1 evaluations a step.
    Reference:
        Rubinstein (1999), The cross-entropy method for combinatorial and continuous optimization. 64 and 6, two
        steps: Kalashnikov et al. (2018), QT-Opt, section 4.2. First std, a fourth of the range: Chua et al.
        (2018), PETS, code.
    """
    return gaussian_search(
        num_samples=num_samples,
        num_elites=num_elites,
        initial_std=initial_std,
        min_std=min_std,
        max_std=math.inf,
        weigh=lambda values: jnp.full_like(values, 1 / num_elites),
        keep_initial=False,
    )
