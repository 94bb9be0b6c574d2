"""Bounds hold for sampled points, tighten at the order of theory, and refuse what they do not know."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pgjax
from pgjax.bounds import interval_bounds, relax, without_rounding
from tests.deep import deep, deep_except

MATRIX = np.float32(np.random.default_rng(1).normal(size=(3, 3)))
ROW = np.float32([0.5, -1.0, 2.0])


def network(activation, sizes=(8, 8), state_size=2, num_dims=3):
    """A critic as a function of the action; its parameters are made when it is first called, not on import."""
    critic = pgjax.QNetwork(sizes, activation)

    @functools.cache
    def params():
        with jax.ensure_compile_time_eval():
            return critic.init(jax.random.key(3), jnp.zeros(state_size), jnp.zeros(num_dims))

    return lambda a: critic.apply(params(), jnp.full(state_size, 0.3), a)


# Each term is bounded alone, up and down: the sum is weighted by plus or minus one unit vector a box.
SMOOTH_TERMS = {
    "quadratic": lambda a: 0.5 * a @ (MATRIX @ a) + ROW @ a,
    "squared norm": lambda a: -a @ a,
    "waves": lambda a: jnp.sum(jnp.sin(5 * a) * jnp.cos(7 * a)),
    "exponential": lambda a: jnp.exp(a[0] * a[1]) - 2 * jnp.exp(a[2]),
    "powers": lambda a: jnp.sum(a**3 - 2 * a**4 + a**2) + (a[0] + 3.0) ** -2,
    "quotient": lambda a: a[0] / (3 + a[1]) + 1 / (2.5 - a[2]) - a[1] / 4,
    "logarithm": lambda a: jnp.log(a[0] + 2) + jnp.sqrt(a[1] + 1.5) + jnp.log1p(jnp.square(a[2])),
    "sigmoid": lambda a: jnp.sum(jax.nn.sigmoid(4 * a) * ROW),
    "outer product": lambda a: jnp.sum(jnp.einsum("i,j->ij", a, a)[0] * ROW),
    "error function": lambda a: jax.nn.gelu(3 * a[0], approximate=False) + jax.lax.erf(2 * a[1]),
    "inverse root": lambda a: jnp.expm1(a[1]) + jax.lax.rsqrt(a[2] + 1.5),
}
KINKED_TERMS = {
    "abs": lambda a: jnp.sum(jnp.abs(a) * ROW),
    "max": lambda a: jnp.maximum(a[0], a[1] * a[2]),
    "min": lambda a: jnp.minimum(a[1], 0.2) - jnp.minimum(a[0], a[2]),
    "clip": lambda a: jnp.sum(jnp.clip(2 * a, -0.5, 1.0) * ROW),
    "clamp": lambda a: jax.lax.clamp(-0.1, a[0], 0.3),
    "softplus": lambda a: jax.nn.softplus(a[0] - a[1]),
    "reshape": lambda a: jnp.sum(jnp.stack([a, -a]).T.reshape(2, 3)[::-1] * jnp.arange(6.0).reshape(2, 3)),
    "pad": lambda a: jnp.pad(a, 1)[2] - jnp.concatenate([a, ROW])[1] + a[jnp.asarray([0, 2])][1],
}
JUMPING_TERMS = {
    "where": lambda a: jnp.sum(jnp.where((a > 0.2) & ~(a >= 0.7), 2 * a, a / 3)),
    "floor": lambda a: jnp.sum(jnp.floor(3 * a)),
    "largest": lambda a: jnp.max(a) - jnp.where(a[0] == a[1], 1.0, 0.0),
    "leaky relu": lambda a: jnp.sum(nn.leaky_relu(MATRIX @ a)),
    "elu": lambda a: jnp.sum(nn.elu(MATRIX @ a)),
    "norm": lambda a: jnp.linalg.norm(a - 0.25),
    "softmax": lambda a: jax.nn.softmax(2 * a)[0] + jax.nn.logsumexp(a),
}


def weighted(terms):
    return lambda weights, a: weights @ jnp.stack([term(a) for term in terms.values()]), len(terms)


FUNCTIONS = {
    "smooth": weighted(SMOOTH_TERMS),
    "kinked": weighted(KINKED_TERMS),
    "jumping": weighted(JUMPING_TERMS),
    "relu critic": weighted({"relu": network(nn.relu)}),
    "tanh critic": weighted({"tanh": network(nn.tanh), "gelu": network(nn.gelu)}),
}


@functools.lru_cache
def compiled(name):
    """Bounds of boxes, and values and gradients at points of each; all with weights for each box."""
    function, num_terms = FUNCTIONS[name]

    def bounds(weights, low, high):
        def weighted_sum(a):
            return function(weights, a)

        return relax(weighted_sum, low, high)

    values = jax.vmap(jax.vmap(jax.value_and_grad(function, argnums=1), (None, 0)))
    return jax.jit(jax.vmap(bounds)), jax.jit(values), num_terms


def unit_weights(count, num_terms):
    signs = np.concatenate([np.eye(num_terms), -np.eye(num_terms)]).astype(np.float32)
    return signs[np.arange(count) % len(signs)]


def random_boxes(rng, width, count=64):
    """Boxes in [-1, 1]^3, a fourth of them flat in a dimension."""
    center = rng.uniform(-1, 1, (count, 3))
    low, high = np.clip(center - width, -1, 1), np.clip(center + width, -1, 1)
    high[: count // 4, 1] = low[: count // 4, 1]
    return low.astype(np.float32), high.astype(np.float32)


def points_of(rng, low, high, count=64):
    """Uniform points, corners, and points of faces, of each box."""
    share = np.clip(rng.uniform(-0.5, 1.5, (len(low), count, low.shape[1])), 0, 1).astype(np.float32)
    return np.clip(low[:, None] + (high - low)[:, None] * share, low[:, None], high[:, None])


@pytest.mark.few(1)
@pytest.mark.parametrize("name", deep_except(FUNCTIONS.keys(), "relu critic", "tanh critic"))
def test_bounds_hold(name, rng):
    bounds, values, num_terms = compiled(name)
    for width in (1.0, 0.3, 0.05, 1e-3):
        low, high = random_boxes(rng, width)
        weights = unit_weights(len(low), num_terms)
        points = points_of(rng, low, high)
        value, gradient = values(weights, points)
        relaxation = bounds(weights, low, high)
        rounding = 2e-6 * (1 + np.max(np.abs(value)))
        assert jnp.all(value <= relaxation.upper[:, None] + rounding)
        offset = points - 0.5 * (low + high)[:, None]
        reach = jnp.sum(jnp.abs(relaxation.slopes) * 0.5 * (high - low), axis=1)
        plane = (relaxation.plane - reach)[:, None] + jnp.sum(relaxation.slopes[:, None] * offset, axis=-1)
        assert jnp.all(value <= plane + rounding)
        if name != "jumping":
            rounding = 1e-5 * (1 + np.max(np.abs(gradient)))
            assert jnp.all(gradient <= relaxation.gradient_high[:, None] + rounding)
            assert jnp.all(gradient >= relaxation.gradient_low[:, None] - rounding)


@pytest.mark.parametrize("name", [deep("smooth"), "tanh critic"])
def test_bounds_of_smooth_functions_are_of_second_order(name, rng):
    """What the bound is above the maximum to first order falls with the square of the width, for each term."""
    bounds, values, num_terms = compiled(name)
    center = rng.uniform(-0.9, 0.9, (64, 3)).astype(np.float32)
    weights = unit_weights(64, num_terms)
    value, gradient = values(weights, center[:, None].repeat(64, 1))
    widths, excess = (0.04, 0.01), []
    for width in widths:
        maximum = value[:, 0] + jnp.sum(jnp.abs(gradient[:, 0]), axis=-1) * width
        difference = np.abs(
            bounds(weights, center - np.float32(width), center + np.float32(width)).upper - maximum
        )
        excess.append(np.asarray([np.mean(difference[i :: 2 * num_terms]) for i in range(2 * num_terms)]))
    orders = np.log(excess[0] / excess[1]) / np.log(widths[0] / widths[1])
    np.testing.assert_allclose(orders, 2, atol=0.4)


def test_relu_bounds_are_exact_where_no_unit_switches(rng):
    bounds, values, _ = compiled("relu critic")
    low, high = random_boxes(rng, 1e-3)
    corners = np.stack(np.meshgrid(*[[0, 1]] * 3), -1).reshape(-1, 3).repeat(8, 0)
    points = np.where(corners[None] > 0, high[:, None], low[:, None])
    weights = np.ones((64, 1), np.float32)
    excess = bounds(weights, low, high).upper - jnp.max(values(weights, points)[0], axis=1)
    assert np.median(excess) < 1e-5


def test_intervals_of_arrays_hold(rng):
    def layer(a):
        return jnp.tanh(MATRIX @ a) * a

    low, high = random_boxes(rng, 0.4)
    points = points_of(rng, low, high)
    interval = jax.jit(jax.vmap(functools.partial(interval_bounds, layer)))(low, high)
    values = jax.vmap(jax.vmap(layer))(points)
    assert jnp.all((values >= interval.low[:, None] - 1e-6) & (values <= interval.high[:, None] + 1e-6))


def test_a_gradient_at_a_kink_has_both_sides_slopes():
    """At the very end of the box too: a maximum there must not be taken for a slope."""
    relax_abs = jax.jit(functools.partial(relax, lambda a: -jnp.abs(a[0])))
    for low, high in ((-1.0, 0.0), (0.0, 1.0), (0.0, 0.0)):
        relaxation = relax_abs(jnp.asarray([low]), jnp.asarray([high]))
        assert relaxation.gradient_low[0] <= -1
        assert relaxation.gradient_high[0] >= 1


def test_rounding_is_allowed_for(rng):
    """A sum whose terms cancel in exact arithmetic: float32 points stay within the bounds of exact arithmetic."""
    weights = jnp.asarray(rng.normal(size=(64, 64)), jnp.float32)

    def cancelling(a):
        x = weights @ jnp.full(64, a[0] * 1e3)
        return jnp.sum(x) - jnp.sum(x[::-1]) + a[1]

    low, high = jnp.asarray([-1.0, 0.0, 0.0]), jnp.asarray([1.0, 1e-3, 0.0])
    values = jax.vmap(cancelling)(jax.random.uniform(jax.random.key(0), (500, 3)) * (high - low)[None] + low[None])
    assert jax.jit(functools.partial(relax, cancelling))(low, high).upper >= jnp.max(values)


def test_float64_bounds_are_tighter():
    with jax.enable_x64(True):
        low = jnp.asarray([0.1, 0.2, 0.3], jnp.float64)
        relaxation = jax.jit(functools.partial(relax, SMOOTH_TERMS["waves"]))(low, low)
        assert relaxation.upper.dtype == jnp.float64
        assert abs(relaxation.upper - SMOOTH_TERMS["waves"](low)) < 1e-12


def test_what_is_not_known_is_infinite():
    low, high = -jnp.ones(2), jnp.ones(2)
    nowhere = jnp.float32(jnp.nan)
    for function in (lambda a: nowhere * a[0], lambda a: 1 / a[0], lambda a: jnp.log(a[1]), lambda a: nowhere):
        relaxed = jax.jit(functools.partial(relax, function))
        assert relaxed(low, high).upper == jnp.inf


UNDEFINED = {
    "where exp overflows": lambda a: jnp.where(jnp.exp(100 * a) > 1, 1.0, 0.0),
    "where at a pole": lambda a: jnp.where(1 / a > 2, 1.0, 0.0),
    "where log is": lambda a: jnp.where(jnp.log(a) > -2, 1.0, 0.0),
    "where sqrt is": lambda a: jnp.where(jnp.sqrt(a) > 0.5, 1.0, 0.0),
    "where not a number": lambda a: jnp.where(jnp.isnan(jnp.sqrt(a)), 1.0, jnp.sqrt(a) - 1),
    "where not finite": lambda a: jnp.where(jnp.isfinite(jnp.exp(1000 * a)), 0.0, 1.0),
    "clipped pole": lambda a: jnp.clip(0.01 / (a + 0.137), -1, 1),
    "root": lambda a: jnp.sqrt(a) - a,
    "fast wave": lambda a: jnp.sin(1e5 * a) + jnp.cos(3e4 * a),
}


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "name", deep_except(UNDEFINED.keys(), "where exp overflows", "clipped pole", "root", "fast wave")
)
def test_bounds_hold_where_a_function_is_not_finite_everywhere(name, rng):
    """In float32, for boxes around all that is special there; the range of the derivative too."""
    function = UNDEFINED[name]
    low = np.asarray([-1.0, 0.0, -0.01, -0.2, 0.25, -1e-7], np.float32)
    high = np.asarray([1.0, 1.0, 0.01, -0.1, 0.30, 1e-7], np.float32)
    relaxation = jax.jit(jax.vmap(functools.partial(relax, lambda a: function(a[0]))))(low[:, None], high[:, None])
    share = rng.uniform(-0.01, 1.01, (2000, 1)).clip(0, 1).astype(np.float32)
    points = np.clip(low + (high - low) * share, low, high)
    values, slopes = jax.jit(jax.vmap(jax.vmap(jax.value_and_grad(function))))(points)
    highest = jnp.max(jnp.where(jnp.isfinite(values), values, -jnp.inf), axis=0)
    assert jnp.all(highest <= relaxation.upper)
    if "wave" not in name and "where" not in name:
        margin = 1e-4 * (1 + jnp.abs(slopes))
        below, above = slopes < relaxation.gradient_low.T - margin, slopes > relaxation.gradient_high.T + margin
        assert not jnp.any(jnp.isfinite(values) & (below | above))  # NaN says nothing


def test_a_pole_hides_no_maximum_from_the_range_of_the_derivative():
    """1 / x falls on both sides of 0, and its largest value is not at the low end: no range may say so."""
    relaxation = jax.jit(functools.partial(relax, lambda a: jnp.minimum(0.01 / a[0], 5.0)))(
        -jnp.ones(1), jnp.ones(1)
    )
    assert not relaxation.gradient_high[0] < 0
    assert not relaxation.gradient_low[0] > 0
    assert relaxation.upper >= 5


def test_a_condition_that_is_decided_keeps_the_plane_of_its_case():
    """Where one case is sure to be chosen, the bound is that case's, not a hull's."""
    decided = jax.jit(functools.partial(relax, lambda a: jnp.where(a[0] > -2, a[0] - a[1], 7.0)))
    relaxation = decided(-jnp.ones(2), jnp.ones(2))
    assert relaxation.upper == pytest.approx(2, abs=1e-4)
    np.testing.assert_allclose(relaxation.gradient_low, [1, -1], atol=1e-4)
    np.testing.assert_allclose(relaxation.gradient_high, [1, -1], atol=1e-4)


def test_a_constant_is_its_own_bound():
    relaxation = relax(lambda a: jnp.float32(3.0), -jnp.ones(2), jnp.ones(2))
    assert relaxation.upper == 3
    assert jnp.all(relaxation.gradient_low == 0)


def test_rounding_is_not_taken_for_a_kink():
    def clipped(a):
        return jnp.sum(without_rounding(a, -jnp.ones(2), jnp.ones(2)))

    assert jnp.all(relax(clipped, -jnp.ones(2), jnp.ones(2)).gradient_low > 0.9)
    np.testing.assert_array_equal(jax.grad(clipped)(jnp.ones(2)), 1)
    assert clipped(jnp.asarray([1.5, 0.0])) == 1


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda a: jnp.sort(a)[0], "sort"),
        (lambda a: jnp.arctan2(a[0], a[1]), "atan2"),
        (lambda a: jnp.sum((a > 0).astype(jnp.float32)), "convert_element_type"),
        (lambda a: a[0].astype(jnp.int32).astype(jnp.float32), "convert_element_type"),
        (lambda a: jnp.where(jnp.where(a[0] > 0, a[1] > 0, a[2] > 0), 1.0, 0.0), "select_n"),
    ],
)
def test_operations_without_bounds_are_refused_by_name(function, name):
    with pytest.raises(ValueError, match=f"objective uses '{name}'"):
        relax(function, -jnp.ones(3), jnp.ones(3))
