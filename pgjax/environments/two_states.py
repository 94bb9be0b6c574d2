"""Two states that look alike: without memory, any deterministic policy loses what a coin keeps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pgjax.environments.checks import check_number
from pgjax.environments.tabular import TabularMDP, tabular_mdp


def two_aliased_states(reward: float = 1.0, *, initial: npt.ArrayLike = (0.5, 0.5)) -> TabularMDP:
    """Two aliased states, in each of which one action leads to the other state and pays; for ever.

    In state 0 action 0, in state 1 action 1 gives +reward and leads to the other state; the other action gives
    -reward and stays. Discounted values, R the reward, uniform start: R / (1 - gamma) if the state is seen,
    gamma R / (1 - gamma) with memory of the actions (one step tells the state), 0 of the fair coin, which is the
    best memoryless policy, and -gamma R / (1 - gamma) of both deterministic memoryless ones (from the better state
    R - gamma R / (1 - gamma)). So a stochastic policy beats every deterministic one by as much as one likes. No
    state is terminal: use a discount below 1 or a time limit.

    Args:
        reward: R, finite.
        initial: probabilities of the two states to start in.

    Returns:
        a `TabularMDP` with 2 states, 2 actions, 1 observation.
    Raises:
        ValueError: reward not finite; initial of another shape or no probabilities.
    Reference:
        Singh, Jaakkola & Jordan (1994), Learning without state-estimation in partially observable Markovian
        decision processes, section 3.
    """
    check_number("reward", reward)
    transition = np.zeros((2, 2, 2))
    for state in range(2):
        transition[state, state, 1 - state] = transition[state, 1 - state, state] = 1
    rewards = reward * (2 * np.eye(2) - 1)
    return tabular_mdp(transition, rewards, initial, observation=(0, 0))
