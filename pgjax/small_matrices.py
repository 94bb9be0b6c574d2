"""Factor and solve small symmetric systems, unrolled over the columns: no LAPACK call for each of a batch."""

from __future__ import annotations

import jax.numpy as jnp

from pgjax.types import Array

__all__ = ["modified_cholesky", "solve_lower", "solve_upper"]


def modified_cholesky(matrix: Array) -> Array:
    """L with L L^T = A + E: E is zero where A is safely positive definite, else a diagonal that makes it so.

    Args:
        matrix: A, symmetric, shape `[N, N]`; N up to some dozens, as the columns are unrolled.

    Returns:
        L, lower triangular with a positive diagonal, shape `[N, N]`.
    Cost:
        N^3 / 3 operations.
    Reference:
        Gill, Murray & Wright (1981), Practical optimization, section 4.4.2.2, without interchanges.
    """
    size = matrix.shape[0]
    epsilon = jnp.finfo(matrix.dtype).eps
    diagonal = jnp.max(jnp.abs(jnp.diagonal(matrix)))
    beside = jnp.max(jnp.abs(matrix - jnp.diag(jnp.diagonal(matrix))))
    largest = jnp.maximum(jnp.maximum(diagonal, beside / max(size**2 - 1, 1) ** 0.5), epsilon)
    columns: list[Array] = []
    for j in range(size):
        column = matrix[:, j]
        for other in columns:
            column = column - other * other[j]
        below = jnp.where(jnp.arange(size) > j, column, 0)
        pivot = jnp.maximum(jnp.abs(column[j]), jnp.square(jnp.max(jnp.abs(below))) / largest)
        pivot = jnp.maximum(pivot, epsilon * largest)
        columns.append(jnp.where(jnp.arange(size) >= j, below / jnp.sqrt(pivot), 0).at[j].set(jnp.sqrt(pivot)))
    return jnp.stack(columns, axis=1)


def solve_lower(lower: Array, right: Array) -> Array:
    """x with L x = b; lower triangular `[N, N]`, right-hand side `[N]`."""
    solution = []
    for j in range(lower.shape[0]):
        solution.append(right[j] / lower[j, j])
        right = right - solution[-1] * lower[:, j]
    return jnp.stack(solution)


def solve_upper(lower: Array, right: Array) -> Array:
    """x with L^T x = b; lower triangular `[N, N]`, right-hand side `[N]`."""
    solution = []
    for j in reversed(range(lower.shape[0])):
        solution.append(right[j] / lower[j, j])
        right = right - solution[-1] * lower[j]
    return jnp.stack(solution[::-1])
