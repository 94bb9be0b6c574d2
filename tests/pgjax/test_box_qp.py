"""Concave quadratics over a box: against the enumeration of all faces, and by the optimality conditions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pgjax
from pgjax.box_qp import box_quadratic_argmax

solve = jax.jit(box_quadratic_argmax, static_argnums=2)


def random_factor(rng, num_dims, condition):
    """F with random singular vectors, such that F F^T has this condition number."""
    left, right = (np.linalg.qr(rng.normal(size=(num_dims, num_dims)))[0] for _ in range(2))
    return (left * np.sqrt(np.geomspace(1.0, 1.0 / condition, num_dims))) @ right


def value(factor, vertex, action):
    return -0.5 * np.sum(((np.asarray(action, np.float64) - vertex) @ factor) ** 2, axis=-1)


@pytest.mark.few(2)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("num_dims", [1, 2, 5])
def test_the_maximum_is_that_of_all_faces(num_dims, dtype, tolerance, rng):
    box = pgjax.Box(-1.0 - np.arange(num_dims), np.full(num_dims, 0.5))
    factors, vertices, highest = [], [], []
    for condition in (1.0, 1e2, 1e4, 1e6):
        for distance in (0.5, 3.0, 100.0):
            factor = random_factor(rng, num_dims, condition).astype(dtype).astype(np.float64)
            vertex = (distance * rng.normal(size=(100, num_dims))).astype(dtype).astype(np.float64)
            matrix = -factor @ factor.T
            best, _ = pgjax.problems.box_quadratic_maximum(matrix, -vertex @ matrix, box)
            factors.append(np.broadcast_to(factor, (100, num_dims, num_dims)))
            vertices.append(vertex)
            highest.append(value(factor, vertex, best))
    factor, vertex, maximum = (np.concatenate(parts) for parts in (factors, vertices, highest))
    with jax.enable_x64(dtype == "float64"):
        action = np.asarray(solve(jnp.asarray(factor, dtype), jnp.asarray(vertex, dtype), box))
    assert action.dtype == dtype
    assert np.all((action >= box.low.astype(dtype)) & (action <= box.high.astype(dtype)))
    given = value(factor, vertex[:, None], action[:, None])[:, 0]
    # Relative to the value at the center, a point of no merit.
    scale = np.abs(value(factor, vertex[:, None], 0.5 * (box.low + box.high)[None, None])[:, 0])
    assert np.max((maximum - given) / (scale + 1e-12)) < tolerance


def test_optimality_conditions_in_24_dimensions(rng):
    num_dims, box = 24, pgjax.Box(np.full(24, -1.0), np.full(24, 1.0))
    conditions, distances = (1.0, 1e2, 1e4, 1e6), (0.5, 3.0, 100.0)
    factor = np.stack([random_factor(rng, num_dims, c) for c in conditions for _ in distances for _ in range(8)])
    distance = np.tile(np.repeat(distances, 8), len(conditions))[:, None]
    vertex = distance * rng.normal(size=(len(factor), num_dims))
    with jax.enable_x64(True):
        action = np.asarray(solve(factor, vertex, box))
    gradient = -np.einsum("bij,bkj,bk->bi", factor, factor, action - vertex)
    size = np.linalg.norm(vertex, axis=-1, keepdims=True)
    at_low, at_high = action == -1.0, action == 1.0
    inside = ~at_low & ~at_high
    assert np.all(np.abs(gradient) <= 1e-11 * size, where=inside)
    assert np.all(gradient <= 1e-11 * size, where=at_low)
    assert np.all(gradient >= -1e-11 * size, where=at_high)
    assert 0.1 < np.mean(inside) < 0.9


def test_clipping_the_vertex_is_not_the_answer():
    factor = np.asarray([[1.0, 0.0], [0.9, 0.3]])
    box = pgjax.Box([-1.0, -1.0], [1.0, 1.0])
    action = solve(jnp.asarray(factor, jnp.float32), jnp.asarray([0.0, 3.0]), box)
    clipped = np.asarray([0.0, 1.0])
    vertex = np.asarray([0.0, 3.0])
    assert value(factor, vertex, action) > value(factor, vertex, clipped) + 0.1


def test_what_is_inside_comes_back_unchanged_and_batches_broadcast(rng):
    box = pgjax.Box([-1.0] * 3, [1.0] * 3)
    factor = jnp.asarray(random_factor(rng, 3, 10.0), jnp.float32)
    vertex = jnp.asarray(rng.uniform(-1, 1, (2, 5, 3)), jnp.float32)
    np.testing.assert_array_equal(solve(factor, vertex, box), vertex)
    assert solve(jnp.broadcast_to(factor, (5, 3, 3)), vertex[0, 0], box).shape == (5, 3)
    assert solve(factor, vertex[:0], box).shape == (0, 5, 3)
    assert solve(factor, vertex[0, 0], box).shape == (3,)


def test_a_fixed_dimension_and_a_singular_curvature(rng):
    box = pgjax.Box([-1.0, 0.5, -1.0], [1.0, 0.5, 1.0])
    factor = np.asarray([[1.0, 0.0, 0.0], [0.4, 0.9, 0.0], [0.7, 0.3, 0.0]])  # of rank two
    vertex = rng.normal(size=(50, 3))
    given = np.asarray(solve(jnp.asarray(factor, jnp.float32), jnp.asarray(vertex, jnp.float32), box))
    np.testing.assert_array_equal(given[:, 1], 0.5)
    best, _ = pgjax.problems.box_quadratic_maximum(-factor @ factor.T, vertex @ factor @ factor.T, box)
    np.testing.assert_allclose(value(factor, vertex, given), value(factor, vertex, best), atol=1e-5)


@pytest.mark.parametrize("scale", [1e-8, 1e6])
def test_the_maximum_does_not_depend_on_the_scale_of_the_curvature(scale, rng):
    """Where coordinates are held too, whose place in the linear system is not of the curvature's size."""
    box = pgjax.Box([-1.0] * 4, [1.0] * 4)
    factor = jnp.asarray(random_factor(rng, 4, 30.0), jnp.float32)
    vertex = jnp.asarray(rng.normal(size=(50, 4)) * 2, jnp.float32)
    np.testing.assert_allclose(solve(factor * scale, vertex, box), solve(factor, vertex, box), atol=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_numbers_that_are_not_finite_end_in_the_box_and_spoil_no_other(bad, rng):
    box = pgjax.Box([-1.0] * 3, [1.0] * 3)
    factor = jnp.asarray(random_factor(rng, 3, 10.0), jnp.float32)
    vertex = jnp.asarray(rng.normal(size=(5, 3)), jnp.float32)
    for spoiled in (
        solve(factor, vertex.at[2, 1].set(bad), box),
        solve(jnp.broadcast_to(factor, (5, 3, 3)).at[2, 1, 0].set(bad), vertex, box),
    ):
        assert np.all(np.abs(spoiled) <= 1)
        kept = np.asarray([0, 1, 3, 4])
        np.testing.assert_allclose(spoiled[kept], solve(factor, vertex, box)[kept], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("factor_shape", "vertex_shape"), [((3, 2), (3,)), ((3, 3), (2,)), ((4, 3, 3), (5, 3))])
def test_shapes_that_do_not_fit_are_refused_by_name(factor_shape, vertex_shape):
    with pytest.raises(ValueError, match="factor and vertex"):
        box_quadratic_argmax(jnp.ones(factor_shape), jnp.ones(vertex_shape), pgjax.Box([0.0] * 3, [1.0] * 3))
