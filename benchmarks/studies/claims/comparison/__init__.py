"""Claim g. Value-based against policy-based, cell by cell."""

from studies.claims.comparison import measure, plots

__all__ = ["measure", "plots"]
