"""Rates and facts of theory that the maximizers must show."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import qmc

import pgjax
from pgjax import maximizers
from pgjax.maximizers.sobol import sobol_points


def test_random_search_regret_falls_at_the_rate_of_theory():
    """Mean regret Gamma(1 + 2/d) (N V_d / 2^d)^(-2/d) on -|x|^2, d = 6; within 5 sigma at each N, slope -1/3."""
    sizes, regrets = (256, 1024, 4096), []
    volume = math.pi**3 / 6
    for size in sizes:
        maximizer = maximizers.random_search(num_samples=size, sequence="uniform")
        solve = jax.jit(jax.vmap(functools.partial(far_from_center, maximizer)))
        values = -solve(jax.random.split(jax.random.key(size), 400))
        expected = math.gamma(4 / 3) * (size * volume / 2**6) ** (-1 / 3)
        # The ball reaches over the cube's faces for few samples: 3 % on top of the noise.
        assert abs(jnp.mean(values) - expected) < 5 * jnp.std(values) / 20 + 0.03 * expected
        regrets.append(float(jnp.mean(values)))
    slope = np.polyfit(np.log(sizes), np.log(regrets), 1)[0]
    assert slope == pytest.approx(-1 / 3, abs=0.03)


def far_from_center(maximizer, key):
    """Best value of -|x|^2 without the driver's initial action, which would be the answer."""
    box = pgjax.Box([-1.0] * 6, [1.0] * 6)
    corner = jnp.ones(6)
    return pgjax.maximize(
        key, lambda a: -jnp.sum(jnp.square(a)), box, maximizer, num_steps=1, initial=corner
    ).value


def test_a_grids_mean_regret_is_that_of_theory():
    """d h^2 / 12 for the squared distance to a uniform point; 5 sigma."""
    maximizer, spacing = maximizers.grid(num_points=5), 0.5
    box = pgjax.Box([-1.0] * 3, [1.0] * 3)
    targets = jax.random.uniform(jax.random.key(0), (2000, 3), minval=-1.0)
    best = jax.jit(
        lambda t: pgjax.maximize_batch(
            jax.random.key(1), lambda t, a: -jnp.sum(jnp.square(a - t)), t, box, maximizer, num_steps=1
        )
    )(targets)
    expected = 3 * spacing**2 / 12
    assert abs(jnp.mean(-best.value) - expected) < 5 * jnp.std(best.value) / math.sqrt(2000)


def test_sobol_points_are_scipys():
    given = sobol_points(jnp.uint32(0), 300, jnp.zeros(8, jnp.uint32))
    np.testing.assert_array_equal(
        (given + 1) / 2, qmc.Sobol(8, scramble=False).random(512)[:300].astype(np.float32)
    )
    later = sobol_points(jnp.uint32(100), 50, jnp.zeros(8, jnp.uint32))
    np.testing.assert_array_equal(later, given[100:150])


def test_shifted_sobol_points_keep_their_balance(key):
    shift = jax.random.bits(key, (6,), jnp.uint32)
    points = sobol_points(jnp.uint32(0), 1024, shift)
    for interval in np.asarray((points + 1) * 8).astype(int).T:  # 16 equal intervals in each dimension
        np.testing.assert_array_equal(np.bincount(interval, minlength=16), 64)


def test_chunks_of_a_grid_cover_it_once():
    points = []
    maximizer = maximizers.grid(num_points=3, chunk_size=4)
    state, _ = maximizer.init(None, None, maximizers.Candidates(jnp.zeros((1, 2)), jnp.zeros(1), 1, 0))
    for _ in range(3):
        state, candidates = maximizer.step(None, lambda x: jnp.sum(x), state)
        points += [tuple(map(float, p)) for p in candidates.points]
    assert set(points[:9]) == {(x, y) for x in (-1.0, 0.0, 1.0) for y in (-1.0, 0.0, 1.0)}


@pytest.mark.parametrize("curvature", ["concave", "indefinite"])
def test_many_starts_find_the_maximum_of_quadratics(curvature, key):
    problem = pgjax.problems.quadratic(key, 16, curvature=curvature)
    maximizer = maximizers.gradient_ascent(num_starts=16)
    best = jax.jit(
        lambda s: pgjax.maximize_batch(
            jax.random.key(1), problem.objective, s, problem.box, maximizer, num_steps=150
        )
    )(problem.states)
    np.testing.assert_allclose(best.value, problem.maximum, atol=1e-3)
    assert np.all(np.asarray(best.value) <= problem.maximum + 1e-4)
