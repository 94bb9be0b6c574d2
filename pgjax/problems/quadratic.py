"""Quadratics over a box, with their exact maxima by enumeration of the faces of each block of dimensions."""

from __future__ import annotations

import itertools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from scipy.sparse import csgraph

from pgjax.checks import check_count
from pgjax.problems.base import Problem, as_floating, box_or_cube
from pgjax.types import Array, Box, Key

_MAX_BLOCK = 8  # 3^8 = 6,561 faces
_BLOCK = 6


def quadratic(
    key: Key,
    num_states: int = 256,
    *,
    num_dims: int = 6,
    curvature: Literal["concave", "indefinite"] = "concave",
    box: Box | None = None,
) -> Problem:
    """Maximize `Q(s, a) = a^T A a / 2 + s^T a` over a box; one random matrix A, a linear term s for each state.

    A has random eigenvectors, so that it couples the dimensions: clipping the unconstrained maximum is wrong. Its
    eigenvalues have sizes in [0.3, 3]; "concave": all negative (one local maximum), "indefinite": every second one
    positive (maxima on several faces). The entries of s are standard normal. Above 8 dimensions A is block
    diagonal, in blocks of 6 and a smaller last one, so that the maximum is exact.

    Args:
        key: random key, for A and the states.
        num_states: number of states B.
        num_dims: N.
        curvature: "concave" or "indefinite".
        box: the actions, default [-1, 1]^N.

    Returns:
        a `Problem`; a state `[N]` is the linear term.
    Raises:
        ValueError: a count out of range, an unknown curvature, a box of other than N dimensions.
    """
    check_count("num_states", num_states)
    check_count("num_dims", num_dims)
    if curvature not in ("concave", "indefinite"):
        raise ValueError(f'curvature must be "concave" or "indefinite"; got {curvature!r}')
    box = box_or_cube(box, num_dims)
    key_vectors, key_values, key_states = jax.random.split(key, 3)
    blocks = [num_dims] if num_dims <= _MAX_BLOCK else [_BLOCK] * (num_dims // _BLOCK)
    blocks += [num_dims - sum(blocks)] if sum(blocks) < num_dims else []
    keys = jax.random.split(key_vectors, len(blocks))
    rotations = [jax.random.orthogonal(k, n) for k, n in zip(keys, blocks, strict=True)]
    vectors = scipy.linalg.block_diag(*(np.asarray(rotation, np.float64) for rotation in rotations))
    values = -np.asarray(jax.random.uniform(key_values, (num_dims,), minval=0.3, maxval=3.0), np.float64)
    if curvature == "indefinite":
        values[::2] *= -1
    matrix = np.asarray((vectors * values) @ vectors.T, np.float32).astype(np.float64)
    matrix = (matrix + matrix.T) / 2
    states = jax.random.normal(key_states, (num_states, num_dims))

    def objective(state: Array, action: Array) -> Array:
        action = as_floating(action)
        row = jnp.asarray(matrix, action.dtype)
        return 0.5 * action @ jnp.matmul(row, action, precision="highest") + jnp.matmul(
            state, action, precision="highest"
        )

    best_action, maximum = box_quadratic_maximum(matrix, np.asarray(states, np.float64), box)
    return Problem(states, objective, box, maximum, best_action)


def box_quadratic_maximum(matrix: np.ndarray, linear: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """The exact maximum of `a^T A a / 2 + b^T a` over a box, whatever A's curvature, in float64.

    In each dimension the maximum is at the low bound, at the high one, or stationary: each of the 3^N choices
    (faces) has one stationary point, by a linear solve; the best of those inside the box is the maximum.
    Dimensions that A does not couple are maximized apart, so that N counts the largest coupled block.

    Args:
        matrix: A, symmetric, shape `[N, N]`.
        linear: b, shape `[B, N]`.
        box: the actions.

    Returns:
        the maximizing actions `[B, N]` and the maxima `[B]`.
    Raises:
        ValueError: shapes that do not fit, a matrix that is not symmetric, a block of more than 8 dimensions.
    Cost:
        3^N linear solves and 3^N B evaluations a block, on the host.
    """
    matrix, linear, low, high = (np.asarray(x, np.float64) for x in (matrix, linear, box.low, box.high))
    num_dims = box.num_dims
    if matrix.shape != (num_dims, num_dims) or not np.allclose(matrix, matrix.T):
        raise ValueError(f"matrix must be symmetric with shape {(num_dims, num_dims)}, as the box; got {matrix}")
    if linear.ndim != 2 or linear.shape[1] != num_dims:
        raise ValueError(f"linear must have shape [B, {num_dims}], as the box; got {linear.shape}")
    num_blocks, block_of = csgraph.connected_components(matrix != 0, directed=False)
    best_action, maximum = np.empty_like(linear), np.zeros(len(linear))
    for block in range(num_blocks):
        dims = np.flatnonzero(block_of == block)
        if len(dims) > _MAX_BLOCK:
            raise ValueError(f"matrix must couple at most {_MAX_BLOCK} dimensions, for 3^N faces; got {len(dims)}")
        actions, maxima = _block_maximum(matrix[np.ix_(dims, dims)], linear[:, dims], low[dims], high[dims])
        best_action[:, dims] = actions
        maximum += maxima
    return best_action, maximum


def _block_maximum(
    matrix: np.ndarray, linear: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The maximum by enumeration of all faces."""
    choice = np.array(list(itertools.product((0, 1, 2), repeat=len(low))))  # [F, N]: low, high, free
    free = choice == 2
    fixed = np.where(choice == 1, high, np.where(choice == 0, low, 0.0))
    system = np.where(free[:, :, None] & free[:, None, :], matrix, 0.0) + np.eye(len(low)) * ~free[:, None, :]
    inverse = np.linalg.pinv(system, hermitian=True)  # a singular face's maximum is on a smaller face too
    best_action, maximum = np.empty_like(linear), np.empty(len(linear))
    for i, b in enumerate(linear):
        right = np.where(free, -(b + fixed @ matrix), fixed)
        actions = np.einsum("fij,fj->fi", inverse, right)
        inside = np.all((actions >= low - 1e-12) & (actions <= high + 1e-12), axis=1)
        actions = np.clip(actions[inside], low, high)
        values = 0.5 * np.einsum("fi,ij,fj->f", actions, matrix, actions) + actions @ b
        j = int(np.argmax(values))
        best_action[i], maximum[i] = actions[j], values[j]
    return best_action, maximum
