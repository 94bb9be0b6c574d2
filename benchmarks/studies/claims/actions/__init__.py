"""Claim f. Policies handle large action sets."""

from studies.claims.actions import measure, plots

__all__ = ["measure", "plots"]
