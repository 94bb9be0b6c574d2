"""Bounds over a box of whatever is written in JAX: intervals, linear relaxations, ranges of gradients."""

from pgjax.bounds.enclosures import Interval
from pgjax.bounds.interpreter import without_rounding
from pgjax.bounds.relaxation import Relaxation, interval_bounds, relax

__all__ = ["Interval", "Relaxation", "interval_bounds", "relax", "without_rounding"]
