"""What a policy with memory knows: the beliefs it can reach, as states of an environment without aliasing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pgjax.checks import check_count
from pgjax.environments.tabular import TabularMDP, tabular_mdp

_DECIMALS = 12  # beliefs that agree so far are one
_NEGLIGIBLE = 1e-14


class BeliefMDP(NamedTuple):
    """An environment whose states are beliefs.

    Fields:
        mdp: with K beliefs as states, the last one of them the end, each with its own observation.
        belief: probability of each state of the original environment, shape `[K, S]`, 0 throughout at the end.
    """

    mdp: TabularMDP
    belief: np.ndarray


def belief_mdp(mdp: TabularMDP, *, max_beliefs: int = 1000) -> BeliefMDP:
    """The environment of beliefs: the probabilities of the states given all observations and actions so far.

    A policy with memory can do no better than one that sees the belief, and no worse, so its best value is the
    optimal value here. Rewards are not observed, the end of the episode is. Where moves are deterministic the
    beliefs are few; where they are random there may be infinitely many.

    Args:
        mdp: the environment.
        max_beliefs: K, the end included; >= 2.

    Returns:
        a `BeliefMDP` with K at most max_beliefs.
    Raises:
        ValueError: max_beliefs < 2, or more beliefs than that.
    Cost:
        memory K^2 A.
    Reference:
        Astrom (1965), Optimal control of Markov processes with incomplete state information.
    """
    check_count("max_beliefs", max_beliefs, lowest=2)
    transition, reward, initial = (np.asarray(x, np.float64) for x in mdp[:3])
    labels = np.where(mdp.terminal, -1, mdp.observation)
    beliefs: list[np.ndarray] = []
    number: dict[bytes, int] = {}

    def split(mass):  # -> [(number of the belief, its probability)], -1 for the end
        parts = [(-1, mass[labels < 0].sum())]
        for label in np.unique(labels[labels >= 0]):
            part = np.where(labels == label, mass, 0)
            total = part.sum()
            if total > _NEGLIGIBLE:
                key = np.round(part / total, _DECIMALS).tobytes()
                if key not in number:
                    number[key] = len(beliefs)
                    beliefs.append(part / total)
                parts.append((number[key], total))
        return parts

    start = split(initial)
    moves, done = [], 0
    while done < len(beliefs):
        if len(beliefs) >= max_beliefs:
            raise ValueError(f"max_beliefs must be above the number of beliefs; got {max_beliefs}")
        moves.append([split(beliefs[done] @ transition[:, action]) for action in range(reward.shape[1])])
        done += 1
    return _assemble(np.array(beliefs), moves, start, reward)


def _assemble(beliefs: np.ndarray, moves: list, start: list, reward: np.ndarray) -> BeliefMDP:
    """The arrays from the lists."""
    size, num_actions = len(beliefs) + 1, reward.shape[1]
    transition, initial = np.zeros((size, num_actions, size)), np.zeros(size)
    for number, by_action in enumerate(moves):
        for action, parts in enumerate(by_action):
            for target, probability in parts:
                transition[number, action, target] = probability
    transition[-1, :, -1] = 1
    for target, probability in start:
        initial[target] = probability
    belief = np.vstack([beliefs, np.zeros(beliefs.shape[1])])
    end = np.arange(size) == size - 1
    return BeliefMDP(tabular_mdp(transition, belief @ reward, initial, terminal=end), belief)
