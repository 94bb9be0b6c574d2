"""The short corridor with switched actions: states that all look alike, and an optimum between the actions."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from pgjax.environments.tabular import TabularMDP, tabular_mdp
from pgjax.types import Array, ArrayLike


def short_corridor() -> TabularMDP:
    """Walk right to the goal past a state where left goes right and right goes left, seeing nothing.

    States 0, 1, 2 and the goal 3, which ends the episode; it starts in state 0. Actions: 0 left, 1 right; left of
    state 0 is state 0, and in state 1 both are switched. Reward -1 a step. There is one observation, 0.

    With p the probability of right, `J(p) = -(4 - 2p) / (p (1 - p))` undiscounted (`short_corridor_value`), at
    most -(6 + 4 sqrt 2) = -11.66 at p = 2 - sqrt 2; both deterministic memoryless policies never arrive.

    Returns:
        a `TabularMDP` with 4 states, 2 actions, 1 observation.
    Reference:
        Sutton & Barto (2018), Reinforcement learning, 2nd ed., example 13.1.
    """
    transition = np.zeros((4, 2, 4))
    for state, (left, right) in enumerate([(0, 1), (2, 0), (1, 3), (3, 3)]):
        transition[state, 0, left] = transition[state, 1, right] = 1
    return tabular_mdp(
        transition,
        np.full((4, 2), -1.0),
        (1, 0, 0, 0),
        observation=(0, 0, 0, 0),
        terminal=np.arange(4) == 3,
    )


def short_corridor_value(right: ArrayLike) -> Array:
    """The corridor's undiscounted value for the probability p of right: `J(p) = -(4 - 2p) / (p (1 - p))`.

    Args:
        right: p, any shape; clipped to [0, 1].

    Returns:
        J(p), of that shape, in JAX's default floating dtype; -inf at 0 and 1.
    Differentiable in:
        right.
    """
    p = jnp.clip(jnp.asarray(right, jnp.result_type(float)), 0, 1)
    return -(4 - 2 * p) / (p * (1 - p))
