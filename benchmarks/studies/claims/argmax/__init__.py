"""Claim a. Argmax over R^6 at every timestep is impractical."""

from studies.claims.argmax import measure, plots

__all__ = ["measure", "plots"]
