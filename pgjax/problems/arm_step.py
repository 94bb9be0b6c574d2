"""One bounded move of the six-joint arm towards a target that is mostly out of reach, with certified bounds."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from pgjax.checks import check_count
from pgjax.problems.arm import Robot, link_lengths_m, pose_objective, tool_pose, tool_pose_jacobian
from pgjax.problems.base import Problem
from pgjax.types import Array, Box, Key

_TARGET_REACH = 3.0  # targets are up to this many moves away, in every joint
_NUM_STARTS = 8
_NUM_STEPS = 100


def six_joint_arm_step(
    key: Key,
    num_states: int = 64,
    *,
    reach_rad: float = 0.05,
    orientation_weight_m2: float = 0.1,
    robot: Robot = "ur5e",
) -> Problem:
    """Move every joint by at most reach_rad, to be as near to the target's pose as possible.

    `Q(s, a) = -( |p(q + a) - p_s|^2 + beta |R(q + a) - R_s|_F^2 / 2 )`, a in `[-reach_rad, reach_rad]^6`

    as in `six_joint_arm`, from the current joint angles q, uniform in [-pi, pi]^6. The target is the pose of
    angles q + 3 u, u uniform in the box: seldom within one move, so the maximum is below 0, mostly with some
    joints at their bounds. It is bracketed: attained by local searches from 8 starts, and bounded from above
    with the curvature of the kinematics, tightly where reach_rad is small.

    Args:
        key: random key, for the current angles, the targets and the starts.
        num_states: number of states B.
        reach_rad: largest move of a joint, in rad, in (0, pi].
        orientation_weight_m2: beta, in m^2.
        robot: "ur5e" or "ur5".

    Returns:
        a `Problem` with bracketed maxima; a state `[18]` is the target's position in m (3), its rotation matrix
        row by row (9) and the current joint angles in rad (6).
    Raises:
        ValueError: num_states < 1, reach_rad or a weight out of range, an unknown robot.
    Cost:
        a call as for `six_joint_arm`.
    """
    check_count("num_states", num_states)
    if not 0 < reach_rad <= math.pi:
        raise ValueError(f"reach_rad must be in (0, pi]; got {reach_rad}")
    of_pose = pose_objective(orientation_weight_m2, robot)
    box = Box(np.full(6, -reach_rad), np.full(6, reach_rad))
    key_angles, key_targets, key_starts = jax.random.split(key, 3)
    angles_rad = jax.random.uniform(key_angles, (num_states, 6), minval=-math.pi, maxval=math.pi)
    moves_rad = reach_rad * _TARGET_REACH * jax.random.uniform(key_targets, (num_states, 6), minval=-1.0)
    targets = tool_pose(np.asarray(angles_rad + moves_rad, np.float64), robot)
    states = jnp.concatenate([jnp.asarray(targets, jnp.float32), angles_rad], axis=-1)

    def objective(state: Array, action: Array) -> Array:
        return of_pose(state[..., :12], state[..., 12:] + action)

    uniform = jax.random.uniform(key_starts, (num_states, _NUM_STARTS, 6), minval=-reach_rad, maxval=reach_rad)
    rows = np.asarray(states, np.float64)
    errors = functools.partial(_errors, orientation_weight_m2=orientation_weight_m2, robot=robot)
    moves = _least_errors(lambda a: errors(rows[:, None], a), np.asarray(uniform, np.float64), reach_rad)
    values = -np.sum(np.square(errors(rows[:, None], moves)[0]), axis=-1)
    unmoved = errors(rows, np.zeros((num_states, 6)))
    upper_bound = _upper_bound(*unmoved, reach_rad, orientation_weight_m2, robot)
    best = np.argmax(values, axis=1)
    maximum, best_action = values[np.arange(num_states), best], moves[np.arange(num_states), best]
    return Problem(states, objective, box, maximum, best_action, upper_bound)


def _errors(
    states: np.ndarray, moves: np.ndarray, orientation_weight_m2: float, robot: Robot
) -> tuple[np.ndarray, np.ndarray]:
    """e `[..., 12]`, with Q = -|e|^2, and its Jacobian for states `[..., 18]` and moves `[..., 6]`."""
    weight = np.asarray([1.0] * 3 + [math.sqrt(orientation_weight_m2 / 2)] * 9)
    angles_rad = states[..., 12:] + moves
    error = weight * (tool_pose(angles_rad, robot) - states[..., :12])
    return error, weight[:, None] * tool_pose_jacobian(angles_rad, robot)


def _least_errors(
    errors: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], moves: np.ndarray, reach_rad: float
) -> np.ndarray:
    """Local minima of |e|^2 over the box, from moves `[..., 6]`: projected Levenberg-Marquardt steps.

    Reference:
        Kanzow, Yamashita & Fukushima (2004), Levenberg-Marquardt methods with strong local convergence properties
        for solving nonlinear equations with convex constraints.
    """
    error, jacobian = errors(moves)
    damping = np.full(moves.shape[:-1], 1e-3)
    for _ in range(_NUM_STEPS):
        gradient = np.einsum("...ki,...k->...i", jacobian, error)
        fixed = np.where(gradient > 0, moves <= -reach_rad, moves >= reach_rad)
        free = ~(fixed[..., :, None] | fixed[..., None, :])
        system = np.einsum("...ki,...kj->...ij", jacobian, jacobian) * free
        system += (damping[..., None] + fixed)[..., None] * np.eye(6)
        step = np.linalg.solve(system, np.where(fixed, 0, -gradient)[..., None])[..., 0]
        trial = np.clip(moves + step, -reach_rad, reach_rad)
        trial_error, trial_jacobian = errors(trial)
        better = np.sum(trial_error**2, axis=-1) < np.sum(error**2, axis=-1)
        moves, error = (np.where(better[..., None], *pair) for pair in ((trial, moves), (trial_error, error)))
        jacobian = np.where(better[..., None, None], trial_jacobian, jacobian)
        damping = np.clip(np.where(better, damping / 4, damping * 4), 1e-12, 1e6)
    return moves


def _upper_bound(
    errors: np.ndarray, jacobians: np.ndarray, reach_rad: float, orientation_weight_m2: float, robot: Robot
) -> np.ndarray:
    """No move has a higher Q, shape `[B]`; errors and Jacobians are those of no move.

    Q = -|e(a)|^2. By Taylor's theorem |e(a)| >= |e(0) + J a| - r. The least |e(0) + J a| is a convex problem;
    whatever point x a solver returns, the square is at least its value at x plus the least change along the
    gradient there. And |d^2 e / da_i da_j| is at most sqrt(l_k^2 + beta), k = max(i, j), with l_k the length of
    the arm beyond joint k: second derivatives of p are z_i x (z_j x (p - p_k)), those of R have a norm of at
    most sqrt 2, and e weights R by sqrt(beta / 2).
    """
    length_m = np.cumsum(link_lengths_m(robot)[::-1])[::-1]
    curvature = np.sqrt(length_m**2 + orientation_weight_m2)
    remainder = 0.5 * reach_rad**2 * np.sum((2 * np.arange(6) + 1) * curvature)
    upper_bound = np.empty(len(errors))
    for i, (error, jacobian) in enumerate(zip(errors, jacobians, strict=True)):
        move = optimize.lsq_linear(jacobian, -error, (-reach_rad, reach_rad), method="bvls").x
        left = error + jacobian @ move
        gradient = 2 * jacobian.T @ left
        square = left @ left - gradient @ move - reach_rad * np.sum(np.abs(gradient))
        upper_bound[i] = -(max(math.sqrt(max(square, 0.0)) - remainder, 0.0) ** 2)
    return upper_bound
