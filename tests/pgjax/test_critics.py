"""Critics with a built-in maximum: it is the maximum, by oracles and by search, and apply agrees with it."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pgjax
from pgjax import critics
from tests.deep import deep, deep_except

STATE_SIZE = 5
FAMILIES = {
    "quadratic": pgjax.QuadraticCritic,
    "control points": pgjax.ControlPointCritic,
    "factored": pgjax.FactoredCritic,
}
# Jitted with the critic static, so that tests share what is compiled.
apply = jax.jit(lambda critic, *inputs: critic.apply(*inputs), static_argnums=0)
greedy = jax.jit(lambda critic, *inputs: critic.greedy(*inputs), static_argnums=0)
heads_of = jax.jit(lambda critic, *inputs: critic.apply(*inputs, method="heads"), static_argnums=0)
families = pytest.mark.parametrize("family", FAMILIES)
# Where one family stands for the others: the quadratic has the most code of its own.
quadratic_first = pytest.mark.parametrize("family", deep_except(FAMILIES.keys(), "quadratic"))


def make_box(num_dims):
    return pgjax.Box(-1.0 - np.arange(num_dims), 0.5 * np.ones(num_dims))


@functools.lru_cache
def make(family, box, scale=1.0, **settings):
    """A critic and its parameters, the heads' scaled so that they say something."""
    critic = FAMILIES[family](box, hidden_sizes=(16,), **settings)
    dtype = jnp.dtype(settings.get("param_dtype", jnp.float32))
    params = jax.jit(critic.init)(jax.random.key(0), jnp.ones(STATE_SIZE, dtype), jnp.ones(box.num_dims, dtype))
    return critic, jax.tree.map(lambda p: (scale * np.asarray(p)).astype(dtype), params)


def make_states(*batch_shape):
    return jax.random.normal(jax.random.key(1), (*batch_shape, STATE_SIZE))


def inside(action, box):
    given = np.asarray(action)
    return np.all((given >= box.low.astype(given.dtype)) & (given <= box.high.astype(given.dtype)))


@pytest.mark.few(2)
@families
@pytest.mark.parametrize("num_dims", [deep(1), 2])
def test_nothing_on_a_dense_grid_is_higher(family, num_dims):
    box = make_box(num_dims)
    critic, params = make(family, box, 3.0)
    states = make_states(16)
    action, value = greedy(critic, params, states)
    bounds = zip(box.low, box.high, strict=True)
    line = [np.linspace(low, high, 81 if num_dims == 2 else 4_001) for low, high in bounds]
    grid = jnp.asarray(np.stack(np.meshgrid(*line), -1).reshape(-1, num_dims), jnp.float32)
    highest = jnp.max(apply(critic, params, states[:, None], grid[None]), axis=1)
    assert inside(action, box)
    tolerance = 1e-5 * (1 + np.abs(value))
    assert np.all(highest <= value + tolerance)
    # The grid's spacing bounds what it can miss, except where control points make a narrow peak.
    if family != "control points":
        np.testing.assert_allclose(highest, value, atol=5e-2 * np.max(1 + np.abs(value)))


@pytest.mark.few(1)
@families
def test_no_random_action_is_higher(family):
    num_dims, box = 4, make_box(4)  # as the oracle's below: compiled once
    critic, params = make(family, box, 2.0)
    states = make_states(16)
    action, value = greedy(critic, params, states)
    uniform = jax.random.uniform(jax.random.key(2), (1024, 1, num_dims))
    low, high = (jnp.asarray(bound, jnp.float32) for bound in (box.low, box.high))
    actions = low[None, None] + (high - low)[None, None] * uniform
    near = jnp.clip(action[None] + 0.01 * (uniform - 0.5), low[None, None], high[None, None])
    for tried in (actions, near):
        values = apply(critic, params, states, tried)
        assert values.shape == (1024, 16)
        assert np.all(values <= value[None] + 2e-6 * (1 + np.abs(value))[None])


@pytest.mark.parametrize("num_dims", [deep(2), 4])
def test_quadratic_maximum_is_the_oracles(num_dims):
    box = make_box(num_dims)
    critic, params = make("quadratic", box, 3.0)
    states = make_states(16)
    _, value = greedy(critic, params, states)
    heads = heads_of(critic, params, states)
    half_width = (box.high - box.low) / 2
    clipped = 0
    for i in range(16):
        factor = np.asarray(heads.factor[i], np.float64) / half_width[:, None]
        vertex = (box.low + half_width) + half_width * np.asarray(heads.vertex[i], np.float64)
        matrix = -factor @ factor.T
        _, (best,) = pgjax.problems.box_quadratic_maximum(matrix, (-matrix @ vertex)[None], box)
        expected = heads.value[i] + best + 0.5 * vertex @ matrix @ vertex
        np.testing.assert_allclose(value[i], expected, rtol=1e-4, atol=1e-4)
        clipped += not inside(vertex, box)
    assert clipped > 2  # the interesting case is there


def test_quadratic_is_the_paper_s_formula():
    box = make_box(3)
    critic, params = make("quadratic", box, 2.0)
    states, z = make_states(16), np.linspace(-1.0, 1.0, 48).reshape(16, 3)
    value, vertex, factor = (np.asarray(head) for head in heads_of(critic, params, states))
    expected = [v - 0.5 * (a - m) @ f @ f.T @ (a - m) for v, m, f, a in zip(value, vertex, factor, z, strict=True)]
    action = jnp.asarray(box.low + (box.high - box.low) * (z + 1) / 2, jnp.float32)
    np.testing.assert_allclose(apply(critic, params, states, action), expected, rtol=1e-4, atol=1e-4)
    assert np.all(np.triu(factor, 1) == 0)
    assert np.all(np.diagonal(factor, axis1=1, axis2=2) > 0)


@pytest.mark.parametrize("num_nearest", [deep(3), 8])
def test_control_points_maximum_is_the_highest_point_exactly(num_nearest):
    box = make_box(3)
    critic, params = make("control points", box, 2.0, num_points=8, num_nearest=num_nearest)
    states = make_states(16)
    points = heads_of(critic, params, states)
    action, value = greedy(critic, params, states)
    np.testing.assert_array_equal(value, jnp.max(points.value, axis=-1))
    np.testing.assert_array_equal(value, apply(critic, params, states, action))
    best = jnp.argmax(points.value, axis=-1)
    np.testing.assert_array_equal(action, points.action[jnp.arange(16), best])
    if num_nearest == 8:  # the textbook's formula, at an action that is no control point
        a = jnp.zeros(3) - 0.3
        offset = (a[None, None] - points.action) / jnp.asarray((box.high - box.low) / 2, jnp.float32)[None, None]
        lost = jnp.max(points.value, -1, keepdims=True) - points.value
        weight = 1 / (jnp.sum(offset**2, -1) + points.smoothing * lost)
        expected = jnp.sum(weight * points.value, -1) / jnp.sum(weight, -1)
        np.testing.assert_allclose(apply(critic, params, states, a), expected, rtol=1e-5, atol=1e-5)


def test_control_points_that_coincide_keep_the_maximum_and_finite_gradients():
    critic, params = make("control points", make_box(2), num_points=6, num_nearest=3)
    center = jax.tree.map(jnp.zeros_like, params["params"]["action"])  # all points there
    params = {"params": params["params"] | {"action": center}}
    states = make_states(16)
    action, value = greedy(critic, params, states)
    np.testing.assert_array_equal(value, jnp.max(heads_of(critic, params, states).value, axis=-1))
    slope = jax.jit(jax.grad(lambda p, a: jnp.sum(critic.apply(p, states, a)), (0, 1)))
    for shift in (0.0, 1e-30, 1e-8, 1e-3):
        gradients = slope(params, action + shift)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients)), shift


@pytest.mark.parametrize("num_bins", [deep(2), 5])
def test_factored_maximum_is_that_of_all_combinations_of_bins(num_bins):
    box = make_box(3)
    critic, params = make("factored", box, num_bins=num_bins)
    states = make_states(16)
    heads = heads_of(critic, params, states)
    assert heads.shape == (16, 3, num_bins)
    line = [np.linspace(low, high, num_bins) for low, high in zip(box.low, box.high, strict=True)]
    corners = jnp.asarray(list(itertools.product(*line)), jnp.float32)
    sums = [sum(heads[:, i, k] for i, k in enumerate(c)) / 3 for c in itertools.product(range(num_bins), repeat=3)]
    values = apply(critic, params, states, corners[:, None])
    np.testing.assert_allclose(values, jnp.stack(sums), rtol=1e-5, atol=1e-6)
    action, value = greedy(critic, params, states)
    np.testing.assert_allclose(value, jnp.max(values, axis=0), rtol=1e-6)
    np.testing.assert_allclose(action, corners[jnp.argmax(values, axis=0)], rtol=1e-6)


@pytest.mark.few(1)
@quadratic_first
def test_value_is_apply_under_every_transformation(family):
    box = make_box(3)
    critic, params = make(family, box, 2.0)
    states = make_states(16)
    action, value = greedy(critic, params, states)
    np.testing.assert_allclose(value, apply(critic, params, states, action), rtol=1e-6, atol=1e-7)
    for batch_shape in ((), (2, 3), (0,)):
        shapes = jax.eval_shape(critic.greedy, params, make_states(*batch_shape))
        assert [shape.shape for shape in shapes] == [(*batch_shape, 3), batch_shape]
    twice = jnp.stack([states, states[::-1]])  # a state alone, mapped; and a batch of batches
    for call in (jax.vmap(jax.vmap(critic.greedy, (None, 0)), (None, 0)), critic.greedy):
        actions, values = jax.jit(call)(params, twice)
        np.testing.assert_allclose(actions, jnp.stack([action, action[::-1]]), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(values, jnp.stack([value, value[::-1]]), rtol=1e-5, atol=1e-5)
    # Batch shapes broadcast both ways.
    assert apply(critic, params, states, action[0]).shape == (16,)
    assert apply(critic, params, states[0], action).shape == (16,)
    assert apply(critic, params, states, jnp.stack([action, action])).shape == (2, 16)
    np.testing.assert_allclose(
        apply(critic, params, states[0], action)[1], apply(critic, params, states[0], action[1]), rtol=1e-5
    )


@pytest.mark.few(1)
@quadratic_first
def test_gradient_of_the_maximum_is_the_envelope_theorems(family, rng):
    with jax.enable_x64(True):
        critic, params = make(family, make_box(3), 2.0, param_dtype=jnp.float64)
        states = make_states(16).astype(jnp.float64)

        def total(params):
            action, value = critic.greedy(params, states)
            return jnp.sum(value), action

        highest = jax.jit(jax.value_and_grad(total, has_aux=True))
        (_, action), given = highest(params)
        fixed = jax.jit(jax.grad(lambda p: jnp.sum(critic.apply(p, states, action))))(params)
        for ours, theirs in zip(jax.tree.leaves(given), jax.tree.leaves(fixed), strict=True):
            assert np.all(np.isfinite(ours))
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
        # The maximum's own derivative along a random direction, where the best action moves too.
        direction = jax.tree.map(lambda p: rng.normal(size=p.shape), params)
        up = jax.tree.map(lambda p, d: np.asarray(p) + 1e-6 * d, params, direction)
        down = jax.tree.map(lambda p, d: np.asarray(p) - 1e-6 * d, params, direction)
        expected = (highest(up)[0][0] - highest(down)[0][0]) / 2e-6
        slope = sum(np.sum(g * d) for g, d in zip(*map(jax.tree.leaves, (given, direction)), strict=True))
        np.testing.assert_allclose(slope, expected, rtol=1e-5)


@pytest.mark.few(1)
@quadratic_first
@pytest.mark.parametrize("dtype", ["bfloat16", deep("float64")])
def test_dtypes(family, dtype):
    with jax.enable_x64(dtype == "float64"):
        critic, params = make(family, make_box(3), param_dtype=dtype)
        states = make_states(16).astype(dtype)
        action, value = greedy(critic, params, states)
        wide = jnp.float64 if dtype == "float64" else jnp.float32
        assert action.dtype == value.dtype == wide
        np.testing.assert_allclose(apply(critic, params, states, action), value, rtol=1e-6)


@families
def test_a_dimension_of_width_zero_is_fixed(family):
    box = pgjax.Box([-1.0, 2.0, -1.0], [1.0, 2.0, 3.0])
    critic, params = make(family, box, 2.0)
    states = make_states(16)

    def total(params):
        action, value = critic.greedy(params, states)
        return jnp.sum(value), (action, value)

    gradients, (action, value) = jax.jit(jax.grad(total, has_aux=True))(params)
    np.testing.assert_array_equal(action[:, 1], 2.0)
    tried = jax.random.uniform(jax.random.key(3), (2000, 1, 3)) * jnp.asarray([2.0, 0.0, 4.0])[None, None]
    values = apply(critic, params, states, tried + jnp.asarray([-1.0, 2.0, -1.0])[None, None])
    assert np.all(values <= value[None] + 1e-5)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients))


@families
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_outputs_that_are_not_finite_leave_the_action_in_the_box(family, bad):
    box = make_box(3)
    critic, params = make(family, box)
    states = make_states(16).at[1].set(bad)
    action, value = greedy(critic, params, states)
    assert inside(action, box)
    clean = greedy(critic, params, make_states(16))
    for i in (0, 2, 3):  # other states do not suffer
        np.testing.assert_allclose(value[i], clean[1][i], rtol=1e-5)
    if np.isnan(bad):
        assert np.isnan(value[1])


@quadratic_first
def test_a_module_of_ones_own_can_be_the_torso(family):
    class Flat(pgjax.MLP):
        def __call__(self, image):
            return super().__call__(image.reshape(*image.shape[:-2], -1))

    critic = FAMILIES[family](make_box(2), torso=Flat((8,)))
    images = jax.random.normal(jax.random.key(5), (3, 4, 4))
    params = jax.jit(critic.init)(jax.random.key(6), images, jnp.zeros((3, 2)))
    action, value = jax.jit(critic.greedy)(params, images)
    assert (action.shape, value.shape) == ((3, 2), (3,))


BOX = pgjax.Box([-1.0] * 2, [1.0] * 2)


@pytest.mark.parametrize(
    ("critic", "name"),
    [
        (pgjax.QuadraticCritic((0.0, 1.0)), "box"),
        (pgjax.QuadraticCritic(BOX, hidden_sizes=()), "hidden_sizes"),
        (pgjax.QuadraticCritic(BOX, initialization="xavier"), "initialization"),
        (pgjax.ControlPointCritic(BOX, num_points=0), "num_points"),
        (pgjax.ControlPointCritic(BOX, num_nearest=0), "num_nearest"),
        (pgjax.ControlPointCritic(BOX, num_points=4, num_nearest=5), "num_nearest"),
        (pgjax.FactoredCritic(BOX, num_bins=1), "num_bins"),
        (pgjax.FactoredCritic(None), "box"),
    ],
)
def test_bad_settings_are_refused_by_name(critic, name, key):
    with pytest.raises(ValueError, match=f"^{name} "):
        critic.init(key, jnp.ones(3), jnp.ones(2))


@families
def test_an_action_of_another_size_is_refused_by_name(family):
    critic, params = make(family, make_box(2))
    with pytest.raises(ValueError, match=r"^action "):
        apply(critic, params, make_states(3), jnp.ones((3, 4)))


@pytest.mark.parametrize(
    ("family", "record"), [("quadratic", critics.Quadratic), ("control points", critics.ControlPoints)]
)
def test_heads_are_what_the_network_says_of_a_state_before_any_action(family, record):
    critic, params = make(family, make_box(2))
    assert isinstance(critic, critics.BoxCritic)
    heads = heads_of(critic, params, make_states(3))
    assert isinstance(heads, record)
    if family == "quadratic":
        assert (heads.value.shape, heads.vertex.shape, heads.factor.shape) == ((3,), (3, 2), (3, 2, 2))
        assert np.all(np.diagonal(heads.factor, axis1=-2, axis2=-1) > 0)
    else:
        num_points = heads.value.shape[-1]
        assert (heads.action.shape, heads.smoothing.shape) == ((3, num_points, 2), (3, num_points))
        assert np.all(np.asarray(heads.smoothing) > 0)
        assert inside(heads.action, make_box(2))
