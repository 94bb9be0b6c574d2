"""Local searches from several starts side by side; the starts are the best points that another search found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pgjax import noise
from pgjax.checks import check_count
from pgjax.maximizers.base import Candidates, Maximizer, Objective, finite_or_lowest
from pgjax.maximizers.random_search import random_search
from pgjax.types import Array, Key

# 512 points, as many at once as the steps of the local searches have, so that blocks of states suit both.
DEFAULT_SEARCH = random_search(num_samples=64)
DEFAULT_SEARCH_STEPS = 8
_SUFFICIENT_RISE = 1e-4


class LocalSearch(NamedTuple):
    """A search from ONE start; `multi_start` runs several.

    Fields:
        init: start `[N]` -> state.
        step: (objective, state) -> (state, point `[N]`, its value): one point evaluated, at first the start.
        gradients_per_step: number of dimensions -> calls with gradient in one step.
    """

    init: Callable[[Array], Any]
    step: Callable[[Objective, Any], tuple[Any, Array, Array]]
    gradients_per_step: Callable[[int], int] = lambda num_dims: 1


def multi_start(local: LocalSearch, num_starts: int, search: Maximizer | None, num_search_steps: int) -> Maximizer:
    """Run the local search from the num_starts best of the initial points and those that `search` finds.

    Args:
        local: the local search.
        num_starts: starts K.
        search: any maximizer, or None to start from the initial actions alone.
        num_search_steps: its steps.

    Raises:
        ValueError: a count out of range, a search that is no maximizer, fewer points than starts.
    """
    check_count("num_starts", num_starts)
    check_count("num_search_steps", num_search_steps)
    if search is not None and not isinstance(search, Maximizer):
        raise ValueError(f"search must be a maximizer or None; got {search!r}")

    def init(key, objective, initial):
        found = initial._replace(num_evaluations=0)  # the driver counts them
        if search is not None:
            found = _with_found(search, num_search_steps, key, objective, found)
        if found.values.shape[0] < num_starts:
            given = f"{num_starts}, and {found.values.shape[0]} points"
            raise ValueError(f"num_starts must be at most the points to choose from; got {given}")
        _, chosen = jax.lax.top_k(finite_or_lowest(found.values), num_starts)
        return jax.vmap(local.init)(found.points[chosen]), found

    def step(key, objective, state):
        del key
        state, points, values = jax.vmap(lambda state: local.step(objective, state))(state)
        return state, Candidates(points, values, 0, num_starts * local.gradients_per_step(points.shape[1]))

    def num_candidates(num_dims):
        return num_starts if search is None else max(num_starts, search.num_candidates(num_dims))

    return Maximizer(init, step, num_candidates)


def _with_found(
    search: Maximizer, num_steps: int, key: Key, objective: Objective, initial: Candidates
) -> Candidates:
    """The initial points and all that a search returns, with what the search for them takes."""
    key_init, key_steps = noise.split(key, 2)
    state, first = search.init(key_init, objective, initial)

    def step(state, key):
        state, found = search.step(key, objective, state)
        return state, jax.tree.map(jnp.asarray, found)

    _, later = noise.scan_keys(step, state, key_steps, num_steps)
    parts = [part for part in (initial, first) if part is not None]
    return Candidates(
        jnp.concatenate([*(part.points for part in parts), later.points.reshape(-1, initial.points.shape[1])]),
        jnp.concatenate([*(part.values for part in parts), later.values.reshape(-1)]),
        sum(part.num_evaluations for part in parts) + jnp.sum(later.num_evaluations, dtype=jnp.int32),
        sum(part.num_gradients for part in parts) + jnp.sum(later.num_gradients, dtype=jnp.int32),
    )


def value_and_gradient(objective: Objective, point: Array) -> tuple[Array, Array]:
    """Value and gradient; where they are not finite, the gradient is zero."""
    value, gradient = jax.value_and_grad(objective)(point)
    return value, jnp.where(jnp.isfinite(gradient), gradient, 0)


def trial_steps(start_model: Callable[[Array], Any], examine: Callable[..., Any]) -> LocalSearch:
    """Climb along directions of a model of the objective, one trial point a step.

    A trial is accepted if the objective rises enough (Armijo's condition); else the next step tries a shorter
    way in the same direction. So starts that run side by side never wait for one another's line searches.

    Args:
        start_model: start -> the model's state.
        examine: (objective, trial, point, gradient, model) -> (value, gradient, direction, model) at the trial,
            given the last accepted point and its gradient.

    Reference:
        Nocedal & Wright (2006), Numerical optimization, sections 3.1 (Armijo), 3.5 (interpolation).
    """

    def init(start):
        zeros = jnp.zeros_like(start)
        lowest = jnp.asarray(-jnp.inf, start.dtype)  # so that the start is accepted
        return (start, lowest, zeros, zeros, start_model(start)), jnp.ones_like(lowest)

    def step(objective, state):
        (point, value, gradient, direction, model), length = state
        trial = jnp.clip(point + length * direction, -1, 1)
        trial_value, *rest = examine(objective, trial, point, gradient, model)
        rise, slope = finite_or_lowest(trial_value) - value, jnp.sum(gradient * (trial - point))
        accepted = rise >= _SUFFICIENT_RISE * slope
        parabola = 0.5 * slope / jnp.maximum(slope - rise, jnp.finfo(slope.dtype).tiny)  # where it peaks
        length = jnp.where(accepted, 1, length * jnp.clip(parabola, 0.1, 0.5))
        new, old = (trial, trial_value, *rest), (point, value, gradient, direction, model)
        state = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), new, old)
        return (state, length), trial, trial_value

    return LocalSearch(init, step)


def free_gradient(point: Array, gradient: Array) -> Array:
    """The gradient, zero in the dimensions that are held: at a bound that it presses on."""
    held = ((point <= -1) & (gradient < 0)) | ((point >= 1) & (gradient > 0))
    return jnp.where(held, 0, gradient)
