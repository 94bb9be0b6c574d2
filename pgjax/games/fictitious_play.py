"""Fictitious play: the value-based side, greedy in the average values."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pgjax.games.base import Dynamics, State, as_setting
from pgjax.types import ArrayLike


def fictitious_play(*, epsilon: ArrayLike = 0.0) -> Dynamics:
    """Learn the values of the actions, averaged over the other's past strategies, and act (epsilon-)greedily.

    `pi = (1 - epsilon) one_hot(argmax_i sum of u_i so far) + epsilon / A`; the first of equal actions counts.
    With epsilon = 0 the average strategy converges to a Nash equilibrium of a zero-sum game, but every single one
    is pure: in rock-paper-scissors its exploitability is 1 - epsilon for ever.

    Args:
        epsilon: probability of a uniform choice, in [0, 1]; may be traced (then it is clipped to that).

    Raises:
        ValueError: epsilon out of range.
    Reference:
        Brown (1951), Iterative solution of games by fictitious play; convergence: Robinson (1951), An iterative
        method of solving a game.
    """
    epsilon = as_setting("epsilon", epsilon, highest=1.0)

    def init(log_strategy, values):
        return State(log_strategy, memory=jnp.zeros_like(values))

    def step(state, values):
        total = state.memory + values
        greedy = jax.nn.one_hot(jnp.argmax(total), total.shape[0], dtype=total.dtype)
        return State(jnp.log((1 - epsilon) * greedy + epsilon / total.shape[0]), memory=total)

    return Dynamics(init, step)
