"""Magnetic mirror descent: Hedge pulled towards a magnet, which rests or trails behind."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pgjax.games.base import Dynamics, State, as_setting, finite, normalized, without_memory
from pgjax.types import Array, ArrayLike


def magnetic_mirror_descent(
    *, learning_rate: ArrayLike, temperature: ArrayLike, magnet: ArrayLike | None = None
) -> Dynamics:
    """Maximize `payoff - tau KL(pi, magnet) - KL(pi, last pi) / eta`, by its closed form.

    `log pi = (log last pi + eta u + eta tau log magnet) / (1 + eta tau)`, normalized.

    With a uniform magnet its fixed point is the game's quantal response equilibrium at temperature tau. It
    converges for small eta; in rock-paper-scissors uniform play is stable for eta (1/3 - tau^2) < 2 tau, so at any
    eta from tau = 1/sqrt(3) on.

    Args:
        learning_rate, temperature: eta > 0 and tau >= 0, as for `hedge`.
        magnet: the strategy that attracts, positive probabilities, shape `[A]`; default uniform.

    Raises:
        ValueError: a setting out of range.
    Reference:
        Sokota et al. (2023), A unified approach to reinforcement learning, quantal response equilibria, and
        two-player zero-sum games.
    """
    rate = as_setting("learning_rate", learning_rate, positive=True)
    temperature = as_setting("temperature", temperature)
    log_magnet = _log_magnet(magnet)

    def step(state, values):
        if log_magnet.ndim and log_magnet.shape != values.shape:
            raise ValueError(f"magnet must have shape {values.shape}, as the strategies; got {log_magnet.shape}")
        attraction = jnp.broadcast_to(log_magnet, values.shape).astype(values.dtype)
        return State(_attracted(state.log_strategy, values, attraction, rate, temperature))

    return Dynamics(without_memory, step)


def moving_magnet_descent(*, learning_rate: ArrayLike, temperature: ArrayLike, magnet_rate: ArrayLike) -> Dynamics:
    """Magnetic mirror descent whose magnet trails behind the strategy: it converges to a Nash equilibrium.

    `log magnet = (1 - kappa) log magnet + kappa log pi`, normalized, after each step; at first it is the initial
    pi.

    Args:
        learning_rate, temperature: eta > 0 and tau >= 0, as for `hedge`.
        magnet_rate: kappa in [0, 1]; may be traced (then it is clipped to that).

    Raises:
        ValueError: a setting out of range.
    Reference:
        Sokota et al. (2023), as for `magnetic_mirror_descent`, on moving the magnet.
    """
    rate = as_setting("learning_rate", learning_rate, positive=True)
    temperature = as_setting("temperature", temperature)
    magnet_rate = as_setting("magnet_rate", magnet_rate, highest=1.0)

    def init(log_strategy, values):
        return State(log_strategy, memory=log_strategy)

    def step(state, values):
        log_strategy = _attracted(state.log_strategy, values, finite(state.memory), rate, temperature)
        logits = (1 - magnet_rate) * finite(state.memory) + magnet_rate * finite(log_strategy)
        return State(log_strategy, memory=normalized(logits, log_strategy))

    return Dynamics(init, step)


def _attracted(log_strategy: Array, values: Array, log_magnet: Array, rate: Any, temperature: Any) -> Array:
    """One step towards values and magnet."""
    logits = finite(log_strategy) + rate * (values + temperature * log_magnet)
    return normalized(logits / (1 + rate * temperature), log_strategy)


def _log_magnet(magnet: ArrayLike | None) -> Array:
    """Log-probabilities of the magnet, up to a constant; a scalar for the uniform one."""
    if magnet is None:
        return jnp.zeros((), jnp.result_type(float))
    if np.ndim(magnet) != 1 or np.size(magnet) == 0:
        raise ValueError(f"magnet must have shape [A]; got {np.shape(magnet)}")
    if not isinstance(magnet, jax.core.Tracer) and not np.all((np.asarray(magnet) > 0) & np.isfinite(magnet)):
        raise ValueError(f"magnet must be positive and finite; got {magnet}")
    array = jnp.asarray(magnet, jnp.result_type(float))
    return jnp.log(jnp.maximum(array, jnp.finfo(array.dtype).tiny))
