"""Branch and bound: a maximum with its proof."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from pgjax.bounds import Relaxation, relax
from pgjax.checks import check_count
from pgjax.maximizers.base import Candidates, Maximizer, Objective, finite_or_lowest
from pgjax.types import Array

Bound: TypeAlias = Callable[[Objective, Array, Array], Relaxation]

import os
BLOCK=int(os.environ.get('BLOCK','256'))
_NUM_CLIMBERS = 8
_NUM_CLIMBS = 8  # steps of 1/16 ... 1/2048 of the cube's half width


class BoxQueue(NamedTuple):
    """Boxes that may hold a better point; a place without a box has the bound -inf.

    Fields: low, high `[C, N]`; bound `[C]`, certified for the box; dimension `[C]`, to split next.
    """

    low: Array
    high: Array
    bound: Array
    dimension: Array


class BranchAndBoundState(NamedTuple):
    """Fields: the queue; the best value and its point; largest bound of the boxes given up for want of room;
    number of boxes bounded so far; whether there is nothing left to do.
    """

    queue: BoxQueue
    value: Array
    point: Array
    lost: Array
    num_boxes: Array
    done: Array


@functools.lru_cache(typed=True)
def branch_and_bound(
    *, gap: float = 1e-3, boxes_per_step: int = 2048, capacity: int = 1 << 20, bound: Bound = relax
) -> Maximizer:
    check_count("boxes_per_step", boxes_per_step, 2)
    check_count("capacity", capacity, boxes_per_step)
    if not gap >= 0:
        raise ValueError(f"gap must not be negative; got {gap}")
    num_split = boxes_per_step // 2

    def init(key, objective, initial_point):
        del key
        shape = (capacity, initial_point.shape[0])
        bounds = jnp.full(capacity, -jnp.inf, initial_point.dtype).at[0].set(jnp.inf)
        queue = BoxQueue(
            jnp.full(shape, -1.0, initial_point.dtype),
            jnp.full(shape, 1.0, initial_point.dtype),
            bounds,
            jnp.zeros(capacity, jnp.int32),
        )
        value = finite_or_lowest(objective(initial_point))
        lost = jnp.full_like(value, -jnp.inf)
        state = BranchAndBoundState(queue, value, initial_point, lost, jnp.int32(0), jnp.asarray(False))
        return state, Candidates(initial_point[None], value[None], 1, 0)

    def explore(objective, state):
        """Bound the halves of the most promising boxes; where they go in the queue, and what was found."""
        queue = state.queue
        # Only the order needs the bounds here: float32 has the fast top_k.
        order = queue.bound.astype(jnp.float32)
        _, parents = jax.lax.top_k(order, num_split)
        _, spare = jax.lax.top_k(-order, num_split)
        limits = jnp.tile(queue.bound[parents], 2)
        low, high = _halves(queue.low[parents], queue.high[parents], queue.dimension[parents])
        relaxation = _relax(bound, objective, low, high)
        limits = jnp.fmin(limits, relaxation.upper)
        points, values = _look_around(objective, low, high, relaxation.slopes)
        best = jnp.argmax(values)
        better = values[best] > state.value
        value = jnp.where(better, values[best], state.value)
        point = jnp.where(better, points[best], state.point)
        floor = value + gap
        low, high = _contract(low, high, relaxation, floor)
        low, high, empty = _follow_gradient(low, high, relaxation)
        limits = jnp.where((limits > floor) & ~empty, limits, -jnp.inf)
        places = jnp.where(jnp.tile(queue.bound[parents], 2) > -jnp.inf, jnp.concatenate([parents, spare]), capacity)
        lost = jnp.maximum(state.lost, jnp.max(jnp.where(places[num_split:] < capacity, queue.bound[spare], -jnp.inf)))
        boxes = BoxQueue(low, high, limits, _dimension(low, high, relaxation))
        return (boxes, places, value, point, lost), jnp.int32(2 * num_split), jnp.int32(_NUM_CLIMBERS * _NUM_CLIMBS)

    def rest(objective, state):
        del objective
        shape = (2 * num_split, state.point.shape[0])
        none = jnp.zeros(shape, state.point.dtype)
        boxes = BoxQueue(none, none, none[:, 0], jnp.zeros(shape[:1], jnp.int32))
        places = jnp.full(shape[:1], capacity, jnp.int32)
        return (boxes, places, state.value, state.point, state.lost), jnp.int32(0), jnp.int32(0)

    def step(key, objective, state):
        del key
        # The queue is only read in here: a conditional that returned it would copy it.
        branches = (functools.partial(explore, objective), functools.partial(rest, objective))
        (boxes, places, value, point, lost), num_evaluations, num_gradients = jax.lax.cond(
            ~state.done, *branches, state
        )
        queue = BoxQueue(*(old.at[places].set(new, mode="drop") for old, new in zip(state.queue, boxes, strict=True)))
        open_ = jnp.maximum(jnp.max(queue.bound), lost)
        upper = jnp.maximum(open_, value + gap)
        num_boxes = state.num_boxes + num_evaluations
        state = BranchAndBoundState(queue, value, point, lost, num_boxes, jnp.max(queue.bound) <= value + gap)
        return state, Candidates(point[None], value[None], num_evaluations, num_gradients, upper)

    return Maximizer(init, step, lambda _: boxes_per_step)


def _halves(low: Array, high: Array, dimension: Array) -> tuple[Array, Array]:
    """Both halves of boxes `[K, N]` along one dimension each: boxes `[2 K, N]`."""
    chosen = jnp.arange(low.shape[1], dtype=dimension.dtype)[None] == dimension[:, None]
    middle = jnp.clip(0.5 * (low + high), low, high)
    lower = jnp.where(chosen, middle, high)
    upper = jnp.where(chosen, middle, low)
    return jnp.concatenate([low, upper]), jnp.concatenate([lower, high])


def _look_around(objective, low, high, slopes):
    """Points and values: where the planes over the boxes are highest, and climbed to from the best of those."""
    points = jnp.where(slopes > 0, high, jnp.where(slopes < 0, low, 0.5 * (low + high)))
    values = finite_or_lowest(jax.vmap(objective)(points))
    chosen = jax.lax.top_k(values, min(_NUM_CLIMBERS, values.shape[0]))[1]
    best = (points[chosen], values[chosen], jnp.full((len(chosen),), 1 / 8, values.dtype))

    def climb(best, _):
        points, values, size = best
        gradients = jax.vmap(jax.grad(objective))(points)
        largest = jnp.max(jnp.abs(gradients), axis=1, keepdims=True)
        moved = points + size[:, None] * jnp.where(largest > 0, gradients / jnp.where(largest > 0, largest, 1), 0)
        moved = jnp.clip(jnp.where(jnp.isfinite(moved), moved, points), -1, 1)
        reached = finite_or_lowest(jax.vmap(objective)(moved))
        better = reached > values
        size = jnp.where(better, size, 0.35 * size)
        return (jnp.where(better[:, None], moved, points), jnp.maximum(values, reached), size), None

    (climbed, reached, _), _ = jax.lax.scan(climb, best, length=_NUM_CLIMBS)
    return jnp.concatenate([points, climbed]), jnp.concatenate([values, reached])


def _contract(low, high, relaxation, floor):
    """Cut off where the plane is below the floor."""
    slopes = jnp.abs(relaxation.slopes)
    room = jnp.maximum(relaxation.plane - floor, 0)[:, None]
    reach = jnp.where(slopes > 0, room / jnp.where(slopes > 0, slopes, 1) * (1 + 1e-5), jnp.inf)
    reach = jnp.where(jnp.isnan(reach), jnp.inf, reach)
    reach = jnp.where(relaxation.plane[:, None] > floor, reach, jnp.inf)
    up = relaxation.slopes > 0
    return jnp.where(up, jnp.maximum(low, high - reach), low), jnp.where(up, high, jnp.minimum(high, low + reach))


def _follow_gradient(low, high, relaxation):
    """Shrink to a face of the cube where the function rises towards it; whether it rises towards another face."""
    up, down = relaxation.gradient_low > 0, relaxation.gradient_high < 0
    empty = jnp.any((up & (high < 1)) | (down & (low > -1)), axis=1)
    return jnp.where(up, high, low), jnp.where(down, low, high), empty


def _relax(bound, objective, low, high):
    relaxation = jax.lax.map(lambda box: bound(objective, *box), (low, high), batch_size=BLOCK)
    return relaxation


def _dimension(low, high, relaxation):
    """Where the function's slope is least known, weighed by the box's width; the widest where nothing is known."""
    score = (relaxation.gradient_high - relaxation.gradient_low) * (high - low)
    known = jnp.all(jnp.isfinite(score), axis=1, keepdims=True)
    return jnp.argmax(jnp.where(known, score, high - low), axis=1).astype(jnp.int32)
