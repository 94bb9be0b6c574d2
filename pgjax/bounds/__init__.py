"""Bounds over a box of whatever is written in JAX: intervals, linear relaxations, ranges of gradients."""

from pgjax.bounds.relaxation import Relaxation, interval_bounds, relax

__all__ = ["Relaxation", "interval_bounds", "relax"]
