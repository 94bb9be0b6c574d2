"""Claim b. A Gaussian policy samples trivially."""

from studies.claims.gaussian import measure, plots

__all__ = ["measure", "plots"]
