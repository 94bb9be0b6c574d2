"""The one driver behind all dynamics: play against oneself or between two, average, judge, keep the trajectory."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, overload

import jax
import jax.numpy as jnp

from pgjax.checks import check_count
from pgjax.games.base import Dynamics, State
from pgjax.games.matrix import action_values, as_game, exploitability
from pgjax.types import Array, ArrayLike


class Outcome(NamedTuple):
    """What came of it; of two players every strategy is a pair.

    Fields:
        log_strategy: the last strategy's log-probabilities, shape `[A]`, normalized.
        average: the average of the strategies played, the initial one's first, the last one's not: `[A]`.
        exploitability: of the last strategy.
        average_exploitability: of the average.
    Trajectories lead with `[num_steps]` in every field.
    """

    log_strategy: Any
    average: Any
    exploitability: Array
    average_exploitability: Array

    @property
    def strategy(self) -> Any:
        """The last strategy's probabilities."""
        return jax.tree.map(jnp.exp, self.log_strategy)


@overload
def play(
    dynamics: Dynamics, payoff: ArrayLike, strategy: ArrayLike, opponent: ArrayLike | None = None, *,
    num_steps: int, return_trajectory: Literal[False] = False,
) -> Outcome: ...  # fmt: skip
@overload
def play(
    dynamics: Dynamics, payoff: ArrayLike, strategy: ArrayLike, opponent: ArrayLike | None = None, *,
    num_steps: int, return_trajectory: Literal[True],
) -> tuple[Outcome, Outcome]: ...  # fmt: skip
def play(dynamics, payoff, strategy, opponent=None, *, num_steps, return_trajectory=False):
    """Let a dynamics learn a zero-sum game, in self-play or between two players who move at once.

    In each step every player sees the expected payoff of each action against the other's strategy. Average
    strategies keep the folk theorem's promise exactly: their NashConv is the players' regrets / num_steps.
    Safe under jit, vmap and scan: over strategies, payoffs, and settings of the dynamics (made inside).

    Args:
        dynamics: from `pgjax.games`; both players'.
        payoff: the row player's, shape `[A1, A2]`.
        strategy: probabilities to start from, shape `[A1]`. Traced ones are not checked: negative ones count as
            0, the rest is normalized, nothing left counts as uniform.
        opponent: the column player's, shape `[A2]`; None for self-play, in a game whose payoff is antisymmetric.
        num_steps: >= 1.
        return_trajectory: whether to return the outcome after every step too.

    Returns:
        an `Outcome`, in JAX's default floating dtype; with `return_trajectory` also one that leads with
        `[num_steps]`.
    Raises:
        ValueError: num_steps < 1, wrong shapes, strategies that are not probabilities, self-play of a payoff that
            is not antisymmetric.
    Cost:
        num_steps products with the payoff a player; no memory beside the trajectory.
    Differentiable in:
        payoff, strategies inside the simplex, settings.
    """
    check_count("num_steps", num_steps)
    payoff, states = start(dynamics, payoff, strategy, opponent)

    def step(carry, i):
        states, average = carry
        played = strategies_of(states)
        average = tuple(mean + (x - mean) / (i + 1) for mean, x in zip(average, played, strict=True))
        carry = advance(dynamics, payoff, states), average
        return carry, (_outcome(payoff, *carry) if return_trajectory else None)

    steps = jnp.arange(num_steps, dtype=payoff.dtype)
    last, trajectory = jax.lax.scan(step, (states, strategies_of(states)), steps)
    outcome = _outcome(payoff, *last)
    return (outcome, trajectory) if return_trajectory else outcome


def start(
    dynamics: Dynamics, payoff: ArrayLike, strategy: ArrayLike, opponent: ArrayLike | None
) -> tuple[Array, tuple[State, ...]]:
    """The payoff and the first state of each player: one in self-play."""
    game, strategies = as_game(payoff, strategy, opponent)
    logs = tuple(map(_log_probabilities, strategies))
    values = action_values(game, tuple(map(jnp.exp, logs)))
    return game, tuple(dynamics.init(log, value) for log, value in zip(logs, values, strict=True))


def advance(dynamics: Dynamics, payoff: Array, states: tuple[State, ...]) -> tuple[State, ...]:
    """The states after one step, in which all players move at once."""
    values = action_values(payoff, strategies_of(states))
    return tuple(dynamics.step(state, value) for state, value in zip(states, values, strict=True))


def strategies_of(states: tuple[State, ...]) -> tuple[Array, ...]:
    """The players' probabilities."""
    return tuple(jnp.exp(state.log_strategy) for state in states)


def _outcome(payoff: Array, states: tuple[State, ...], average: tuple[Array, ...]) -> Outcome:
    logs = tuple(state.log_strategy for state in states)
    judged = (exploitability(payoff, *strategies) for strategies in (strategies_of(states), average))
    shown = (logs[0], average[0]) if len(states) == 1 else (logs, average)
    return Outcome(*shown, *judged)


def _log_probabilities(strategy: Array) -> Array:
    """Normalized log-probabilities, -inf for what is not positive; uniform where nothing is."""
    positive = (strategy > 0) & jnp.isfinite(strategy)
    logs = jnp.where(positive, jnp.log(jnp.where(positive, strategy, 1)), -jnp.inf)
    return jax.nn.log_softmax(jnp.where(jnp.any(positive), logs, 0))
