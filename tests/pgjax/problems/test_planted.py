"""Planted peaks and separable functions: the stated maxima are maxima, by other means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

import pgjax
from pgjax import problems
from tests.deep import deep, deep_except
from tests.pgjax.problems.exact import in_float64

BOX = pgjax.Box([-3.0, 0.5], [-1.0, 6.0])
MAKE = {
    "planted_peaks": problems.planted_peaks,
    "rastrigin": lambda key, *args, **kwargs: problems.separable(key, *args, function="rastrigin", **kwargs),
    "ackley": lambda key, *args, **kwargs: problems.separable(key, *args, function="ackley", **kwargs),
    "block quadratic": lambda key, *args, **kwargs: problems.quadratic(
        key, *args, curvature="indefinite", **kwargs
    ),
}


@pytest.mark.parametrize("num_dims", [deep(1), 24])
@pytest.mark.parametrize("name", MAKE)
def test_the_best_action_attains_the_maximum_and_no_sample_exceeds_it(name, num_dims, rng, key):
    box = pgjax.Box(np.linspace(-3.0, 1.0, num_dims), np.linspace(-1.0, 6.0, num_dims))
    problem = MAKE[name](key, 7, num_dims=num_dims, box=box)
    assert problem.maximum.dtype == problem.best_action.dtype == np.float64
    assert problem.upper_bound is None
    assert np.all((problem.best_action >= box.low) & (problem.best_action <= box.high))
    uniform = rng.uniform(box.low, box.high, (7, 2048, num_dims))
    near = problem.best_action[:, None] + 10.0 ** rng.uniform(-8, 0, (7, 2048, 1)) * rng.normal(size=uniform.shape)
    actions = np.concatenate([problem.best_action[:, None], uniform, np.clip(near, box.low, box.high)], axis=1)
    values = in_float64(problem, actions)
    np.testing.assert_allclose(values[:, 0], problem.maximum, rtol=1e-12, atol=1e-11)
    assert np.all(values <= problem.maximum[:, None] + 1e-10)


@pytest.mark.parametrize("name", deep_except(MAKE.keys(), "planted_peaks"))
def test_a_fine_grid_and_a_local_search_find_the_maximum(name, key):
    problem = MAKE[name](key, 6, num_dims=2, box=BOX)
    axes = [np.linspace(low, high, 501) for low, high in zip(BOX.low, BOX.high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    values = in_float64(problem, np.broadcast_to(grid, (6, *grid.shape)))
    with jax.enable_x64(True):
        objective = jax.jit(problem.objective)
        for i, state in enumerate(np.asarray(problem.states, np.float64)):
            start = grid[np.argmax(values[i])]
            found = optimize.minimize(
                lambda a, s=state: -float(objective(s, a)), start, method="Nelder-Mead",
                bounds=list(zip(BOX.low, BOX.high, strict=True)), options={"xatol": 1e-9, "fatol": 1e-11},
            )  # fmt: skip
            assert -found.fun == pytest.approx(problem.maximum[i], abs=1e-6)


@pytest.mark.parametrize("name", MAKE)
def test_values_and_gradients_are_finite_in_the_arguments_dtype(name, key):
    problem = MAKE[name](key, 3, num_dims=3)
    evaluate = jax.jit(jax.vmap(jax.value_and_grad(problem.objective, argnums=1)))
    for dtype in (jnp.float32, jnp.float64):
        with jax.enable_x64(dtype == jnp.float64):
            at_maximum = jnp.asarray(problem.best_action, dtype)
            for actions in (at_maximum, jnp.zeros_like(at_maximum), jnp.ones_like(at_maximum)):
                value, gradient = evaluate(jnp.asarray(problem.states, dtype), actions)
                assert value.dtype == gradient.dtype == dtype
                assert jnp.all(jnp.isfinite(value)) & jnp.all(jnp.isfinite(gradient))


@pytest.mark.parametrize("name", deep_except(MAKE.keys(), "planted_peaks", "ackley"))
def test_a_degenerate_box_holds_one_action(name, key):
    problem = MAKE[name](key, 3, num_dims=2, box=pgjax.Box([0.3, -1.0], [0.3, -1.0]))
    np.testing.assert_array_equal(problem.best_action, [[0.3, -1.0]] * 3)
    np.testing.assert_allclose(
        in_float64(problem, problem.best_action[:, None])[:, 0], problem.maximum, rtol=1e-12
    )


def test_planted_peaks_have_several_local_maxima_and_zero_gradient_at_the_tips(key):
    problem = problems.planted_peaks(key, 20, num_peaks=8)
    heights, centers = problem.states[:, :8], problem.states[:, 8:].reshape(20, 8, 6)
    evaluate = jax.jit(jax.vmap(jax.vmap(jax.value_and_grad(problem.objective, argnums=1), (None, 0))))
    values, gradients = evaluate(problem.states, centers)
    at_tip = values == heights
    assert np.all(np.any(at_tip, axis=1))
    assert np.mean(np.sum(at_tip, axis=1)) > 3
    np.testing.assert_array_equal(np.asarray(gradients)[np.asarray(at_tip)], 0)


def test_the_separable_optimum_is_the_state_where_the_box_holds_it(key):
    problem = problems.separable(key, 64, num_dims=3)
    inside = np.abs(np.asarray(problem.states)) <= 1
    assert 0.75 < np.mean(inside) < 0.9
    np.testing.assert_array_equal(problem.best_action[inside], np.asarray(problem.states, np.float64)[inside])
    assert np.all((problem.maximum == 0) == np.all(inside, axis=1))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda k: problems.planted_peaks(k, 0), "num_states"),
        (lambda k: problems.planted_peaks(k, num_dims=0), "num_dims"),
        (lambda k: problems.planted_peaks(k, num_peaks=0), "num_peaks"),
        (lambda k: problems.planted_peaks(k, box=BOX), "box"),
        (lambda k: problems.separable(k, function="sphere"), "function"),
        (lambda k: problems.separable(k, 1.5), "num_states"),
        (lambda k: problems.separable(k, num_dims=True), "num_dims"),
        (lambda k: problems.separable(k, box=BOX), "box"),
        (lambda k: problems.box_quadratic_maximum(np.ones((9, 9)), np.ones((1, 9)), BOX), "matrix"),
    ],
)
def test_bad_settings_are_refused_by_name(call, name, key):
    with pytest.raises(ValueError, match=f"^{name} "):
        call(key)
