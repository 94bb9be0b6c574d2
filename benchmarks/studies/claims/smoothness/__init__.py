"""Claim e. Small changes of Q flip a greedy policy, not a softmax one."""

from studies.claims.smoothness import measure, plots

__all__ = ["measure", "plots"]
