"""What a problem is: an objective to maximize over a box for many states, with the answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from pgjax.types import Array, ArrayLike, Box


class Problem(NamedTuple):
    """Maximize objective(state, .) over the box, for each of B states, with known or bracketed maxima.

    Fields:
        states: shape `[B, D]`.
        objective: `(state [D], action [N]) -> value []`, differentiable, in the dtype of its arguments.
        box: the actions.
        maximum: max over the box of objective(state, .), float64, shape `[B]`; where there is an upper_bound, the
            best value known.
        best_action: an action that attains it (there may be others), float64, shape `[B, N]`.
        upper_bound: None where the maximum is exact; else a bound that no value exceeds, +inf where nothing is
            certified, float64, shape `[B]`.
    """

    states: Array
    objective: Callable[[Array, Array], Array]
    box: Box
    maximum: np.ndarray
    best_action: np.ndarray
    upper_bound: np.ndarray | None = None


def box_or_cube(box: Box | None, num_dims: int) -> Box:
    """The box, checked to have N dimensions, or [-1, 1]^N for None."""
    if box is None:
        return Box(np.full(num_dims, -1.0), np.full(num_dims, 1.0))
    if not isinstance(box, Box):
        raise ValueError(f"box must be a pgjax.Box(low, high); got {type(box).__name__}")
    if box.num_dims != num_dims:
        raise ValueError(f"box must have num_dims = {num_dims} dimensions; got {box.num_dims}")
    return box


def as_floating(action: ArrayLike) -> Array:
    """The action, integers as floating numbers of the default dtype: a problem's own numbers take its dtype."""
    action = jnp.asarray(action)
    return action if jnp.issubdtype(action.dtype, jnp.floating) else action.astype(float)


def to_cube(box: Box, action: Array) -> Array:
    """The floating action in half widths of the box from its center; 0 in a dimension without width."""
    half_width = (box.high - box.low) / 2
    scale = np.where(half_width > 0, 1 / np.where(half_width > 0, half_width, 1), 0)
    center = (box.low + box.high) / 2
    return (action - jnp.asarray(center, action.dtype)) * jnp.asarray(scale, action.dtype)


def from_cube(box: Box, cube: np.ndarray) -> np.ndarray:
    """The actions, inside the box, at points of [-1, 1]^N, shape `[B, N]`."""
    return np.clip((box.low + box.high) / 2 + (box.high - box.low) / 2 * cube, box.low, box.high)
