"""Sums of one-dimensional functions with many local maxima, with their exact maxima dimension by dimension."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pgjax.checks import check_choice, check_count
from pgjax.problems.base import Problem, as_floating, box_or_cube, from_cube, to_cube
from pgjax.types import Array, Box, Key

_MAX_SHIFT = 1.2  # half widths of the box: one optimum in six lies outside, and the maximum at or near a bound
_GRID = 4097  # cells far narrower than the functions' period, so that each holds at most one local maximum
_CELLS = 4  # local maxima refined; their values lie much further apart than the grid's error
_GOLDEN = (math.sqrt(5) - 1) / 2


class _Function(NamedTuple):
    """A function `term(x, array module)` of one dimension, least at 0, and the half width of its usual domain."""

    term: Callable[[Any, Any], Any]
    half_width: float


def _rastrigin(x: Any, xp: Any) -> Any:
    return xp.square(x) + 10 * (1 - xp.cos(2 * math.pi * x))


def _ackley(x: Any, xp: Any) -> Any:
    return 20 * (1 - xp.exp(-0.2 * xp.abs(x))) + math.e - xp.exp(xp.cos(2 * math.pi * x))


_FUNCTIONS = {"rastrigin": _Function(_rastrigin, 5.12), "ackley": _Function(_ackley, 32.768)}


def separable(
    key: Key,
    num_states: int = 256,
    *,
    function: Literal["rastrigin", "ackley"] = "rastrigin",
    num_dims: int = 6,
    box: Box | None = None,
) -> Problem:
    """Maximize `Q(s, a) = -sum_i f(w (z_i - s_i))`, z the action in half widths of the box from its center.

    "rastrigin": `f(x) = x^2 + 10 (1 - cos 2 pi x)`, w = 5.12; "ackley": the one-dimensional Ackley function
    `f(x) = 20 (1 - exp(-0.2 |x|)) + e - exp(cos 2 pi x)`, w = 32.768 (its sum over dimensions, where the usual
    one takes means inside the exponentials). f is least at 0, so the optimum is z = s; the entries of s are
    uniform in [-1.2, 1.2], so it is no grid point, and in one dimension of six it lies outside the box. There
    the maximum is the box's, one dimension at a time.

    Args:
        key: random key, for the states.
        num_states: number of states B.
        function: "rastrigin" or "ackley".
        num_dims: N.
        box: the actions, default [-1, 1]^N.

    Returns:
        a `Problem`; a state `[N]` is the optimum in half widths of the box.
    Raises:
        ValueError: a count out of range, an unknown function, a box of other than N dimensions.
    Reference:
        Rastrigin (1974), Systems of extremal control; Ackley (1987), A connectionist machine for genetic
        hillclimbing. Deviation: shifted; Ackley's function summed over dimensions.
    """
    check_count("num_states", num_states)
    check_count("num_dims", num_dims)
    check_choice("function", function, _FUNCTIONS)
    term, scale = _FUNCTIONS[function]
    box = box_or_cube(box, num_dims)
    states = jax.random.uniform(key, (num_states, num_dims), minval=-_MAX_SHIFT, maxval=_MAX_SHIFT)

    def objective(state: Array, action: Array) -> Array:
        return -jnp.sum(term(scale * (to_cube(box, as_floating(action)) - state), jnp))

    shift = np.asarray(states, np.float64)
    cube = _minimize(lambda z: term(scale * (z - shift[..., None]), np), shift) * (box.high > box.low)
    return Problem(
        states=states,
        objective=objective,
        box=box,
        maximum=-np.sum(term(scale * (cube - shift), np), axis=-1),
        best_action=from_cube(box, cube),
    )


def _minimize(function: Callable[[np.ndarray], np.ndarray], shift: np.ndarray) -> np.ndarray:
    """The minima over [-1, 1] of a function of `[..., M]` points, its least value anywhere at `shift` `[...]`.

    The best local minima of a fine grid, by golden sections, and the point of the interval nearest the shift.
    """
    grid = np.linspace(-1, 1, _GRID)
    values = np.pad(function(grid), [(0, 0)] * shift.ndim + [(1, 1)], constant_values=np.inf)
    inner = values[..., 1:-1]
    is_local = (inner <= values[..., :-2]) & (inner <= values[..., 2:])
    best = np.argsort(np.where(is_local, inner, np.inf), axis=-1)[..., :_CELLS]
    low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, _GRID - 1)]
    for _ in range(64):  # 0.618^64 is below the precision of float64
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        smaller = function(left) <= function(right)
        low, high = np.where(smaller, low, left), np.where(smaller, right, high)
    ends = np.stack([np.full_like(shift, -1.0), np.full_like(shift, 1.0), np.clip(shift, -1, 1)], axis=-1)
    candidates = np.concatenate([(low + high) / 2, ends], axis=-1)
    chosen = np.argmin(function(candidates), axis=-1)
    return np.take_along_axis(candidates, chosen[..., None], axis=-1)[..., 0]
