"""Gradient ascent on the logits of a softmax strategy."""

from __future__ import annotations

import jax.numpy as jnp

from pgjax.games.base import Dynamics, State, as_setting, finite, normalized, without_memory
from pgjax.types import ArrayLike


def softmax_policy_gradient(*, learning_rate: ArrayLike, temperature: ArrayLike = 0.0) -> Dynamics:
    """Climb the exact gradient of the expected payoff plus temperature * entropy, in the logits.

    `theta_i += eta pi_i (q_i - pi . q)`, `q = u - tau log pi`, `pi = softmax(theta)`

    Without entropy it does not converge in zero-sum games: in self-play with an interior Nash strategy `p*`,
    `sum_i p*_i exp(-theta_i)` is conserved in continuous time, and never decreases in steps of any size (each
    moves along a tangent of a convex function's level set). In rock-paper-scissors uniform play is stable for eta
    < 18 tau / (1 + 3 tau^2), in self-play and between two players.

    Args:
        learning_rate, temperature: eta > 0 and tau >= 0, as for `hedge`.

    Raises:
        ValueError: a setting out of range.
    Reference:
        Hennes et al. (2020), Neural replicator dynamics, on softmax policy gradients. For other dynamics'
        constants of motion: Mertikopoulos, Papadimitriou & Piliouras (2018), Cycles in adversarial regularized
        learning.
    """
    rate = as_setting("learning_rate", learning_rate, positive=True)
    temperature = as_setting("temperature", temperature)

    def step(state, values):
        strategy = jnp.exp(state.log_strategy)
        soft_values = values - temperature * finite(state.log_strategy)
        gradient = strategy * (soft_values - strategy @ soft_values)
        return State(normalized(state.log_strategy + rate * gradient, state.log_strategy))

    return Dynamics(without_memory, step)
