"""Exact equilibria of zero-sum matrix games, on the host in float64: the oracle that dynamics are judged by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog
from scipy.special import softmax

from pgjax.games.matrix import as_matrix
from pgjax.types import ArrayLike

_MAX_NEWTON_STEPS = 200
_TOLERANCE = 1e-12


class Equilibrium(NamedTuple):
    """Strategies of both players, and the row player's payoff, on the host.

    Fields:
        strategy: the row player's probabilities, float64, shape `[A1]`.
        opponent: the column player's probabilities, float64, shape `[A2]`.
        value: the row player's expected payoff, a number.
    """

    strategy: np.ndarray
    opponent: np.ndarray
    value: float


def nash_equilibrium(payoff: ArrayLike) -> Equilibrium:
    """A Nash equilibrium of a zero-sum game, by linear programming.

    max v subject to `x^T A >= v` in every column, x a strategy; the opponent's strategy is the dual solution.
    Where there are several equilibria, one of them (their value is the same).

    Args:
        payoff: A, shape `[A1, A2]`.

    Returns:
        an `Equilibrium`.
    Raises:
        ValueError: wrong shape or not finite.
        RuntimeError: the solver failed.
    Reference:
        Dantzig (1951), A proof of the equivalence of the programming problem and the game problem.
    """
    matrix = as_matrix(payoff)
    num_rows, num_columns = matrix.shape
    scale = np.max(np.abs(matrix)) or 1.0  # the solver's tolerances are absolute
    result = linprog(
        c=np.append(np.zeros(num_rows), -1.0),  # maximize v
        A_ub=np.hstack([-matrix.T / scale, np.ones((num_columns, 1))]),
        b_ub=np.zeros(num_columns),
        A_eq=np.append(np.ones(num_rows), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * num_rows + [(None, None)],
        method="highs",
    )
    if not result.success:
        raise RuntimeError(f"the linear program was not solved: {result.message}")
    strategy, opponent = (np.maximum(x, 0) for x in (result.x[:-1], -result.ineqlin.marginals))
    return _equilibrium(matrix, strategy / strategy.sum(), opponent / opponent.sum())


def quantal_response_equilibrium(payoff: ArrayLike, temperature: float) -> Equilibrium:
    """The logit quantal response equilibrium, the Nash equilibrium of the game with temperature * entropy.

    `x = softmax(A y / tau)`, `y = softmax(-A^T x / tau)`; it is unique. Solved by Newton's method on the logits
    with
    backtracking, which converges from anywhere: the Jacobian, I plus the product of a skew-symmetric matrix and a
    positive semidefinite one, is never singular.

    Args:
        payoff: A, shape `[A1, A2]`.
        temperature: tau > 0.

    Returns:
        the `Equilibrium`.
    Raises:
        ValueError: wrong shape or not finite; temperature <= 0.
        RuntimeError: Newton's method failed, which happens at temperatures far below the payoffs' differences.
    Reference:
        McKelvey & Palfrey (1995), Quantal response equilibria for normal form games.
    """
    matrix = as_matrix(payoff)
    if np.ndim(temperature) != 0:
        raise ValueError(f"temperature must be a number; got shape {np.shape(temperature)}")
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be positive and finite; got {temperature}")
    num_rows, num_columns = matrix.shape
    coupling = np.block(
        [[np.zeros((num_rows, num_rows)), matrix], [-matrix.T, np.zeros((num_columns, num_columns))]]
    )

    def strategies(logits):
        return np.concatenate([softmax(logits[:num_rows]), softmax(logits[num_rows:])])

    def residual(logits):
        return logits - coupling @ strategies(logits) / temperature

    logits = np.zeros(num_rows + num_columns)
    for _ in range(_MAX_NEWTON_STEPS):
        now = residual(logits)
        if np.max(np.abs(now)) <= _TOLERANCE * max(1.0, np.max(np.abs(logits))):
            x = strategies(logits)
            return _equilibrium(matrix, x[:num_rows], x[num_rows:])
        logits = _newton_step(logits, now, residual, coupling / temperature, strategies(logits), num_rows)
    raise RuntimeError(f"temperature {temperature} is too low for Newton's method on this payoff")


def _newton_step(logits, now, residual, coupling, probabilities, num_rows):
    """Newton's step, halved until it lowers the residual's norm."""
    same_player = np.arange(len(logits)) < num_rows
    covariance = np.diag(probabilities) - np.outer(probabilities, probabilities) * (
        same_player[:, None] == same_player[None]
    )
    step = np.linalg.solve(np.eye(len(logits)) - coupling @ covariance, now)
    size = 1.0
    while (
        np.linalg.norm(residual(logits - size * step)) > (1 - 1e-4 * size) * np.linalg.norm(now) and size > 1e-12
    ):
        size /= 2
    return logits - size * step


def _equilibrium(matrix: np.ndarray, strategy: np.ndarray, opponent: np.ndarray) -> Equilibrium:
    return Equilibrium(strategy, opponent, float(strategy @ matrix @ opponent))
