"""Random search: independent uniform points, or a randomized Sobol sequence."""

from __future__ import annotations

import functools
from typing import Literal

import jax
import jax.numpy as jnp

from pgjax import noise
from pgjax.checks import check_count
from pgjax.maximizers.base import Maximizer, evaluate
from pgjax.maximizers.sobol import sobol_points


@functools.lru_cache(typed=True)
def random_search(*, num_samples: int = 1024, sequence: Literal["sobol", "uniform"] = "sobol") -> Maximizer:
    """Evaluate random points of the box, num_samples a step.

    Mean regret on a quadratic with an interior maximum falls as (number of samples)^(-2/N), and its square root
    (the distance) as ^(-1/N).

    Args:
        num_samples: points a step.
        sequence: "uniform", or "sobol": a digitally shifted Sobol sequence that goes on through the steps
            (2^20 points, then from the first again; at most 32 dimensions).

    Raises:
        ValueError: num_samples < 1, an unknown sequence; when run, more than 32 dimensions with "sobol".
    Cost:
        num_samples evaluations a step.
    Reference:
        Bergstra & Bengio (2012), Random search for hyper-parameter optimization; Sobol' (1967), randomized as in
        Matousek (1998), On the L2-discrepancy for anchored boxes (digital shift). Default 1,024: a power of two,
        as the sequence wants.
    """
    check_count("num_samples", num_samples)
    if sequence not in ("sobol", "uniform"):
        raise ValueError(f'sequence must be "sobol" or "uniform"; got {sequence!r}')

    def init(key, objective, initial):
        del objective
        shift = jax.random.bits(key, initial.points.shape[1:], jnp.uint32)
        return (jnp.uint32(0), shift, jnp.zeros_like(initial.points[0])), None

    def step(key, objective, state):
        start, shift, like = state
        if sequence == "sobol":
            points = sobol_points(start, num_samples, shift).astype(like.dtype)
        else:
            points = 2 * noise.uniform(key, (num_samples, like.shape[0]), like.dtype) - 1
        return (start + jnp.uint32(num_samples), shift, like), evaluate(objective, points)

    return Maximizer(init, step, lambda _: num_samples)
