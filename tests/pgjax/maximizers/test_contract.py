"""The maximizer contract, every maximizer on every kind of landscape."""

import threading

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pgjax
from pgjax import maximizers
from tests.deep import deep, deep_except
from tests.pgjax.maximizers.cases import (
    BOX,
    CENTER,
    CUBE,
    KINDS,
    MAXIMIZERS,
    PEAK,
    WIDTH,
    each_maximizer,
    landscape,
    solve,
)


@pytest.mark.few(22)
@each_maximizer
@pytest.mark.parametrize("kind", KINDS[:5])
def test_inside_the_box_valued_right_and_never_worse_with_more_steps(name, kind):
    best, trace = solve(name, kind)
    value = landscape(KINDS.index(kind), BOX, best.action)
    assert jnp.all((best.action >= BOX.low) & (best.action <= BOX.high))
    np.testing.assert_allclose(best.value, value, rtol=1e-5, atol=1e-5)
    assert best.value >= landscape(KINDS.index(kind), BOX, CENTER) - 1e-6
    assert best.upper_bound == jnp.inf
    assert jnp.all(jnp.diff(trace.value) >= 0)
    chex.assert_trees_all_close(jax.tree.map(lambda x: x[-1], trace), best)


@each_maximizer
def test_translated_and_scaled_boxes_give_the_translated_and_scaled_action(name):
    on_cube, in_box = solve(name, "inside", CUBE)[0], solve(name, "inside", BOX)[0]
    np.testing.assert_allclose(in_box.action, CENTER + on_cube.action * WIDTH / 2, rtol=2e-4)
    np.testing.assert_allclose(in_box.value, on_cube.value, atol=1e-4)


@pytest.mark.parametrize("name", ["grid", "grid in chunks", "zoom", "adam", "sgd", "l-bfgs", "newton", "hybrid"])
def test_comes_to_the_corner(name):
    best, _ = solve(name, "corner")
    atol = {"zoom": 2 * 4**-3}.get(name, 0) * WIDTH / 2  # the middle of the outermost bin
    assert jnp.all(jnp.abs(best.action - jnp.asarray([1.5, -3.0, 2.5])) <= atol + 1e-6)


@pytest.mark.parametrize("name", ["cem", "mppi", "cma-es", "zoom", "adam", "l-bfgs", "newton", "hybrid", "sgd"])
def test_comes_near_a_maximum_inside(name):
    """One hundredth of the value at the center, in the few steps of the case."""
    assert solve(name, "inside")[0].value > -0.46 * {"mppi": 0.1, "zoom": 0.05}.get(name, 0.02)


@each_maximizer
def test_a_box_without_width_has_one_action(name):
    box = pgjax.Box([0.3, -1.0, 2.0], [0.3, 1.0, 2.0])
    best, _ = solve(name, "wavy", box)
    np.testing.assert_array_equal(best.action[jnp.asarray([0, 2])], jnp.asarray([0.3, 2.0]))
    assert jnp.isfinite(best.value)


@each_maximizer
def test_values_that_are_not_finite_are_never_chosen(name):
    best, _ = solve(name, "partly not finite")
    assert jnp.isfinite(best.value)
    assert best.action[1] >= CENTER[1] - 1e-6


@each_maximizer
def test_an_objective_without_a_finite_value_is_reported_as_minus_infinity(name):
    best, _ = solve(name, "nowhere finite")
    assert best.value == -jnp.inf
    np.testing.assert_allclose(best.action, CENTER)


@each_maximizer
def test_a_warm_start_is_never_lost(name):
    best, _ = solve(name, "needle", initial=PEAK)
    np.testing.assert_array_equal(best.action, PEAK)
    assert best.value == 10


@pytest.mark.parametrize("name", ["cem", "mppi", "cma-es", "zoom", "adam", "sgd", "l-bfgs", "newton"])
def test_the_search_goes_on_from_the_warm_start(name):
    near = CENTER + jnp.asarray([0.3, -0.6, 0.1]) * WIDTH / 2 + 0.02
    best, _ = solve(name, "inside", initial=near)
    assert best.value > landscape(0, BOX, near)


def test_an_initial_action_outside_is_clipped_to_the_box():
    best, _ = solve("cem", "plateau", initial=jnp.asarray([9.0, -9.0, 2.2]))
    np.testing.assert_allclose(best.action, [1.5, -3.0, 2.2])


@each_maximizer
def test_float64_stays_float64_and_counts_stay_int32(name):
    maximizer, num_steps = MAXIMIZERS[name]
    with jax.enable_x64(True):
        best = jax.eval_shape(
            lambda start: pgjax.maximize(
                jax.random.key(0), lambda a: -a @ a, BOX, maximizer, num_steps=num_steps, initial=start
            ),
            jnp.asarray(CENTER, jnp.float64),
        )
    assert best.action.dtype == best.value.dtype == best.upper_bound.dtype == jnp.float64
    assert best.num_evaluations.dtype == best.num_gradients.dtype == jnp.int32


@pytest.mark.few(1)
@pytest.mark.parametrize("name", deep_except(MAXIMIZERS.keys(), "cem", "l-bfgs"))
def test_vmap_over_landscapes_equals_a_loop(name):
    maximizer, num_steps = MAXIMIZERS[name]

    def one(target):
        return pgjax.maximize(
            jax.random.key(1), lambda a: -jnp.sum(jnp.square(a - target)), BOX, maximizer, num_steps=num_steps
        )

    targets = jnp.asarray([[0.7, -1.5, 2.1], [1.4, -2.9, 2.3]])
    alone = jax.jit(one)
    chex.assert_trees_all_close(
        jax.jit(jax.vmap(one))(targets),
        jax.tree.map(lambda *x: jnp.stack(x), *map(alone, targets)),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.few(1)
@pytest.mark.parametrize("name", deep_except(MAXIMIZERS.keys(), "grid in chunks", "cma-es", "newton"))
def test_counted_calls_are_the_calls_made(name, key):
    calls, lock = {"evaluations": 0, "gradients": 0}, threading.Lock()

    def count(kind):
        def callback(_):
            with lock:
                calls[kind] += 1

        return callback

    @jax.custom_jvp
    def objective(action):
        jax.debug.callback(count("evaluations"), action)
        return -jnp.sum(jnp.square(action))

    @objective.defjvp
    def objective_jvp(primals, tangents):
        (action,), (tangent,) = primals, tangents
        jax.debug.callback(count("gradients"), action)
        return -jnp.sum(jnp.square(action)), -2 * jnp.sum(action * tangent)

    maximizer, num_steps = MAXIMIZERS[name]
    initial = jnp.stack([CENTER, PEAK])
    best = pgjax.maximize(key, objective, BOX, maximizer, num_steps=num_steps, initial=initial)
    jax.block_until_ready(best)
    jax.effects_barrier()
    # The Hessian's N columns come in the same call as the gradient.
    in_one_call = 4 if name == "newton" else 1
    expected = {"evaluations": int(best.num_evaluations), "gradients": int(best.num_gradients) // in_one_call}
    assert calls == expected


# Several initial actions, and hybrids


def test_the_best_of_several_initial_actions_is_kept(key):
    starts = jnp.stack([CENTER, PEAK, CENTER + 0.1])
    best = pgjax.maximize(
        key, lambda a: landscape(5, BOX, a), BOX, maximizers.best_of_n(), num_steps=1, initial=starts
    )
    np.testing.assert_array_equal(best.action, PEAK)
    assert best.num_evaluations == 3


def test_mppi_keeps_proposals_in_the_running(key):
    """Its samples never come near the needle, so the first elites are drawn to it by the proposal alone."""
    maximizer = maximizers.mppi(num_samples=8, num_elites=2, initial_std=0.05, temperature=50.0)

    def objective(action):
        return -jnp.sum(jnp.square(action - PEAK))

    best, trace = pgjax.maximize(
        key, objective, BOX, maximizer, num_steps=3, initial=jnp.stack([CENTER, PEAK]), return_trace=True
    )
    assert best.value == 0
    assert trace.num_evaluations[-1] == 2 + 3 * 9


@pytest.mark.parametrize("temperature", [deep(0.0), 3.0, deep(1e30)])
def test_mppi_moves_on_whatever_the_values(temperature, key):
    """Elites without a finite value among them, or none with one, are no reason to stop sampling."""
    maximizer = maximizers.mppi(num_samples=16, num_elites=8, initial_std=0.5, temperature=temperature)

    def objective(action):  # finite in a corner alone, far from the start
        return jnp.where(jnp.all(action > PEAK - 0.4), -jnp.sum(jnp.square(action - PEAK)) * 1e6, jnp.nan)

    best = pgjax.maximize(key, objective, BOX, maximizer, num_steps=30)
    assert jnp.isfinite(best.value)
    assert best.value > objective(PEAK - 0.39)


@pytest.mark.parametrize(
    "name", deep_except(["cem", "mppi", "cma-es", "adam", "l-bfgs", "newton"], "mppi", "adam")
)
def test_objectives_in_half_precision(name, key):
    """Searched in the box's own precision: values that are rounded do not round the points."""
    maximizer, num_steps = MAXIMIZERS[name]
    best = jax.jit(
        lambda key: pgjax.maximize(
            key,
            lambda a: -jnp.sum(jnp.square(a - PEAK)).astype(jnp.bfloat16),
            BOX,
            maximizer,
            num_steps=num_steps,
        )
    )(key)
    assert best.value.dtype == best.action.dtype == jnp.float32
    assert best.value > -0.1


@pytest.mark.parametrize("num_points", [3, 42, deep(48)])
def test_a_grid_has_the_bounds_themselves(num_points):
    maximizer = maximizers.grid(num_points=num_points)
    solve = jax.jit(
        lambda sign: pgjax.maximize(
            jax.random.key(0), lambda a: sign * a[0], pgjax.Box([-1.0], [1.0]), maximizer, num_steps=1
        )
    )
    for sign in (-1.0, 1.0):
        assert solve(sign).action == sign


def test_local_searches_start_from_the_best_of_the_initial_actions_and_the_searchs_points(key):
    """With steps of no length, the points evaluated by gradient are the starts."""
    still = optax.sgd(0.0)
    starts = jnp.stack([CENTER, CENTER + 0.2, CENTER - 0.2])
    maximizer = maximizers.gradient_ascent(num_starts=3, search=None, optimizer=still)
    state, found = maximizer.init(key, None, maximizers.Candidates(starts, jnp.asarray([1.0, jnp.nan, 3.0]), 3, 0))
    np.testing.assert_array_equal(state[0], starts[jnp.asarray([2, 0, 1])])
    assert found
    assert found.num_evaluations == 0


def test_gradients_are_whole_at_the_bounds(key):
    """One step of plain gradient ascent from a corner goes as far as from elsewhere."""
    maximizer = maximizers.gradient_ascent(num_starts=1, search=None, optimizer=optax.sgd(0.1))
    box = pgjax.Box([-1.0], [1.0])
    start = jnp.asarray([-1.0])
    best = pgjax.maximize(key, lambda a: -jnp.sum(jnp.square(a)), box, maximizer, num_steps=2, initial=start)
    np.testing.assert_allclose(best.action, [-0.8], rtol=1e-6)
