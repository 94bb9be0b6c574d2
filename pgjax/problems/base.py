"""What a problem is: an objective to maximize over a box for many states, with the answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pgjax.types import Array, Box


class Problem(NamedTuple):
    """Maximize objective(state, .) over the box, for each of B states, with known maxima.

    Fields:
        states: shape `[B, D]`.
        objective: `(state [D], action [N]) -> value []`, differentiable, in the dtype of its arguments.
        box: the actions.
        maximum: max over the box of objective(state, .), float64, shape `[B]`.
        best_action: an action that attains it (there may be others), float64, shape `[B, N]`.
    """

    states: Array
    objective: Callable[[Array, Array], Array]
    box: Box
    maximum: np.ndarray
    best_action: np.ndarray
