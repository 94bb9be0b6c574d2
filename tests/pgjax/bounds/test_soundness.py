"""Certificates that once were wrong: constants in a gather, subnormal numbers, functions of a reserved name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pgjax
from pgjax.bounds import interval_bounds, relax

ONES = np.ones(2, np.float32)


def bounds_of(function, low, high):
    """Upper bounds of a function over a box: of planes, of intervals; least first."""
    low, high = (jnp.asarray(bound, jnp.float32) for bound in (low, high))
    relaxation = jax.jit(lambda low, high: relax(function, low, high))(low, high)
    interval = jax.jit(lambda low, high: interval_bounds(function, low, high))(low, high)
    return float(relaxation.upper), float(relaxation.plane), float(interval.high), float(interval.low)


@pytest.mark.parametrize("fill", [-1.0, 3.0, 0.0])
@pytest.mark.parametrize("index", [[0, 2], [2, 2], [1, 0]])
@pytest.mark.parametrize("scale", [1.0, -2.0])
def test_the_constant_that_a_gather_fills_in_counts_once(fill, index, scale):
    def function(action):
        return scale * jnp.take(action, np.array(index), mode="fill", fill_value=fill).sum()

    corners = [function(jnp.array(corner)) for corner in ([-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0])]
    upper, plane, high, low = bounds_of(function, -ONES, ONES)
    for bound in (upper, plane, high):
        assert max(corners) <= bound < max(corners) + 1e-3
    assert min(corners) - 1e-3 < low <= min(corners)


def test_a_gather_beyond_the_end_that_gives_nan_has_no_finite_bound():
    upper, _, high, low = bounds_of(lambda a: jnp.take(a, np.array([0, 2]), mode="fill").sum(), -ONES, ONES)
    assert (upper, high, low) == (np.inf, np.inf, -np.inf)


TINY = {  # of one number, and the exact maximum over [low, high], which float32 may flush to 0 on the way
    "a product": (lambda x: jnp.exp(x) * 1e38, -100.0, -87.0),
    "two products": (lambda x: 1e18 * (1e18 * jnp.exp(x)), -110.0, -100.0),
    "a quotient": (lambda x: jnp.exp(x) / 2e-38, -100.0, -87.5),
    "a square": (lambda x: jnp.square(x * 1e-25) * 1e30 * 1e8, -2.0, 3.0),
    "a sum": (lambda x: sum([1e-5 * jnp.exp(x)] * 5) * 1e38, -90.0, -85.0),
    "two factors": (lambda x: (jnp.exp(x) * jnp.exp(x - 1)) * 1e38, -60.0, -44.0),
    "a small slope": (lambda x: ((x * 1e-30) * 1e-10) * 1e38, 1.0, 2.0),
}


@pytest.mark.parametrize("name", TINY)
def test_what_is_flushed_to_zero_is_allowed_for(name):
    """The maximum by float64, where nothing is subnormal; the computed value lies below the bound too."""
    function, low, high = TINY[name]
    points = np.linspace(low, high, 1001)
    with jax.enable_x64(True):
        exact = np.asarray(jax.vmap(lambda x: function(x))(points.astype(np.float64)), np.float64)
    computed = np.asarray(jax.jit(jax.vmap(function))(points.astype(np.float32)), np.float64)
    upper, plane, most, least = bounds_of(lambda a: function(a[0]), [low], [high])
    for bound in (upper, plane, most):
        assert bound >= exact.max()
        assert bound >= computed.max()
    assert least <= min(exact.min(), computed.min())


def test_a_users_function_of_the_reserved_name_is_not_taken_for_the_identity():
    @jax.jit
    def without_rounding(x, low, high):
        return 10 * x + low - high

    upper, plane, high, _ = bounds_of(lambda a: without_rounding(a, -1.0, 1.0).sum(), -ONES, ONES)
    assert min(upper, plane, high) >= 16


def test_the_reserved_function_is_still_known():
    box = pgjax.Box(-ONES, ONES)

    def objective(action):
        return -jnp.sum(jnp.square(pgjax.bounds.without_rounding(action, -1.0, 1.0)))

    best = pgjax.maximize(
        jax.random.key(0), objective, box, pgjax.maximizers.branch_and_bound(gap=1e-3), num_steps=20
    )
    assert float(best.upper_bound) <= 2e-3
