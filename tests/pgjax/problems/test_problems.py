"""Problems: the stated maxima are maxima, by other means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import optimize

import pgjax
from pgjax import problems
from tests.deep import deep

UR5E_DH = [  # a m, d m, alpha rad
    (0.0, 0.1625, np.pi / 2),
    (-0.425, 0.0, 0.0),
    (-0.3922, 0.0, 0.0),
    (0.0, 0.1333, np.pi / 2),
    (0.0, 0.0997, -np.pi / 2),
    (0.0, 0.0996, 0.0),
]


def pose_by_matrices(angles_rad):
    """The product of the six homogeneous transforms of the manufacturer's table."""
    pose = np.eye(4)
    for theta, (a, d, alpha) in zip(angles_rad, UR5E_DH, strict=True):
        c, s, ca, sa = np.cos(theta), np.sin(theta), np.cos(alpha), np.sin(alpha)
        pose = pose @ [[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1]]
    return pose


def test_forward_kinematics_equals_the_product_of_transforms(rng):
    with jax.enable_x64(True):
        poses = jax.jit(problems.forward_kinematics)
        for angles_rad in rng.uniform(-np.pi, np.pi, (20, 6)):
            position, rotation = poses(angles_rad)
            expected = pose_by_matrices(angles_rad)
            np.testing.assert_allclose(position, expected[:3, 3], atol=1e-12)
            np.testing.assert_allclose(rotation, expected[:3, :3], atol=1e-12)


def test_forward_kinematics_at_zero_is_the_manufacturers():
    position, _ = problems.forward_kinematics(jnp.zeros((2, 6)))
    np.testing.assert_allclose(position, [[-0.8172, -0.2329, 0.0628]] * 2, atol=1e-6)
    position, _ = problems.forward_kinematics(jnp.zeros(6), "ur5")
    np.testing.assert_allclose(position, [-0.81725, -0.19145, -0.005491], atol=1e-6)


def test_the_arms_maximum_is_zero_at_the_joint_angles_of_the_target(key):
    arm = problems.six_joint_arm(key, 64)
    values = jax.vmap(arm.objective)(arm.states, jnp.asarray(arm.best_action, jnp.float32))
    np.testing.assert_array_equal(arm.maximum, 0)
    np.testing.assert_allclose(values, 0, atol=1e-11)
    others = jax.vmap(arm.objective)(arm.states, jnp.roll(jnp.asarray(arm.best_action, jnp.float32), 1, axis=0))
    assert jnp.all(others < -1e-4)


def test_the_arms_error_is_that_of_the_poses(rng, key):
    arm = problems.six_joint_arm(key, 8, orientation_weight_m2=0.3)
    for state, action in zip(np.asarray(arm.states, np.float64), rng.uniform(-np.pi, np.pi, (8, 6)), strict=True):
        pose = pose_by_matrices(action)
        angle_rad = np.arccos(np.clip((np.trace(pose[:3, :3].T @ state[3:].reshape(3, 3)) - 1) / 2, -1, 1))
        expected = -(np.sum((pose[:3, 3] - state[:3]) ** 2) + 0.3 * 4 * np.sin(angle_rad / 2) ** 2)
        given = arm.objective(jnp.asarray(state, jnp.float32), jnp.asarray(action, jnp.float32))
        np.testing.assert_allclose(given, expected, rtol=1e-4)


@pytest.mark.deep
@pytest.mark.parametrize("order", [1, deep(2)])
def test_the_arms_gradient_in_closed_form_is_its_derivative(order, key):
    arm = problems.six_joint_arm(key, 2)
    with jax.enable_x64(True):
        arguments = (np.asarray(arm.states[0], np.float64), np.asarray(arm.best_action[1], np.float64))
        check_grads(jax.jit(arm.objective), arguments, order=order)


@pytest.mark.deep
def test_the_arms_objective_takes_batches_too(key):
    arm = problems.six_joint_arm(key, 3)
    actions = jnp.roll(jnp.asarray(arm.best_action, jnp.float32), 1, axis=0)
    one_by_one = jax.vmap(jax.value_and_grad(arm.objective, argnums=1))(arm.states, actions)
    np.testing.assert_allclose(arm.objective(arm.states, actions), one_by_one[0], rtol=1e-6)
    gradient = jax.grad(lambda a: jnp.sum(arm.objective(arm.states, a)))(actions)
    np.testing.assert_allclose(gradient, one_by_one[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("curvature", ["concave", "indefinite"])
@pytest.mark.parametrize("num_dims", [deep(1), 3, deep(6)])
def test_no_action_beats_the_quadratics_maximum(curvature, num_dims, rng, key):
    box = pgjax.Box(np.full(num_dims, -1.0), np.linspace(0.5, 2.0, num_dims))
    problem = problems.quadratic(key, 5, num_dims=num_dims, curvature=curvature, box=box)
    attained = jax.vmap(problem.objective)(problem.states, jnp.asarray(problem.best_action, jnp.float32))
    np.testing.assert_allclose(attained, problem.maximum, rtol=1e-5, atol=1e-5)
    assert np.all((problem.best_action >= box.low) & (problem.best_action <= box.high))
    value_and_grad = jax.jit(jax.value_and_grad(lambda a, s: -problem.objective(s, a)))
    for state, maximum in zip(np.asarray(problem.states), problem.maximum, strict=True):
        starts = rng.uniform(box.low, box.high, (20, num_dims))
        found = [
            -optimize.minimize(
                lambda a: tuple(np.asarray(x, np.float64) for x in value_and_grad(np.float32(a), state)),  # noqa: B023
                start, jac=True, method="L-BFGS-B", bounds=list(zip(box.low, box.high, strict=True)),
            ).fun
            for start in starts
        ]  # fmt: skip
        assert max(found) <= maximum + 1e-4
        if num_dims < 6 or curvature == "concave":
            assert max(found) == pytest.approx(maximum, abs=1e-3)


def test_clipping_the_unconstrained_maximum_of_a_quadratic_is_not_the_maximum():
    matrix = np.array([[-1.0, 0.9], [0.9, -1.0]])
    linear = np.array([[2.0, 0.0]])
    action, maximum = problems.box_quadratic_maximum(matrix, linear, pgjax.Box([-1.0, -1.0], [1.0, 1.0]))
    np.testing.assert_allclose(action, [[1.0, 0.9]])
    clipped = np.clip(np.linalg.solve(-matrix, linear[0]), -1, 1)
    assert maximum[0] > 0.5 * clipped @ matrix @ clipped + linear[0] @ clipped + 1e-3


def test_a_singular_matrix_has_its_maximum_at_a_bound():
    action, maximum = problems.box_quadratic_maximum(
        np.zeros((2, 2)), np.array([[1.0, -2.0]]), pgjax.Box([-1] * 2, [3] * 2)
    )
    np.testing.assert_allclose(action, [[3.0, -1.0]])
    np.testing.assert_allclose(maximum, [5.0])


SQUARE = pgjax.Box([-1.0] * 2, [1.0] * 2)


@pytest.mark.parametrize(
    "problem",
    [problems.quadratic, problems.planted_peaks, problems.separable, problems.fitted_critic],
    ids=lambda make: make.__name__,
)
def test_whole_numbers_are_actions_too(problem, key):
    """They must not make integers of the problem's own numbers."""
    made = problem(num_states=1) if problem is problems.fitted_critic else problem(key, 1)
    action = jnp.asarray([0, 1, -1, 0, 1, 0])
    given = made.objective(made.states[0], action)
    np.testing.assert_allclose(given, made.objective(made.states[0], action.astype(jnp.float32)), rtol=1e-6)


def test_a_quadratic_of_whole_numbers_has_its_maximum_between_them():
    action, maximum = problems.box_quadratic_maximum(np.array([[-2]]), np.array([[1]]), pgjax.Box([-1], [1]))
    np.testing.assert_allclose(action, [[0.5]])
    np.testing.assert_allclose(maximum, [0.25])


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda k: problems.six_joint_arm(k, 0), "num_targets"),
        (lambda k: problems.six_joint_arm(k, 1.5), "num_targets"),
        (lambda k: problems.six_joint_arm(k, orientation_weight_m2=-1.0), "orientation_weight_m2"),
        (lambda k: problems.six_joint_arm(k, robot="ur10"), "robot"),
        (lambda k: problems.forward_kinematics(jnp.zeros(5)), "angles_rad"),
        (lambda k: problems.forward_kinematics(jnp.zeros(6), "ur10"), "robot"),
        (lambda k: problems.quadratic(k, 0), "num_states"),
        (lambda k: problems.quadratic(k, curvature="convex"), "curvature"),
        (lambda k: problems.quadratic(k, box=pgjax.Box([0.0], [1.0])), "box"),
        (lambda k: problems.quadratic(k, box=(-1.0, 1.0)), "box"),
        (lambda k: problems.box_quadratic_maximum(np.eye(2), np.ones((1, 2)), pgjax.Box([0], [1])), "matrix"),
        (lambda k: problems.box_quadratic_maximum(np.triu(np.ones((2, 2))), np.ones((1, 2)), SQUARE), "matrix"),
        (lambda k: problems.box_quadratic_maximum(np.eye(2), np.ones(2), SQUARE), "linear"),
    ],
)
def test_bad_settings_are_refused_by_name(call, name, key):
    with pytest.raises(ValueError, match=f"^{name} "):
        call(key)
