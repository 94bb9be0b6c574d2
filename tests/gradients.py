"""Derivatives against differences, in one compiled program."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def assert_gradients_are_differences(function: Callable, *arguments: Any, rtol: float = 1e-5, atol: float = 1e-5):
    """Assert that reverse-mode derivatives are central differences: float64, of random direction and weights."""
    rng = np.random.default_rng(0)
    weights, direction = (
        jax.tree.map(lambda x: rng.normal(size=np.shape(x)), tree)
        for tree in (jax.eval_shape(function, *arguments), arguments)
    )

    def inner(one, other):
        return sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))

    @jax.jit
    def value_and_slope(step):
        moved = jax.tree.map(lambda x, d: x + step * d, arguments, direction)
        value, pullback = jax.vjp(function, *moved)
        return inner(value, weights), inner(pullback(jax.tree.map(jnp.asarray, weights)), direction)

    step = 1e-6
    (below, _), (_, slope), (above, _) = map(value_and_slope, (-step, 0.0, step))
    assert slope.dtype == jnp.float64
    np.testing.assert_allclose(slope, (above - below) / (2 * step), rtol=rtol, atol=atol)
