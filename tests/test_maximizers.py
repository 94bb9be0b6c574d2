"""The maximizer contract, every maximizer on every problem."""

import functools
import math
import threading

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import qmc

import pgjax
from pgjax import maximizers
from pgjax.maximizers.sobol import sobol_points

MAXIMIZERS = {
    "grid": (maximizers.grid(num_points=3), 1),
    "grid in chunks": (maximizers.grid(num_points=4, chunk_size=10), 7),
    "uniform": (maximizers.random_search(num_samples=128, sequence="uniform"), 3),
    "sobol": (maximizers.random_search(num_samples=64), 5),
    "cem": (maximizers.cross_entropy(num_samples=32, num_elites=4), 6),
    "adam": (maximizers.gradient_ascent(num_starts=3, num_candidates=40), 20),
    "sgd": (maximizers.gradient_ascent(num_starts=1, num_candidates=1, optimizer=optax.sgd(0.1)), 20),
}
each_maximizer = pytest.mark.parametrize(("maximizer", "num_steps"), MAXIMIZERS.values(), ids=MAXIMIZERS)
BOX = pgjax.Box([0.5, -3.0, 2.0], [1.5, -1.0, 2.5])  # no bound at 0, no two widths alike
CENTER = jnp.asarray([1.0, -2.0, 2.25])
WIDTH = jnp.asarray([1.0, 2.0, 0.5])


def on_the_cube(action):
    return 2 * (action - CENTER) / WIDTH


OBJECTIVES = {
    "inside": lambda a: -jnp.sum(jnp.square(on_the_cube(a) - jnp.asarray([0.3, -0.6, 0.1]))),
    "corner": lambda a: jnp.sum(on_the_cube(a) * jnp.asarray([1.0, -1.0, 2.0])),
    "plateau": lambda a: jnp.zeros_like(a[0]),
    "step": lambda a: jnp.where(on_the_cube(a)[0] > 0.5, 1.0, 0.0),
    "wavy": lambda a: jnp.sum(jnp.cos(7 * on_the_cube(a)) - jnp.square(on_the_cube(a))),
}
each_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)


@functools.partial(jax.jit, static_argnames=("objective", "maximizer", "num_steps", "return_trace"))
def maximize(key, objective, box, maximizer, num_steps, initial=None, return_trace=False):
    return pgjax.maximize(
        key, objective, box, maximizer, num_steps=num_steps, initial=initial, return_trace=return_trace
    )


@each_maximizer
@each_objective
def test_inside_the_box_valued_right_and_never_worse_with_more_steps(maximizer, num_steps, objective, key):
    best, trace = maximize(key, objective, BOX, maximizer, num_steps, return_trace=True)
    assert jnp.all((best.action >= BOX.low) & (best.action <= BOX.high))
    np.testing.assert_allclose(best.value, objective(best.action), rtol=1e-5, atol=1e-5)
    assert best.value >= objective(CENTER) - 1e-6
    assert best.upper_bound == jnp.inf
    assert jnp.all(jnp.diff(trace.value) >= 0)
    chex.assert_trees_all_close(jax.tree.map(lambda x: x[-1], trace), best)


@each_maximizer
def test_translated_and_scaled_boxes_give_the_translated_and_scaled_action(maximizer, num_steps, key):
    cube = pgjax.Box([-1.0] * 3, [1.0] * 3)
    on_cube = maximize(
        key, lambda x: -jnp.sum(jnp.square(x - jnp.asarray([0.3, -0.6, 0.1]))), cube, maximizer, num_steps
    )
    in_box = maximize(jax.random.key(0), OBJECTIVES["inside"], BOX, maximizer, num_steps)
    np.testing.assert_allclose(in_box.action, CENTER + on_cube.action * WIDTH / 2, rtol=1e-4)
    np.testing.assert_allclose(in_box.value, on_cube.value, atol=1e-4)


@pytest.mark.parametrize("name", ["grid", "grid in chunks", "adam", "sgd"])
def test_finds_the_corner_exactly(name, key):
    maximizer, num_steps = MAXIMIZERS[name]
    best = maximize(key, OBJECTIVES["corner"], BOX, maximizer, num_steps)
    np.testing.assert_allclose(best.action, [1.5, -3.0, 2.5], rtol=1e-6)


@each_maximizer
def test_a_box_without_width_has_one_action(maximizer, num_steps, key):
    box = pgjax.Box([0.3, -1.0, 2.0], [0.3, 1.0, 2.0])
    best = maximize(key, lambda a: -jnp.sum(jnp.square(a)), box, maximizer, num_steps)
    np.testing.assert_array_equal(best.action[jnp.asarray([0, 2])], jnp.asarray([0.3, 2.0]))
    assert jnp.isfinite(best.value)


@each_maximizer
def test_counted_calls_are_the_calls_made(maximizer, num_steps, key):
    calls, lock = {"evaluations": 0, "gradients": 0}, threading.Lock()

    def count(name):
        def callback(_):
            with lock:
                calls[name] += 1

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

    best = pgjax.maximize(key, objective, BOX, maximizer, num_steps=num_steps)
    jax.block_until_ready(best)
    jax.effects_barrier()
    assert calls == {"evaluations": int(best.num_evaluations), "gradients": int(best.num_gradients)}


@each_maximizer
def test_vmap_over_objectives_equals_a_loop(maximizer, num_steps):
    targets = jnp.asarray([[0.7, -1.5, 2.1], [1.4, -2.9, 2.3]])

    def solve(target):
        return pgjax.maximize(
            jax.random.key(1), lambda a: -jnp.sum(jnp.square(a - target)), BOX, maximizer, num_steps=num_steps
        )

    chex.assert_trees_all_close(
        jax.jit(jax.vmap(solve))(targets),
        jax.tree.map(lambda *x: jnp.stack(x), *map(jax.jit(solve), targets)),
        rtol=1e-4,
        atol=1e-5,
    )


@each_maximizer
def test_values_that_are_not_finite_are_never_chosen(maximizer, num_steps, key):
    def objective(action):
        point = on_the_cube(action)
        bad = jnp.where(point[0] < -0.3, jnp.nan, jnp.where(point[0] < 0.3, jnp.inf, -jnp.inf))
        return jnp.where(point[1] < 0, bad, OBJECTIVES["wavy"](action))

    best = maximize(key, objective, BOX, maximizer, num_steps)
    assert jnp.isfinite(best.value)
    assert on_the_cube(best.action)[1] >= 0


@each_maximizer
def test_an_objective_without_a_finite_value_is_reported_as_minus_infinity(maximizer, num_steps, key):
    best = maximize(key, lambda a: jnp.nan * a[0], BOX, maximizer, num_steps)
    assert best.value == -jnp.inf
    np.testing.assert_allclose(best.action, CENTER)


@each_maximizer
def test_a_warm_start_is_never_lost(maximizer, num_steps, key):
    peak = jnp.asarray([0.9123, -1.2345, 2.4321])

    def needle(action):
        return jnp.where(jnp.max(jnp.abs(action - peak)) < 1e-5, 10.0, -jnp.sum(jnp.square(action)))

    best = maximize(key, needle, BOX, maximizer, num_steps, initial=peak)
    np.testing.assert_array_equal(best.action, peak)
    assert best.value == 10


def test_an_initial_action_outside_is_clipped_to_the_box(key):
    best = maximize(key, OBJECTIVES["plateau"], BOX, *MAXIMIZERS["cem"], initial=jnp.asarray([9.0, -9.0, 2.2]))
    np.testing.assert_allclose(best.action, [1.5, -3.0, 2.2])


@pytest.mark.parametrize("name", ["cem", "adam"])
def test_the_search_goes_on_from_the_warm_start(name, key):
    near = CENTER + jnp.asarray([0.3, -0.6, 0.1]) * WIDTH / 2 + 0.02
    maximizer, _ = MAXIMIZERS[name]
    warm = maximize(key, OBJECTIVES["inside"], BOX, maximizer, 2, initial=near)
    assert warm.value > OBJECTIVES["inside"](near)


def test_gradients_are_whole_at_the_bounds(key):
    """One step of plain gradient ascent from a corner goes as far as from elsewhere."""
    maximizer = maximizers.gradient_ascent(num_starts=1, num_candidates=1, optimizer=optax.sgd(0.1))
    box = pgjax.Box([-1.0], [1.0])
    best = maximize(key, lambda a: -jnp.sum(jnp.square(a)), box, maximizer, 1, initial=jnp.asarray([-1.0]))
    np.testing.assert_allclose(best.action, [-0.8], rtol=1e-6)


# Batches


@each_maximizer
@pytest.mark.parametrize("block_size", [None, 3])
def test_a_batch_is_maximize_for_each_state(maximizer, num_steps, block_size, key):
    arm = pgjax.problems.six_joint_arm(key, 7)
    solve = functools.partial(pgjax.maximize_batch, num_steps=num_steps, block_size=block_size)
    batch = jax.jit(solve, static_argnums=(1, 4))(jax.random.key(1), arm.objective, arm.states, arm.box, maximizer)
    one = maximize(jax.random.key(1), lambda a: arm.objective(arm.states[4], a), arm.box, maximizer, num_steps)
    assert batch.action.shape == (7, 6)
    np.testing.assert_allclose(batch.value[4], one.value, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(
        batch.value, jax.vmap(arm.objective)(arm.states, batch.action), rtol=1e-4, atol=1e-5
    )


def test_batches_with_pytree_states_initial_actions_traces_and_no_states(key):
    cem, num_steps = MAXIMIZERS["cem"]

    def objective(state, action):
        return -jnp.sum(jnp.square(action - state["target"])) + state["offset"]

    states = {"target": jnp.broadcast_to(CENTER, (4, 3)), "offset": jnp.arange(4.0)}
    starts = jnp.broadcast_to(CENTER, (4, 3))
    for initial in (None, CENTER, starts):
        best, trace = pgjax.maximize_batch(
            jax.random.key(1),
            objective,
            states,
            BOX,
            cem,
            num_steps=num_steps,
            initial=initial,
            return_trace=True,
        )
        np.testing.assert_allclose(best.value, jnp.arange(4.0), atol=1e-6)
        assert trace.value.shape == (4, num_steps)
    none = jax.tree.map(lambda x: x[:0], states)
    empty = pgjax.maximize_batch(key, objective, none, BOX, cem, num_steps=num_steps)
    assert empty.action.shape == (0, 3)


def test_a_batch_sharded_over_devices(key):
    arm = pgjax.problems.six_joint_arm(key, 16)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.device_put(arm.states, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch")))
    solve = jax.jit(
        lambda k, s: pgjax.maximize_batch(k, arm.objective, s, arm.box, MAXIMIZERS["cem"][0], num_steps=3)
    )
    chex.assert_trees_all_close(
        solve(jax.random.key(1), sharded), solve(jax.random.key(1), arm.states), rtol=1e-3, atol=1e-5
    )


# Theory


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
    state, _ = maximizer.init(None, None, jnp.zeros(2))
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


# Arguments


def test_equal_settings_give_the_same_maximizer():
    assert maximizers.cross_entropy(num_samples=8) is maximizers.cross_entropy(num_samples=8)


@pytest.mark.parametrize(
    ("factory", "settings", "name"),
    [
        (maximizers.grid, {"num_points": 1}, "num_points"),
        (maximizers.grid, {"chunk_size": 0}, "chunk_size"),
        (maximizers.random_search, {"num_samples": 0}, "num_samples"),
        (maximizers.random_search, {"num_samples": 1024.0}, "num_samples"),
        (maximizers.random_search, {"sequence": "halton"}, "sequence"),
        (maximizers.cross_entropy, {"num_elites": 65}, "num_elites"),
        (maximizers.cross_entropy, {"initial_std": 0.0}, "initial_std"),
        (maximizers.cross_entropy, {"min_std": -1.0}, "min_std"),
        (maximizers.gradient_ascent, {"num_starts": 0}, "num_starts"),
        (maximizers.gradient_ascent, {"num_candidates": 3}, "num_candidates"),
    ],
)
def test_bad_settings_are_refused_by_name(factory, settings, name):
    with pytest.raises(ValueError, match=f"^{name} "):
        factory(**settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 0}, "num_steps"),
        ({"initial": jnp.zeros(2)}, "initial must have shape"),
        ({"objective": lambda a: a}, "objective must return one"),
        ({"objective": lambda a: jnp.int32(1)}, "objective must return one"),
        ({"box": (-1.0, 1.0)}, "box must be a pgjax.Box"),
        ({"box": pgjax.Box([-1e300] * 3, [1e300] * 3)}, "box must have bounds"),
    ],
)
def test_bad_arguments_are_refused_by_name(changes, message, key):
    arguments = {"objective": OBJECTIVES["inside"], "box": BOX, "num_steps": 1, "initial": None} | changes
    with pytest.raises(ValueError, match=message):
        pgjax.maximize(key, maximizer=maximizers.grid(), **arguments)
    objective = arguments.pop("objective")
    with pytest.raises(ValueError, match=message):
        pgjax.maximize_batch(
            key, lambda s, a: objective(a), jnp.zeros((2, 1)), maximizer=maximizers.grid(), **arguments
        )


def test_states_without_a_common_batch_are_refused(key):
    states = (jnp.zeros((2, 1)), jnp.zeros((3, 1)))
    with pytest.raises(ValueError, match="states must be"):
        pgjax.maximize_batch(key, lambda s, a: a[0], states, BOX, maximizers.grid(), num_steps=1)
