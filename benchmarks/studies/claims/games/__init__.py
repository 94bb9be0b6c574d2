"""Claim c. Stochastic policies can be optimal: rock-paper-scissors."""

from studies.claims.games import measure, plots

__all__ = ["measure", "plots"]
