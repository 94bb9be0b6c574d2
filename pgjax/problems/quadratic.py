"""Quadratics over a box, with their exact maxima by enumeration of the box's faces."""

from __future__ import annotations

import itertools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from pgjax.checks import check_count
from pgjax.problems.base import Problem
from pgjax.types import Array, Box, Key

_MAX_DIMS = 8  # 3^8 = 6,561 faces


def quadratic(
    key: Key,
    num_states: int = 256,
    *,
    num_dims: int = 6,
    curvature: Literal["concave", "indefinite"] = "concave",
    box: Box | None = None,
) -> Problem:
    """Maximize Q(s, a) = a^T A a / 2 + s^T a over a box; one random matrix A, a linear term s for each state.

    A has random eigenvectors, so the box's corners matter in no single coordinate: clipping the unconstrained
    maximum is wrong. Its eigenvalues have sizes in [0.3, 3]; "concave": all negative (one local maximum),
    "indefinite": every second one positive (maxima on several faces). The entries of s are standard normal.

    Args:
        key: random key, for A and the states.
        num_states: number of states B.
        num_dims: N, at most 8.
        curvature: "concave" or "indefinite".
        box: the actions, default [-1, 1]^N.

    Returns: a `Problem`; a state `[N]` is the linear term.
    Raises: ValueError: a count out of range, an unknown curvature, a box of other than N dimensions.
    """
    check_count("num_states", num_states)
    check_count("num_dims", num_dims)
    if num_dims > _MAX_DIMS:
        raise ValueError(f"num_dims must be at most {_MAX_DIMS}: 3^N faces are enumerated; got {num_dims}")
    if curvature not in ("concave", "indefinite"):
        raise ValueError(f'curvature must be "concave" or "indefinite"; got {curvature!r}')
    box = Box(np.full(num_dims, -1.0), np.full(num_dims, 1.0)) if box is None else box
    if box.num_dims != num_dims:
        raise ValueError(f"box must have num_dims = {num_dims} dimensions; got {box.num_dims}")
    key_vectors, key_values, key_states = jax.random.split(key, 3)
    vectors = np.asarray(jax.random.orthogonal(key_vectors, num_dims), np.float64)
    values = -np.asarray(jax.random.uniform(key_values, (num_dims,), minval=0.3, maxval=3.0), np.float64)
    if curvature == "indefinite":
        values[::2] *= -1
    matrix = np.asarray((vectors * values) @ vectors.T, np.float32).astype(np.float64)
    matrix = (matrix + matrix.T) / 2
    states = jax.random.normal(key_states, (num_states, num_dims))

    def objective(state: Array, action: Array) -> Array:
        row = jnp.asarray(matrix, action.dtype)
        return 0.5 * action @ jnp.matmul(row, action, precision="highest") + jnp.matmul(
            state, action, precision="highest"
        )

    best_action, maximum = box_quadratic_maximum(matrix, np.asarray(states, np.float64), box)
    return Problem(states, objective, box, maximum, best_action)


def box_quadratic_maximum(matrix: np.ndarray, linear: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """The exact maximum of a^T A a / 2 + b^T a over a box, whatever A's curvature, in float64.

    In each dimension the maximum is at the low bound, at the high one, or stationary: each of the 3^N choices
    (faces) has one stationary point, by a linear solve; the best of those inside the box is the maximum.

    Args:
        matrix: A, symmetric, shape `[N, N]`.
        linear: b, shape `[B, N]`.
        box: the actions.

    Returns: the maximizing actions `[B, N]` and the maxima `[B]`.
    Cost: 3^N linear solves and 3^N B evaluations, on the host.
    """
    num_dims = box.num_dims
    choice = np.array(list(itertools.product((0, 1, 2), repeat=num_dims)))  # [F, N]: low, high, free
    free = choice == 2
    low, high = np.asarray(box.low, np.float64), np.asarray(box.high, np.float64)
    fixed = np.where(choice == 1, high, np.where(choice == 0, low, 0.0))
    system = np.where(free[:, :, None] & free[:, None, :], matrix, 0.0) + np.eye(num_dims) * ~free[:, None, :]
    inverse = np.linalg.pinv(system, hermitian=True)  # a singular face's maximum is on a smaller face too
    best_action = np.empty((len(linear), num_dims))
    maximum = np.empty(len(linear))
    for i, b in enumerate(linear):
        right = np.where(free, -(b + fixed @ matrix), fixed)
        actions = np.einsum("fij,fj->fi", inverse, right)
        inside = np.all((actions >= low - 1e-12) & (actions <= high + 1e-12), axis=1)
        actions = np.clip(actions[inside], low, high)
        values = 0.5 * np.einsum("fi,ij,fj->f", actions, matrix, actions) + actions @ b
        j = int(np.argmax(values))
        best_action[i], maximum[i] = actions[j], values[j]
    return best_action, maximum
