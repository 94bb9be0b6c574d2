"""Maximizers: argmax of one objective over a box of actions, all behind one contract (`base`, `driver`)."""

from pgjax.maximizers.base import Candidates, Maximizer
from pgjax.maximizers.batch import maximize_batch
from pgjax.maximizers.best_of_n import best_of_n
from pgjax.maximizers.branch_and_bound import branch_and_bound
from pgjax.maximizers.cma_es import cma_es
from pgjax.maximizers.coordinate_zoom import coordinate_zoom
from pgjax.maximizers.cross_entropy import cross_entropy
from pgjax.maximizers.driver import Maximum, maximize
from pgjax.maximizers.gradient_ascent import gradient_ascent
from pgjax.maximizers.grid import grid
from pgjax.maximizers.lbfgs import lbfgs
from pgjax.maximizers.mppi import mppi
from pgjax.maximizers.newton import newton
from pgjax.maximizers.random_search import random_search

__all__ = [
    "Candidates",
    "Maximizer",
    "Maximum",
    "best_of_n",
    "branch_and_bound",
    "cma_es",
    "coordinate_zoom",
    "cross_entropy",
    "gradient_ascent",
    "grid",
    "lbfgs",
    "maximize",
    "maximize_batch",
    "mppi",
    "newton",
    "random_search",
]
