"""Games: zero-sum matrix games, their exact equilibria, and learning dynamics behind one contract (`base`)."""

from pgjax.games.base import Dynamics, State
from pgjax.games.driver import Outcome, play
from pgjax.games.equilibria import Equilibrium, nash_equilibrium, quantal_response_equilibrium
from pgjax.games.fictitious_play import fictitious_play
from pgjax.games.hedge import hedge, optimistic_hedge
from pgjax.games.magnetic_mirror_descent import magnetic_mirror_descent, moving_magnet_descent
from pgjax.games.matrix import (
    best_response_values,
    biased_rock_paper_scissors,
    expected_payoff,
    exploitability,
    nash_conv,
    rock_paper_scissors,
)
from pgjax.games.softmax_policy_gradient import softmax_policy_gradient
from pgjax.games.stability import spectral_radius, stability_threshold

__all__ = [
    "Dynamics",
    "Equilibrium",
    "Outcome",
    "State",
    "best_response_values",
    "biased_rock_paper_scissors",
    "expected_payoff",
    "exploitability",
    "fictitious_play",
    "hedge",
    "magnetic_mirror_descent",
    "moving_magnet_descent",
    "nash_conv",
    "nash_equilibrium",
    "optimistic_hedge",
    "play",
    "quantal_response_equilibrium",
    "rock_paper_scissors",
    "softmax_policy_gradient",
    "spectral_radius",
    "stability_threshold",
]
