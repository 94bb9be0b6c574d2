"""The maximizers' contract: two pure functions, and what they tell the driver.

A maximizer works on the cube [-1, 1]^N; the driver maps it to the box, so that no maximizer can leave the box
or depend on its place and size. It proposes candidates and evaluates them; the driver keeps the best.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from pgjax.types import Array, Key

Objective: TypeAlias = Callable[[Array], Array]
State: TypeAlias = Any


class Candidates(NamedTuple):
    """Points of the cube with their values, the best one evaluated among them, and what the search for it took.

    Fields:
        points: shape `[K, N]`.
        values: as evaluated, shape `[K]`; those that are not finite are never chosen.
        num_evaluations: objective calls without gradient.
        num_gradients: objective calls with gradient.
        upper_bound: a certified bound on the maximum over the cube, +inf where there is none.
    """

    points: Array
    values: Array
    num_evaluations: Array | int
    num_gradients: Array | int
    upper_bound: Array | float = math.inf


class Maximizer(NamedTuple):
    """A way to search for the maximum of an objective over the cube [-1, 1]^N.

    Fields:
        init: (key, objective, initial Candidates) -> (state, Candidates or None). The initial ones are the
            driver's: the caller's proposals (a warm start, samples of a policy) or the center.
        step: (key, objective, state) -> (state, Candidates).
        num_candidates: number of dimensions -> objective calls that one step makes side by side, by which
            `maximize_batch` sizes its blocks of states.
    """

    init: Callable[[Key, Objective, Candidates], tuple[State, Candidates | None]]
    step: Callable[[Key, Objective, State], tuple[State, Candidates]]
    num_candidates: Callable[[int], int]


def evaluate(objective: Objective, points: Array, at_once: int | None = None) -> Candidates:
    """The points `[K, N]` with their values, all side by side or `at_once` at a time."""
    values = jax.lax.map(objective, points, batch_size=at_once) if at_once else jax.vmap(objective)(points)
    return Candidates(points, values, points.shape[0], 0)


def best_point(candidates: Candidates) -> Array:
    """The point `[N]` of the highest finite value; the first one where there is none."""
    return candidates.points[jnp.argmax(finite_or_lowest(candidates.values))]


def finite_or_lowest(values: Array) -> Array:
    """The values with -inf for what is not finite: never chosen."""
    return jnp.where(jnp.isfinite(values), values, -jnp.inf)
