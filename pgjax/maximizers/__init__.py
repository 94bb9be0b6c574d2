"""Maximizers: argmax of one objective over a box of actions, all behind one contract (`base`, `driver`)."""

from pgjax.maximizers.base import Candidates, Maximizer
from pgjax.maximizers.branch_and_bound import branch_and_bound
from pgjax.maximizers.cross_entropy import cross_entropy
from pgjax.maximizers.driver import Maximum, maximize, maximize_batch
from pgjax.maximizers.gradient_ascent import gradient_ascent
from pgjax.maximizers.grid import grid
from pgjax.maximizers.random_search import random_search

__all__ = [
    "Candidates",
    "Maximizer",
    "Maximum",
    "branch_and_bound",
    "cross_entropy",
    "gradient_ascent",
    "grid",
    "maximize",
    "maximize_batch",
    "random_search",
]
