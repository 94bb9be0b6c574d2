"""The dynamics' contract: two pure functions of one player's own strategy and the values of its own actions.

A player sees the expected payoff of each of its actions against the other's strategy, and nothing else (uncoupled
dynamics); the driver computes these values. Strategies are kept as normalized log-probabilities, so that they stay
exact next to the simplex's edge; an action of probability 0 (-inf) keeps it, in all dynamics but fictitious play.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pgjax.types import Array, ArrayLike


class State(NamedTuple):
    """One player between two steps.

    Fields:
        log_strategy: log-probabilities, shape `[A]`, normalized.
        memory: what else the dynamics keeps.
    """

    log_strategy: Array
    memory: Any = ()


class Dynamics(NamedTuple):
    """A way to learn a strategy.

    Fields:
        init: (log-probabilities `[A]`, values of the actions `[A]`) -> State.
        step: (State, values of the actions `[A]` against the other's strategy) -> State.
    """

    init: Callable[[Array, Array], State]
    step: Callable[[State, Array], State]


def without_memory(log_strategy: Array, values: Array) -> State:
    """The first state of a dynamics that keeps its strategy alone."""
    del values
    return State(log_strategy)


def as_setting(name: str, value: ArrayLike, *, positive: bool = False, highest: float = np.inf) -> Array | float:
    """A scalar setting: a number, checked, where its value is known; clipped to its range where it is traced."""
    if np.shape(value) != ():
        raise ValueError(f"{name} must be a scalar; got shape {np.shape(value)}")
    if not isinstance(value, jax.core.Tracer):
        array = np.asarray(value)
        number = float(array) if jnp.issubdtype(array.dtype, jnp.number) else np.nan
        if not (number > 0 if positive else number >= 0) or not number <= highest or not np.isfinite(number):
            lowest = "positive" if positive else "at least 0"
            limit = "finite" if highest == np.inf else f"at most {highest:g}"
            raise ValueError(f"{name} must be {lowest} and {limit}; got {value!r}")
        return number  # of no dtype, so that play decides it
    return jnp.clip(jnp.asarray(value, jnp.result_type(float)), 0, highest)


def finite(log_strategy: Array) -> Array:
    """Log-probabilities with 0 for those of actions that are never played: safe to multiply."""
    return jnp.where(log_strategy > -jnp.inf, log_strategy, 0)


def normalized(logits: Array, previous: Array) -> Array:
    """Log-probabilities from logits; actions of probability 0 before keep it."""
    return jax.nn.log_softmax(jnp.where(previous > -jnp.inf, logits, -jnp.inf))
