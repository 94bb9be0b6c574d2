"""Zero-sum matrix games: payoffs, best responses, and how far strategies are from an equilibrium.

A game is its payoff matrix `[A1, A2]`: what the row player wins and the column player loses. A strategy is a
vector of probabilities. Where no opponent is given, it meets itself, in a game whose payoff is antisymmetric.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from pgjax.types import Array, ArrayLike

_SUM_TOLERANCE = 1e-3


def rock_paper_scissors() -> Array:
    """Rock, paper, scissors: payoff `[3, 3]`; uniform play is the only Nash equilibrium, its value 0."""
    return jnp.asarray([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])


def biased_rock_paper_scissors() -> Array:
    """Rock against scissors counts twice: payoff `[3, 3]`; Nash is (1/4, 1/2, 1/4) alone, its value 0."""
    return jnp.asarray([[0.0, -1.0, 2.0], [1.0, 0.0, -1.0], [-2.0, 1.0, 0.0]])


def expected_payoff(payoff: ArrayLike, strategy: ArrayLike, opponent: ArrayLike | None = None) -> Array:
    """The row player's expected payoff `x^T A y`.

    Args:
        payoff: A, shape `[A1, A2]`.
        strategy: the row player's probabilities x, shape `[A1]`.
        opponent: the column player's y, shape `[A2]`; None: the strategy itself.

    Returns:
        a scalar, in JAX's default floating dtype.
    Raises:
        ValueError: wrong shapes, no real numbers, known strategies that are not probabilities; no opponent, and a
            payoff that is not antisymmetric.
    Differentiable in:
        payoff, strategy, opponent.
    """
    payoff, strategies = as_game(payoff, strategy, opponent)
    return strategies[0] @ action_values(payoff, strategies)[0]


def best_response_values(
    payoff: ArrayLike, strategy: ArrayLike, opponent: ArrayLike | None = None
) -> tuple[Array, Array]:
    """What each player could win at most against the other's strategy: `max_i (A y)_i` and `max_j (-x^T A)_j`.

    Args:
        payoff, strategy, opponent: as for `expected_payoff`.


    Returns:
        two scalars, the row and the column player's.
    Raises:
        ValueError: as `expected_payoff`.
    """
    payoff, strategies = as_game(payoff, strategy, opponent)
    values = action_values(payoff, strategies)
    return jnp.max(values[0]), jnp.max(values[-1])


def nash_conv(payoff: ArrayLike, strategy: ArrayLike, opponent: ArrayLike | None = None) -> Array:
    """What the two players could gain together by best responses; 0 at the Nash equilibria alone.

    `NashConv = max_i (A y)_i - min_j (x^T A)_j`

    Args:
        payoff, strategy, opponent: as for `expected_payoff`.


    Returns:
        a scalar, never negative but by rounding.
    Raises:
        ValueError: as `expected_payoff`.
    Reference:
        Lanctot et al. (2017), A unified game-theoretic approach to multiagent reinforcement learning.
    """
    row, column = best_response_values(payoff, strategy, opponent)
    return row + column


def exploitability(payoff: ArrayLike, strategy: ArrayLike, opponent: ArrayLike | None = None) -> Array:
    """NashConv / 2: what a best response wins from the strategies, on average over the two sides.

    In a game without an advantage for either side it is how much a perfect opponent wins.

    Args:
        payoff, strategy, opponent: as for `expected_payoff`.

    Returns:
        a scalar, never negative but by rounding.
    Raises:
        ValueError: as `expected_payoff`.
    Differentiable in:
        payoff, strategy, opponent; where several responses are best, by a subgradient.
    """
    return 0.5 * nash_conv(payoff, strategy, opponent)


def as_game(payoff: ArrayLike, strategy: ArrayLike, opponent: ArrayLike | None) -> tuple[Array, tuple[Array, ...]]:
    """The payoff and one strategy (against itself) or two, in JAX's default floating dtype, shapes checked."""
    if not isinstance(payoff, jax.core.Tracer):
        payoff = as_matrix(payoff)
    shape = np.shape(payoff)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"payoff must have shape [A1, A2] with A1, A2 >= 1; got {shape}")
    if opponent is None and shape[0] != shape[1]:
        raise ValueError(f"payoff must be square where a strategy meets itself (opponent=None); got {shape}")
    if opponent is None and not isinstance(payoff, jax.core.Tracer) and not _is_antisymmetric(np.asarray(payoff)):
        raise ValueError("payoff must be antisymmetric, A = -A^T, where a strategy meets itself (opponent=None)")
    given = {"strategy": strategy} if opponent is None else {"strategy": strategy, "opponent": opponent}
    for (name, value), size in zip(given.items(), shape, strict=False):
        if np.shape(value) != (size,):
            raise ValueError(
                f"{name} must have shape [{size}], for payoff of shape {shape}; got {np.shape(value)}"
            )
        if not isinstance(value, jax.core.Tracer):
            _check_probabilities(name, as_real(name, value))
    dtype = jnp.result_type(float)
    return jnp.asarray(payoff, dtype), tuple(jnp.asarray(value, dtype) for value in given.values())


def as_matrix(payoff: ArrayLike) -> np.ndarray:
    """A known payoff in float64, on the host, its shape and numbers checked."""
    matrix = as_real("payoff", payoff)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"payoff must have shape [A1, A2] with A1, A2 >= 1; got {matrix.shape}")
    if not np.all(np.isfinite(matrix)):
        raise ValueError("payoff must be finite")
    return matrix


def as_real(name: str, value: ArrayLike) -> np.ndarray:
    """A known array in float64."""
    try:
        array = np.asarray(value)
        if np.iscomplexobj(array):
            raise TypeError("complex numbers")
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of real numbers; got {value!r}") from error


def _check_probabilities(name: str, value: np.ndarray) -> None:
    if not np.all(value >= 0) or not abs(np.sum(value) - 1) <= _SUM_TOLERANCE:
        raise ValueError(f"{name} must be probabilities: not negative, with sum 1; got {value}")


def _is_antisymmetric(matrix: np.ndarray) -> bool:
    return np.allclose(matrix, -matrix.T, rtol=1e-6, atol=1e-6 * np.max(np.abs(matrix)))


def action_values(payoff: Array, strategies: tuple[Array, ...]) -> tuple[Array, ...]:
    """Each player's expected payoff by action, `[A1]` and `[A2]`; of a strategy against itself, its own alone."""
    values = jnp.matmul(payoff, strategies[-1], precision="highest")
    return (values,) if len(strategies) == 1 else (values, -jnp.matmul(strategies[0], payoff, precision="highest"))
