"""Hedge (multiplicative weights, natural policy gradient), and its optimistic variant."""

from __future__ import annotations

from pgjax.games.base import Dynamics, State, as_setting, finite, normalized, without_memory
from pgjax.types import ArrayLike


def hedge(*, learning_rate: ArrayLike, temperature: ArrayLike = 0.0) -> Dynamics:
    """Multiply each action's probability by exp(eta * value): the natural policy gradient of a softmax strategy.

    `log pi_i += eta (u_i - tau log pi_i)`, normalized.

    With tau = 0 the average strategy's NashConv falls as 1 / sqrt(steps) for a suitable eta, but the last one
    spirals out to the simplex's edge. With tau > 0 the last one converges to the quantal response equilibrium for
    small eta; in rock-paper-scissors uniform play is stable for eta < 2 tau / (tau^2 + 1/3).

    Args:
        learning_rate: eta > 0; may be traced (then a negative one counts as 0).
        temperature: tau >= 0; may be traced (then a negative one counts as 0).

    Raises:
        ValueError: a setting out of range.
    Reference:
        Freund & Schapire (1999), Adaptive game playing using multiplicative weights; divergence: Bailey &
        Piliouras (2018), Multiplicative weights update in zero-sum games; with entropy: Cen, Wei & Chi (2021),
        Fast policy extragradient methods for competitive games with entropy regularization.
    """
    rate = as_setting("learning_rate", learning_rate, positive=True)
    temperature = as_setting("temperature", temperature)

    def step(state, values):
        log_strategy = finite(state.log_strategy)
        logits = log_strategy + rate * (values - temperature * log_strategy)
        return State(normalized(logits, state.log_strategy))

    return Dynamics(without_memory, step)


def optimistic_hedge(*, learning_rate: ArrayLike) -> Dynamics:
    """Hedge that counts the last values twice and takes back the ones before: its last strategy converges.

    `log pi_i += eta (2 u_i - u_i of the step before)`, normalized; the first step is Hedge's.

    It converges to a Nash equilibrium for small eta; in rock-paper-scissors uniform play is stable for eta < 1.

    Args:
        learning_rate: eta > 0; may be traced (then a negative one counts as 0).

    Raises:
        ValueError: a setting out of range.
    Reference:
        Daskalakis & Panageas (2019), Last-iterate convergence: zero-sum games and constrained min-max
        optimization.
    """
    rate = as_setting("learning_rate", learning_rate, positive=True)

    def step(state, values):
        logits = state.log_strategy + rate * (2 * values - state.memory)
        return State(normalized(logits, state.log_strategy), values)

    return Dynamics(State, step)
