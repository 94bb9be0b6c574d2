"""Claim d. Aliased states ask for stochastic policies."""

from studies.claims.aliasing import measure, plots

__all__ = ["measure", "plots"]
