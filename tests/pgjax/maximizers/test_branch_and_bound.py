"""Certified maxima: against mixed-integer programs and exact maxima, and certificates that always hold."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.sparse

import pgjax
from pgjax.bounds import Relaxation, interval_bounds
from pgjax.maximizers import branch_and_bound
from tests.deep import deep

CUBE = pgjax.Box([-1.0] * 3, [1.0] * 3)
SMALL = {"boxes_per_step": 64, "capacity": 4096}


def turn(angle, axis):
    """Rotation matrix about an axis: Rodrigues' formula."""
    x, y, z = np.asarray(axis, np.float32)
    cross = jnp.asarray([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return jnp.eye(3) + jnp.sin(angle) * cross + (1 - jnp.cos(angle)) * (cross @ cross)


def three_joints(a):
    """The squared distance of an arm's tool from a point that it reaches at angles (.4, -.3, .8)."""
    links = jnp.asarray([[0.2, 0.0, 0.1], [0.4, 0.0, 0.0], [0.3, 0.1, 0.0]])

    def tool(a):
        point = links[2]
        point = links[1] + turn(a[2], (0, 1, 0)) @ point
        point = links[0] + turn(a[1], (0, 1, 0)) @ point
        return turn(a[0], (0, 0, 1)) @ point

    return -jnp.sum(jnp.square(tool(a) - tool(jnp.asarray([0.4, -0.3, 0.8]))))


@functools.partial(jax.jit, static_argnames=("objective", "maximizer", "num_steps", "return_trace"))
def maximize(objective, box, maximizer, num_steps, return_trace=False, initial=None, key=0):
    return pgjax.maximize(
        jax.random.key(key), objective, box, maximizer, num_steps=num_steps, return_trace=return_trace,
        initial=initial,
    )  # fmt: skip


def mixed_integer_maximum(params, state, box):
    """The maximum of a two-layer ReLU critic over a box by HiGHS: each unit is 0 or its input, a binary choice."""
    weights = jax.tree.map(lambda x: np.asarray(x, np.float64), params)["params"]
    kernel, num_state = weights["kernel"], len(state)
    layers = [
        (kernel[num_state:].T, weights["bias"] + state @ kernel[:num_state]),
        (weights["torso"]["dense_0"]["kernel"].T, weights["torso"]["dense_0"]["bias"]),
    ]
    out, offset = weights["value"]["kernel"][:, 0], weights["value"]["bias"][0]
    low, high = np.asarray(box.low), np.asarray(box.high)
    least: list[float] = []
    most: list[float] = []
    rows, lows, highs, integers = [], [*low], [*high], [0] * len(low)
    total = len(low) + sum(2 * len(bias) for _, bias in layers)
    inputs = list(range(len(low)))
    size = len(low)
    for matrix, bias in layers:
        center, radius = matrix @ ((low + high) / 2) + bias, np.abs(matrix) @ ((high - low) / 2)
        before, after = center - radius, center + radius
        outputs: list[int] = []
        for j, (row, shift) in enumerate(zip(matrix, bias, strict=True)):
            unit, switch = size, size + 1
            size, outputs = size + 2, [*outputs, unit]
            lows, highs, integers = [*lows, 0, 0], [*highs, max(after[j], 0), 1], [*integers, 0, 1]
            linear = np.zeros(total)
            linear[inputs], linear[unit] = -row, 1
            bottom, top = min(before[j], 0), max(after[j], 0)
            upper, room = linear.copy(), np.zeros(total)
            upper[switch], room[unit], room[switch] = -bottom, 1, -top
            rows += [linear, upper, room]  # unit >= input, unit <= input - bottom (1 - switch), unit <= top switch
            least, most = [*least, shift, -np.inf, -np.inf], [*most, np.inf, shift - bottom, 0]
        low, high, inputs = np.maximum(before, 0), np.maximum(after, 0), outputs
    cost = np.zeros(total)
    cost[inputs] = -out
    solution = scipy.optimize.milp(
        cost, integrality=integers, bounds=scipy.optimize.Bounds(lows, highs), options={"mip_rel_gap": 1e-9},
        constraints=scipy.optimize.LinearConstraint(scipy.sparse.csr_array(np.stack(rows)), least, most),
    )  # fmt: skip
    assert solution.success
    return offset - solution.fun


def test_certified_maxima_are_those_of_mixed_integer_programs():
    critic, gap, state = pgjax.QNetwork((8, 8), nn.relu), 1e-3, jnp.asarray([0.3, -0.7])
    box = pgjax.Box([-2.0, -1.0, 0.5], [2.0, 3.0, 1.5])

    @jax.jit
    def solve(params):
        maximizer = branch_and_bound(gap=gap, **SMALL)
        objective = functools.partial(critic.apply, params, state)
        return pgjax.maximize(jax.random.key(0), objective, box, maximizer, num_steps=200)

    @jax.jit
    def random_params(seed):
        keys = iter(jax.random.split(jax.random.key(seed), 100))
        params = critic.init(jax.random.key(seed), state, jnp.zeros(3))
        return jax.tree.map(lambda x: x + 0.5 * jax.random.normal(next(keys), x.shape), params)

    for seed in range(6):
        params = random_params(seed)
        best, exact = solve(params), mixed_integer_maximum(params, state, box)
        assert best.value <= exact + 1e-5
        assert best.upper_bound >= exact - 1e-6
        assert best.upper_bound - best.value <= gap * 1.01


@pytest.mark.parametrize("curvature", [deep("concave"), "indefinite"])
def test_certified_maxima_of_quadratics(curvature, key):
    problem = pgjax.problems.quadratic(key, 4, num_dims=3, curvature=curvature)
    maximizer = branch_and_bound(gap=1e-3, **SMALL)
    best = jax.jit(
        lambda states: pgjax.maximize_batch(
            jax.random.key(1), problem.objective, states, problem.box, maximizer, num_steps=150
        )
    )(problem.states)
    np.testing.assert_allclose(best.value, problem.maximum, atol=1.1e-3)
    assert np.all(np.asarray(best.upper_bound) >= problem.maximum - 1e-6)
    assert np.all(best.upper_bound - best.value <= 1.01e-3)


@pytest.mark.deep
def test_the_certificate_only_improves_and_holds_for_an_arm():
    best, trace = maximize(three_joints, pgjax.Box([-3.0] * 3, [3.0] * 3), branch_and_bound(**SMALL), 100, True)
    assert jnp.all(jnp.diff(trace.upper_bound) <= 0)
    assert jnp.all(jnp.diff(trace.value) >= 0)
    assert jnp.all(trace.value <= 1e-6)
    assert jnp.all(trace.upper_bound >= -1e-6)
    assert best.upper_bound - best.value <= 1.01e-3 < trace.upper_bound[0] - trace.value[0]
    assert best.upper_bound == trace.upper_bound[-1]


def wavy(a):
    return jnp.sum(jnp.cos(9 * a) - jnp.square(a - 0.3)) + a[0] * a[1]


SQUARE = pgjax.Box([-1.0] * 2, [1.0] * 2)


@pytest.fixture(scope="module")
def closed():
    """The maximum of `wavy` and its trace, of more steps than it needs."""
    return maximize(wavy, SQUARE, branch_and_bound(**SMALL), 90, return_trace=True)


@pytest.mark.deep
def test_certificates_hold_with_room_and_without(closed):
    best, box = closed[0], SQUARE
    full = maximize(wavy, box, branch_and_bound(gap=0.0, boxes_per_step=16, capacity=16), 60)
    grid = jnp.linspace(-1, 1, 801)
    known = jnp.max(jax.vmap(wavy)(jnp.stack(jnp.meshgrid(grid, grid), -1).reshape(-1, 2)))
    assert known - 1e-6 <= best.upper_bound <= best.value + 1.01e-3
    assert full.upper_bound > full.value  # boxes were given up
    assert full.upper_bound >= known


def test_a_closed_gap_costs_nothing(closed):
    _, trace = closed
    num_open = int(jnp.sum(trace.upper_bound - trace.value > 1e-3 * 1.001))
    assert 1 < num_open < 60
    counts = trace.num_evaluations
    assert jnp.all(jnp.diff(counts[: num_open + 1]) > 0)
    assert jnp.all(jnp.diff(counts[num_open:]) == 0)


def test_boxes_without_width_and_maxima_in_corners():
    box = pgjax.Box([-1.0, 0.5, 2.0], [1.0, 0.5, 2.5])
    best = maximize(lambda a: a[0] + a[1] - a[2], box, branch_and_bound(**SMALL), 10)
    np.testing.assert_allclose(best.action, [1.0, 0.5, 2.0])
    assert best.upper_bound == pytest.approx(-0.5 + 1e-3, abs=1e-5)


def test_a_jump_is_bounded_too():
    best = maximize(lambda a: jnp.where(a[0] > 0.3, 1.0, 0.0), CUBE, branch_and_bound(**SMALL), 10)
    assert best.value == 1
    assert best.upper_bound == pytest.approx(1.001)


def test_a_warm_start_is_the_first_incumbent():
    start = jnp.asarray([0.123, -0.456])
    box = pgjax.Box([-1.0] * 2, [1.0] * 2)
    best, trace = maximize(
        lambda a: -jnp.sum(jnp.abs(a - start)), box, branch_and_bound(**SMALL), 30, True, initial=start
    )
    assert jnp.all(trace.value == 0)
    assert best.upper_bound == pytest.approx(1e-3, abs=1e-6)


def test_what_is_not_finite_is_never_certified():
    best = maximize(lambda a: jnp.nan * a[0], CUBE, branch_and_bound(**SMALL), 3)
    assert best.value == -jnp.inf
    assert best.upper_bound == jnp.inf


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("objective", "low", "maximum"),
    [
        (lambda a: jnp.sum(jax.nn.relu(a.astype(jnp.bfloat16) * 2)), -1.0, 4.0),
        (lambda a: 2.0, -1.0, 2.0),
        deep(lambda a: -jnp.linalg.norm(a - 0.25), -1.0, 0.0),
        deep(lambda a: jnp.sqrt(a[0]) - a[0], 0.0, 0.25),
        (lambda a: jnp.clip(0.01 / (a[0] + 0.137), -1, 1), -1.0, 1.0),
    ],
    ids=["half precision", "a number", "norm", "root", "pole"],
)
def test_certificates_hold_where_dtypes_and_domains_are_narrow(objective, low, maximum):
    best = maximize(objective, pgjax.Box([low] * 2, [1.0] * 2), branch_and_bound(**SMALL), 60)
    assert best.value.dtype == best.upper_bound.dtype == jnp.float32
    assert best.upper_bound >= maximum
    assert best.value == pytest.approx(maximum, abs=2e-3)


def test_float64_closes_gaps_that_rounding_keeps_open():
    with jax.enable_x64(True):
        box = pgjax.Box([-1.0] * 2, [1.0] * 2)
        best = maximize(wavy, box, branch_and_bound(gap=1e-9, **SMALL), 150, initial=jnp.zeros(2, jnp.float64))
        assert best.upper_bound - best.value <= 1.01e-9


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"boxes_per_step": 1}, "boxes_per_step"),
        ({"capacity": 100}, "capacity"),
        ({"gap": -1.0}, "gap"),
        ({"bound": 3}, "bound"),
    ],
)
def test_bad_settings_are_refused_by_name(settings, name):
    with pytest.raises(ValueError, match=f"^{name} "):
        branch_and_bound(**settings)


def test_an_objective_without_bounds_is_refused_by_name():
    with pytest.raises(ValueError, match="objective uses 'sort'"):
        pgjax.maximize(jax.random.key(0), lambda a: jnp.sort(a)[0], CUBE, branch_and_bound(), num_steps=1)


def by_intervals(objective, low, high):
    """The plainest bound: no plane, no gradient."""
    upper, nothing = interval_bounds(objective, low, high).high, jnp.zeros_like(low)
    return Relaxation(upper, upper, nothing, nothing - jnp.inf, nothing + jnp.inf)


@pytest.mark.deep
def test_the_six_joint_arm_is_certified_to_have_its_maximum_of_0_at_a_solution():
    arm = pgjax.problems.six_joint_arm(jax.random.key(0), 2)

    @jax.jit
    def around(state, solution):
        box = pgjax.Box(solution - 0.3, solution + 0.3)
        maximizer = branch_and_bound(bound=by_intervals, **SMALL)
        return pgjax.maximize(
            jax.random.key(1), lambda a: arm.objective(state, a), box, maximizer, num_steps=30,
            initial=solution + 0.2,
        )  # fmt: skip

    for state, solution in zip(arm.states, jnp.asarray(arm.best_action, jnp.float32), strict=True):
        best = around(state, solution)
        assert -1.1e-3 <= best.value <= 0
        assert 0 <= best.upper_bound <= 1.01e-3
