"""The aliased gridworld: five cells in a row, of which two look alike and ask for opposite moves."""

from __future__ import annotations

from enum import IntEnum

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from pgjax.environments.checks import check_number
from pgjax.environments.tabular import TabularMDP, tabular_mdp
from pgjax.types import Array, ArrayLike

_NUM_CELLS = 5
_ENDS = {0: 5, 2: 6, 4: 7}  # cell above -> terminal state
_OBSERVATION = (0, 1, 2, 1, 3, 0, 0, 0)


class Move(IntEnum):
    """The actions."""

    NORTH = 0
    EAST = 1
    SOUTH = 2
    WEST = 3


def aliased_gridworld(
    *,
    skull_reward: float = -10.0,
    treasure_reward: float = 0.0,
    step_reward: float = -1.0,
    initial: npt.ArrayLike = (0.2, 0.2, 0.2, 0.2, 0.2),
) -> TabularMDP:
    """Find the treasure below the middle of five cells, where the second and the fourth look the same.

    States 0 to 4 are the cells, 5 and 7 the skulls below the first and the last, 6 the treasure below the middle;
    the last three end the episode. Moves go to the four sides (`Move`) and stay where there is a wall.
    Observations: 0, 1, 2, 1, 3 in the cells. The treasure is east of one grey cell (1), west of the other (3).

    A policy without memory does best with both at 1/2 there: -3.8 undiscounted; with memory -2.6, and -2.2 if it
    sees the state. A deterministic one without memory never arrives from two of five cells: it walks for ever
    (-inf), or into the skull (-1.8 + 0.4 skull_reward, more than -3.8 where the skull is mild, above -5).

    The environment has no time limit: it is an argument of `rollout`, of the values and of the best policies.

    Args:
        skull_reward, treasure_reward: added when the episode ends there.
        step_reward: of every move.
        initial: probabilities of the five cells to start in.

    Returns:
        a `TabularMDP` with 8 states, 4 actions, 4 observations.
    Raises:
        ValueError: initial of another shape or no probabilities, rewards that are not finite.
    Reference:
        Silver (2015), Lectures on reinforcement learning, lecture 7, aliased gridworld.
    """
    if np.shape(initial) != (_NUM_CELLS,):
        raise ValueError(f"initial must have shape ({_NUM_CELLS},); got {np.shape(initial)}")
    rewards = {"skull_reward": skull_reward, "treasure_reward": treasure_reward, "step_reward": step_reward}
    for name, value in rewards.items():
        check_number(name, value)
    num_states = _NUM_CELLS + len(_ENDS)
    transition = np.zeros((num_states, len(Move), num_states))
    reward = np.full((num_states, len(Move)), step_reward, np.float64)
    for cell in range(_NUM_CELLS):
        transition[cell, Move.NORTH, cell] = 1
        transition[cell, Move.EAST, min(cell + 1, _NUM_CELLS - 1)] = 1
        transition[cell, Move.SOUTH, _ENDS.get(cell, cell)] = 1
        transition[cell, Move.WEST, max(cell - 1, 0)] = 1
    reward[[0, 4], Move.SOUTH] += skull_reward
    reward[2, Move.SOUTH] += treasure_reward
    return tabular_mdp(
        transition,
        reward,
        np.append(np.asarray(initial, np.float64), np.zeros(len(_ENDS))),
        observation=_OBSERVATION,
        terminal=np.arange(num_states) >= _NUM_CELLS,
    )


def toward_treasure(grey_east: ArrayLike = 0.5) -> Array:
    """The memoryless policy that moves toward the treasure where it can tell the way, shape `[4, 4]`.

    Args:
        grey_east: probability of east in the grey cells, else west; shape `[]`, clipped to [0, 1].

    Differentiable in:
        grey_east.
    """
    east = jnp.clip(jnp.asarray(grey_east, jnp.result_type(float)), 0, 1)
    rows = jnp.eye(len(Move), dtype=east.dtype)
    grey = east * rows[Move.EAST] + (1 - east) * rows[Move.WEST]
    return jnp.stack([rows[Move.EAST], grey, rows[Move.SOUTH], rows[Move.WEST]])
