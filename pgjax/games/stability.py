"""Is an equilibrium stable under a dynamics: by the Jacobian's eigenvalues, and by trying."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from pgjax.checks import check_count
from pgjax.games.base import Dynamics
from pgjax.games.driver import advance, start, strategies_of
from pgjax.games.matrix import as_real
from pgjax.types import Array, ArrayLike


def spectral_radius(
    dynamics: Dynamics, payoff: ArrayLike, strategy: ArrayLike, opponent: ArrayLike | None = None
) -> Array:
    """The spectral radius of one step's Jacobian at strategies inside the simplex.

    At a fixed point, less than 1: nearby strategies converge to it at this rate; more than 1: they leave it.
    The Jacobian is that of the whole state, memory included, by automatic differentiation.

    Args:
        dynamics, payoff, strategy, opponent: as for `pgjax.games.play`; the memory is that of the first step.

    Returns:
        a scalar.
    Raises:
        ValueError: as for `pgjax.games.play`.
    Cost:
        eigenvalues of a matrix as large as the state; runs where `jnp.linalg.eigvals` does: on CPU at least.
    """
    payoff, states = start(dynamics, payoff, strategy, opponent)
    flat, unravel = ravel_pytree(states)
    jacobian = jax.jacfwd(lambda flat: ravel_pytree(advance(dynamics, payoff, unravel(flat)))[0])(flat)
    return jnp.max(jnp.abs(jnp.linalg.eigvals(jacobian)))


def stability_threshold(
    make_dynamics: Callable[[Array], Dynamics],
    payoff: ArrayLike,
    strategy: ArrayLike,
    opponent: ArrayLike | None = None,
    *,
    highest: ArrayLike,
    num_steps: int = 4000,
    num_bisections: int = 12,
) -> tuple[Array, Array]:
    """Measure up to which learning rate a fixed point is stable: bisection on whether play returns to it.

    Play starts a small perturbation away (the square root of the dtype's precision) and is stable if it ends
    closer. That is reliable where the spectral radius differs from 1 by more than about 1 / num_steps.

    Args:
        make_dynamics: learning rate (traced) -> Dynamics.
        payoff, strategy, opponent: as for `pgjax.games.play`; the strategies are the fixed point.
        highest: learning rate to start from; stability is taken to end once between 0 and this.
        num_steps: of each trial.
        num_bisections: trials.

    Returns:
        the largest rate found stable (0 for none) and the smallest found unstable (+inf for none).
    Raises:
        ValueError: a count below 1; highest not positive and finite; as for `pgjax.games.play`.
    Cost:
        num_steps * num_bisections steps of play; one compilation, for a batch of settings too (under vmap).
    """
    check_count("num_steps", num_steps)
    check_count("num_bisections", num_bisections)
    if not isinstance(highest, jax.core.Tracer):
        rates = as_real("highest", highest)
        if not np.all(np.isfinite(rates) & (rates > 0)):
            raise ValueError(f"highest must be positive and finite; got {highest}")
    highest = jnp.asarray(highest, jnp.result_type(float))

    def is_stable(learning_rate):
        dynamics = make_dynamics(learning_rate)
        game, states = start(dynamics, payoff, strategy, opponent)
        center = strategies_of(states)
        perturbed = tuple(map(_perturbed, center))
        _, states = start(dynamics, game, perturbed[0], None if opponent is None else perturbed[1])
        states = jax.lax.fori_loop(0, num_steps, lambda _, states: advance(dynamics, game, states), states)
        return _distance(strategies_of(states), center) < _distance(perturbed, center)

    def bisect(i, bracket):
        stable, unstable = bracket
        rate = jnp.where(i == 0, highest, 0.5 * (stable + unstable))
        returned = is_stable(rate)
        return jnp.where(returned, rate, stable), jnp.where(returned, unstable, rate)

    stable, unstable = jax.lax.fori_loop(0, num_bisections, bisect, (jnp.zeros_like(highest), highest))
    return stable, jnp.where(stable == highest, jnp.inf, unstable)


def _perturbed(strategy: Array) -> Array:
    """A strategy nearby, moved towards unequal probabilities so that no direction is left out by symmetry."""
    weights = 1 / jnp.arange(1, strategy.shape[0] + 1, dtype=strategy.dtype)
    size = jnp.sqrt(jnp.finfo(strategy.dtype).eps)
    return strategy + size * (weights / jnp.sum(weights) - strategy)


def _distance(strategies: tuple[Array, ...], center: tuple[Array, ...]) -> Array:
    return jnp.max(jnp.stack([jnp.max(jnp.abs(x - y)) for x, y in zip(strategies, center, strict=True)]))
