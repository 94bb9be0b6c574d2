"""A robot arm with six joints: reach a pose. The best value is known, and the landscape is a real one."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from pgjax.checks import check_choice, check_count
from pgjax.materialize import materialize
from pgjax.problems.base import Problem
from pgjax.types import Array, Box, Key

# Denavit-Hartenberg parameters (a in m, d in m, alpha in rad), base to tool.
# Reference: Universal Robots, DH parameters for calculations of kinematics and dynamics.
_ALPHA_RAD = (math.pi / 2, 0.0, 0.0, math.pi / 2, -math.pi / 2, 0.0)
_DH = {
    "ur5e": ((0.0, -0.425, -0.3922, 0.0, 0.0, 0.0), (0.1625, 0.0, 0.0, 0.1333, 0.0997, 0.0996), _ALPHA_RAD),
    "ur5": (
        (0.0, -0.425, -0.39225, 0.0, 0.0, 0.0),
        (0.089159, 0.0, 0.0, 0.10915, 0.09465, 0.0823),
        _ALPHA_RAD,
    ),
}
Robot: TypeAlias = Literal["ur5e", "ur5"]
Vector: TypeAlias = tuple[Array, ...]
Frame: TypeAlias = tuple[Vector, Vector, Vector, Vector]  # origin, and axes x, y, z
Number: TypeAlias = Array | float


def six_joint_arm(
    key: Key, num_targets: int = 256, *, orientation_weight_m2: float = 0.1, robot: Robot = "ur5e"
) -> Problem:
    """Reach the pose of each target with a six-joint arm (UR5e), every joint anywhere in [-pi, pi].

    `Q(s, a) = -( |p(a) - p_s|^2 + beta |R(a) - R_s|_F^2 / 2 )`

    with (p, R) the tool's position and rotation; `|R - R_s|_F^2 / 2 = 4 sin^2(theta / 2)` is about theta^2 for
    the angle theta between the orientations. A target is the pose of joint angles drawn uniformly, so it can be
    reached and the maximum is 0 (up to eight solutions share it).

    Args:
        key: random key, for the targets.
        num_targets: number of states B.
        orientation_weight_m2: beta, in m^2 (a radian of orientation error counts as sqrt(beta) m).
        robot: "ur5e" or "ur5".

    Returns:
        a `Problem`; a state `[12]` is the position in m (3) and the rotation matrix row by row (9).
    Raises:
        ValueError: num_targets < 1, a negative weight, an unknown robot.
    Cost:
        twelve sines and about 250 multiplications and additions a call.
    Reference:
        Q and its maximum are pgjax's own; kinematics from the manufacturer's parameters.
    """
    check_count("num_targets", num_targets)
    objective = pose_objective(orientation_weight_m2, robot)
    box = Box(np.full(6, -math.pi), np.full(6, math.pi))
    angles_rad = jax.random.uniform(key, (num_targets, 6), minval=-math.pi, maxval=math.pi)
    return Problem(
        states=jax.jit(tool_pose, static_argnums=1)(angles_rad, robot),
        objective=objective,
        box=box,
        maximum=np.zeros(num_targets),
        best_action=np.asarray(angles_rad, np.float64),
    )


def tool_pose(angles_rad: Any, robot: Robot) -> Any:
    """Position in m and rotation matrix row by row, `[..., 12]`, of joint angles `[..., 6]`, JAX's or NumPy's."""
    position, *axes = _chain(_base(angles_rad), *_turns(angles_rad), robot)[-1]
    return _stack(_in_state_order(position, axes))


def tool_pose_jacobian(angles_rad: Any, robot: Robot) -> Any:
    """Derivative of `tool_pose` in the joint angles, `[..., 12, 6]`."""
    *joints, (position, *axes) = _chain(_base(angles_rad), *_turns(angles_rad), robot)
    columns = []
    for origin, _, _, axis in joints:
        arm = tuple(p - o for p, o in zip(position, origin, strict=True))
        turned = [_cross(axis, column) for column in axes]
        columns.append(_stack(_in_state_order(_cross(axis, arm), turned)))
    return _stack(columns)


def pose_objective(orientation_weight_m2: float, robot: Robot) -> Callable[[Array, Array], Array]:
    """Q of a target's pose `[..., 12]` and joint angles, its gradient in the angles in closed form.

    Joint i turns the tool about the axis z_i through p_i, so `dp / da_i = z_i x (p - p_i)`, and the columns r_k
    of R move by `z_i x r_k`: `d(|R - R_s|_F^2 / 2) / da_i = -z_i . sum_k r_k x r_sk`. With the wrench
    `w = beta sum_k r_k x r_sk - 2 p x e` for the error `e = p - p_s`, the gradient is `z_i . (w + 2 p_i x e)`.
    What several components need is materialized, as XLA on CPU computes the chain of joints anew for each.
    """

    if not orientation_weight_m2 >= 0:
        raise ValueError(f"orientation_weight_m2 must not be negative; got {orientation_weight_m2}")
    check_choice("robot", robot, _DH)

    @jax.custom_jvp
    def objective(state: Array, action: Array) -> Array:
        return _value(state, _chain(_base(action), *_turns(action), robot)[-1])

    def _value(state: Array, tool: Frame) -> Array:
        squares = [jnp.square(p - state[..., i]) for i, p in enumerate(tool[0])]
        turned = [
            jnp.square(r - s) for r, s in zip(_flatten(tool[1:]), _flatten(_target_axes(state)), strict=True)
        ]
        return -(_sum(squares) + 0.5 * orientation_weight_m2 * _sum(turned))

    @objective.defjvp
    def objective_jvp(primals, tangents):
        (state, action), (state_dot, action_dot) = primals, tangents
        cos, sin = materialize(_turns(action))
        lower = _chain(_base(action), cos[:3], sin[:3], robot)
        upper = _chain(materialize(lower[-1]), cos[3:], sin[3:], robot, 3)
        position, *axes = upper[-1]
        error = tuple(p - state[..., i] for i, p in enumerate(position))
        twists = [_cross(r, s) for r, s in zip(axes, _target_axes(state), strict=True)]
        wrench = tuple(
            orientation_weight_m2 * sum(parts) - 2 * moment
            for *parts, moment in zip(*twists, _cross(position, error), strict=True)
        )
        wrench, error = materialize((wrench, error))
        gradient = [
            _dot(frame[3], _combine(1.0, wrench, 2.0, _cross(frame[0], error)))
            for frame in (*lower[:-1], *upper[:-1])
        ]
        reached = _stack(_in_state_order(position, axes))
        weight = jnp.asarray([2.0] * 3 + [orientation_weight_m2] * 9, reached.dtype)
        state_gradient = (reached - state) * jnp.broadcast_to(weight, reached.shape)
        value_dot = jnp.sum(jnp.stack(gradient, axis=-1) * action_dot, -1) + jnp.sum(
            state_gradient * state_dot, -1
        )
        return _value(state, upper[-1]), value_dot

    return objective


def forward_kinematics(angles_rad: Array, robot: Robot = "ur5e") -> tuple[Array, Array]:
    """Pose of the tool in the base's frame.

    Each joint: turn by the angle about z, go d along z and a along the new x, turn by alpha about it.

    Args:
        angles_rad: joint angles, shape `[..., 6]`.
        robot: "ur5e" or "ur5".

    Returns:
        position in m, shape `[..., 3]`, and rotation, shape `[..., 3, 3]`.
    Raises:
        ValueError: another shape, an unknown robot.
    Differentiable in:
        angles_rad.
    Reference:
        Denavit & Hartenberg (1955), A kinematic notation for lower-pair mechanisms.
    """
    angles_rad = jnp.asarray(angles_rad)
    if angles_rad.shape[-1:] != (6,):
        raise ValueError(f"angles_rad must have shape [..., 6]; got {angles_rad.shape}")
    check_choice("robot", robot, _DH)
    position, *axes = _chain(_base(angles_rad), *_turns(angles_rad), robot)[-1]
    return jnp.stack(position, -1), jnp.stack([jnp.stack(axis, -1) for axis in axes], -1)


def link_lengths_m(robot: Robot) -> np.ndarray:
    """Distance from each joint's origin to the next one's, the last to the tool, shape `[6]`."""
    a_m, d_m, _ = _DH[robot]
    return np.hypot(a_m, d_m)


def _turns(angles_rad: Any) -> tuple[Vector, Vector]:
    """Cosines and sines of the angles, JAX's or NumPy's, each an array of its own so that a batch vectorizes."""
    xp = angles_rad.__array_namespace__()
    angles = [angles_rad[..., i] for i in range(angles_rad.shape[-1])]
    return tuple(map(xp.cos, angles)), tuple(map(xp.sin, angles))


def _base(angles_rad: Any) -> Frame:
    xp = angles_rad.__array_namespace__()
    one = xp.ones_like(angles_rad[..., 0])
    zero = xp.zeros_like(one)
    return (zero, zero, zero), (one, zero, zero), (zero, one, zero), (zero, zero, one)


def _chain(frame: Frame, cosines: Vector, sines: Vector, robot: Robot, first: int = 0) -> list[Frame]:
    """The frame of the first joint, which is given, of those after it, and what the last joint's turn leads to."""
    frames = [frame]
    for i, (cos, sin) in enumerate(zip(cosines, sines, strict=True), start=first):
        a, d, alpha = (parameters[i] for parameters in _DH[robot])
        position, x, y, z = frames[-1]
        x, turned = _combine(cos, x, sin, y), _combine(-sin, x, cos, y)
        position = tuple(p + d * zi + a * xi for p, zi, xi in zip(position, z, x, strict=True))
        cos_alpha, sin_alpha = round(math.cos(alpha), 15), round(math.sin(alpha), 15)
        y, z = _combine(cos_alpha, turned, sin_alpha, z), _combine(-sin_alpha, turned, cos_alpha, z)
        frames.append((position, x, y, z))
    return frames


def _in_state_order(position: Vector, axes: Sequence[Vector]) -> list[Array]:
    """Position, then the matrix whose columns are the axes, row by row."""
    return [*position, *(axis[row] for row in range(3) for axis in axes)]


def _stack(arrays: list[Any]) -> Any:
    return arrays[0].__array_namespace__().stack(arrays, axis=-1)


def _target_axes(state: Array) -> tuple[Vector, ...]:
    """The columns of the target's rotation matrix, which a state holds row by row after the position."""
    return tuple(tuple(state[..., 3 + 3 * row + column] for row in range(3)) for column in range(3))


def _flatten(vectors: Sequence[Vector]) -> list[Array]:
    return [number for vector in vectors for number in vector]


def _combine(p: Number, u: Vector, q: Number, v: Vector) -> Vector:
    return tuple(p * ui + q * vi for ui, vi in zip(u, v, strict=True))


def _sum(terms: list[Array]) -> Array:
    return functools.reduce(operator.add, terms)


def _dot(u: Vector, v: Vector) -> Array:
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


def _cross(u: Vector, v: Vector) -> Vector:
    return (u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0])
