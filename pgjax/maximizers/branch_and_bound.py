"""Branch and bound: a maximum with its proof."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from pgjax.bounds import Relaxation, relax
from pgjax.checks import check_count
from pgjax.maximizers.base import Candidates, Maximizer, Objective, best_point, finite_or_lowest
from pgjax.types import Array

Bound: TypeAlias = Callable[[Objective, Array, Array], Relaxation]

_CPU_BLOCK_BOXES = 256  # bounded at once on CPU: their affine forms stay in the caches
_QUEUE_PLACES_PER_ROW = 16  # of memory: a row of a critic's activations
_NUM_CLIMBERS = 8
_NUM_CLIMBS = 8
_FIRST_CLIMB = 1 / 8  # a climb's length, in half widths of the cube
_SHORTER = 0.35  # and what a failure makes of it


class BoxQueue(NamedTuple):
    """Boxes that may hold a better point than the best known; a place without a box has the bound -inf.

    Fields:
        low, high: the boxes, shape `[C, N]`.
        bound: certified for the box, shape `[C]`.
        dimension: to split next, shape `[C]`.
    """

    low: Array
    high: Array
    bound: Array
    dimension: Array


class BranchAndBoundState(NamedTuple):
    """What one step leaves to the next.

    Fields:
        queue: boxes that are left.
        value, point: the best value and where it is.
        lost: the largest bound of the boxes given up for want of room.
        num_boxes: how many boxes were bounded.
        done: whether nothing is left to do.
    """

    queue: BoxQueue
    value: Array
    point: Array
    lost: Array
    num_boxes: Array
    done: Array


class _Found(NamedTuple):
    """What looking at some boxes gave: boxes for the queue, their places in it, and the state's other news."""

    boxes: BoxQueue
    places: Array
    value: Array
    point: Array
    lost: Array
    num_boxes: Array
    num_gradients: Array


@functools.lru_cache(typed=True)
def branch_and_bound(
    *, gap: float = 1e-3, boxes_per_step: int = 2048, capacity: int = 1 << 20, bound: Bound = relax
) -> Maximizer:
    """Split the box until bounds prove that no part of it beats the best point by more than a gap.

    Each step splits the boxes_per_step / 2 boxes of the largest bounds in two and bounds the halves. A half is
    dropped where its bound is at most value + gap, or where the function rises throughout it towards a face that
    is not the cube's, since no maximum is there. It is shrunk to where its upper plane is above value + gap, and
    to the cube's face towards which the function rises. The best point is looked for where the planes are highest,
    and by climbing from there.

    The certificate, upper_bound, is the largest of: the bounds that are left, value + gap, and the bounds of boxes
    given up when the queue is full (those of the smallest bounds are). It holds for the objective in exact
    arithmetic, its numbers that do not depend on the action as computed; where bounds are not finite it is +inf.
    Rounding is allowed for, which in float32 can keep a gap open that closes in float64 (`jax.enable_x64`). Once
    upper_bound <= value + gap, steps cost next to nothing.

    Args:
        gap: the proof's aim, in the objective's units.
        boxes_per_step: boxes bounded in a step, at least 2 (an odd one is left out).
        capacity: places in the queue, at least boxes_per_step. Memory: 8 N + 8 bytes each in float32.
        bound: (objective, low, high) -> `Relaxation` of the objective over a box. The default does any objective
            of operations that `pgjax.bounds` knows.

    Raises:
        ValueError: a setting out of range; when run, an objective with an operation that has no bounds.
    Cost:
        boxes_per_step bounds (some 2 (N + 5) evaluations each) and evaluations, and 64 gradients with their
        evaluations a step. The number of steps grows exponentially with the number of dimensions. Under vmap all
        states wait for the last.
    Reference:
        Land & Doig (1960), An automatic method of solving discrete programming problems; monotonicity test: Hansen
        & Walster (2004), Global optimization using interval analysis, chapter 12; the dimension to split, of the
        largest width times range of slopes: Ratz & Csendes (1995), On the selection of subdivision directions in
        interval branch-and-bound methods, rule C; bounds: see `pgjax.bounds.relax`.
    """
    check_count("boxes_per_step", boxes_per_step, 2)
    check_count("capacity", capacity, boxes_per_step)
    if not callable(bound):
        raise ValueError(f"bound must be a function such as pgjax.bounds.relax; got {bound!r}")
    if not gap >= 0:
        raise ValueError(f"gap must not be negative; got {gap}")
    num_split = boxes_per_step // 2

    def init(key, objective, initial):
        del key, objective
        point = best_point(initial)
        low = jnp.full((capacity, point.shape[0]), -1.0, point.dtype)
        bounds = jnp.full(capacity, -jnp.inf, low.dtype).at[0].set(jnp.inf)  # one box, the cube
        bounds = jax.lax.optimization_barrier(bounds)  # else XLA may sort the first queue while compiling
        value = jnp.max(finite_or_lowest(initial.values)).astype(low.dtype)
        state = BranchAndBoundState(
            queue=BoxQueue(low, -low, bounds, jnp.zeros(capacity, jnp.int32)),
            value=value,
            point=point,
            lost=jnp.full_like(value, -jnp.inf),
            num_boxes=jnp.int32(0),
            done=jnp.asarray(False),
        )
        return state, None

    def step(key, objective, state):
        del key
        # The conditional reads the queue only: one that returned it would copy it.
        explore = functools.partial(_explore, objective, gap=gap, num_split=num_split, bound=bound)
        found = jax.lax.cond(state.done, functools.partial(_rest, num_split=num_split), explore, state)
        pairs = zip(state.queue, found.boxes, strict=True)
        queue = BoxQueue(*(old.at[found.places].set(new, mode="drop") for old, new in pairs))
        most, floor = jnp.max(queue.bound), found.value + gap
        upper_bound = jnp.maximum(jnp.maximum(most, found.lost), floor)
        num_boxes = state.num_boxes + found.num_boxes
        state = BranchAndBoundState(queue, found.value, found.point, found.lost, num_boxes, most <= floor)
        counts = (found.num_boxes + found.num_gradients, found.num_gradients)
        return state, Candidates(found.point[None], found.value[None], *counts, upper_bound)

    # The queue, not the boxes of a step, is what fills the memory where states are worked on side by side.
    return Maximizer(init, step, lambda _: max(boxes_per_step, capacity // _QUEUE_PLACES_PER_ROW))


def _explore(
    objective: Objective, state: BranchAndBoundState, *, gap: float, num_split: int, bound: Bound
) -> _Found:
    """Split the boxes of the largest bounds, bound the halves, and look for better points."""
    queue = state.queue
    order = queue.bound.astype(jnp.float32)  # whose top_k is fast on CPU; only the order needs it
    _, parents = jax.lax.top_k(order, num_split)
    _, spare = jax.lax.top_k(-order, num_split)
    used = queue.bound[parents] > -jnp.inf
    capacity = len(queue.bound)
    parent, child = (jnp.where(used, places, capacity) for places in (parents, spare))
    given_up = jnp.max(jnp.where(used, queue.bound[spare], -jnp.inf))
    low, high = _halves(queue.low[parents], queue.high[parents], queue.dimension[parents])
    relaxation = _relax_all(bound, objective, low, high)
    points, values, num_gradients = _look_around(objective, low, high, relaxation.slopes)
    best = jnp.argmax(values)
    better = values[best] > state.value
    value = jnp.where(better, values[best], state.value)
    low, high = _cut_below(low, high, relaxation, value + gap)
    low, high, empty = _follow_gradient(low, high, relaxation)
    bounds = jnp.fmin(relaxation.upper, jnp.tile(queue.bound[parents], 2))  # NaN says nothing
    bounds = jnp.where((bounds > value + gap) & ~empty, bounds, -jnp.inf)
    return _Found(
        boxes=BoxQueue(low, high, bounds, _least_known_dimension(low, high, relaxation)),
        places=jnp.concatenate([parent, child]),
        value=value,
        point=jnp.where(better, points[best], state.point),
        lost=jnp.maximum(state.lost, given_up),
        num_boxes=jnp.int32(2 * num_split),
        num_gradients=jnp.int32(num_gradients),
    )


def _rest(state: BranchAndBoundState, *, num_split: int) -> _Found:
    """What `_explore` gives where nothing is left to do."""
    none = jnp.zeros((2 * num_split, state.point.shape[0]), state.point.dtype)
    nowhere = jnp.full(2 * num_split, len(state.queue.bound), jnp.int32)
    boxes = BoxQueue(none, none, none[:, 0], nowhere)
    return _Found(boxes, nowhere, state.value, state.point, state.lost, jnp.int32(0), jnp.int32(0))


def _halves(low: Array, high: Array, dimension: Array) -> tuple[Array, Array]:
    """Both halves of boxes `[K, N]`, each split along its dimension: boxes `[2 K, N]`."""
    chosen = jnp.arange(low.shape[1], dtype=dimension.dtype)[None] == dimension[:, None]
    middle = 0.5 * (low + high)
    ends, starts = jnp.where(chosen, middle, high), jnp.where(chosen, middle, low)
    return jnp.concatenate([low, starts]), jnp.concatenate([ends, high])


def _relax_all(bound: Bound, objective: Objective, low: Array, high: Array) -> Relaxation:
    def relax_one(box):
        return bound(objective, *box)

    if jax.default_backend() == "cpu":
        return jax.lax.map(relax_one, (low, high), batch_size=min(_CPU_BLOCK_BOXES, len(low)))
    return jax.vmap(relax_one)((low, high))


def _look_around(objective: Objective, low: Array, high: Array, slopes: Array) -> tuple[Array, Array, int]:
    """Points, values and number of gradients: where each box's plane is highest, and climbed to from the best."""
    points = jnp.where(slopes > 0, high, jnp.where(slopes < 0, low, 0.5 * (low + high)))
    values = finite_or_lowest(jax.vmap(objective)(points))
    num_climbers = min(_NUM_CLIMBERS, len(points))
    _, chosen = jax.lax.top_k(values, num_climbers)

    def climb(best, _):
        points, values, length = best
        gradients = jax.vmap(jax.grad(objective))(points)
        largest = jnp.max(jnp.abs(gradients), axis=1, keepdims=True)
        moved = points + length * gradients / jnp.where(largest > 0, largest, 1)
        moved = jnp.clip(jnp.where(jnp.isfinite(moved), moved, points), -1, 1)
        reached = finite_or_lowest(jax.vmap(objective)(moved))
        better = (reached > values)[:, None]
        length = jnp.where(better, length, _SHORTER * length)
        return (jnp.where(better, moved, points), jnp.maximum(values, reached), length), None

    start = (points[chosen], values[chosen], jnp.full((num_climbers, 1), _FIRST_CLIMB, points.dtype))
    (climbed, reached, _), _ = jax.lax.scan(climb, start, length=_NUM_CLIMBS)
    points, values = jnp.concatenate([points, climbed]), jnp.concatenate([values, reached])
    return points, values, num_climbers * _NUM_CLIMBS


def _cut_below(low: Array, high: Array, relaxation: Relaxation, floor: Array) -> tuple[Array, Array]:
    """Boxes without what their planes prove to be at most the floor; what is wholly below is left as it is."""
    slopes, plane = relaxation.slopes, relaxation.plane
    eps = jnp.finfo(low.dtype).eps
    room = plane - floor + 4 * eps * (jnp.abs(plane) + jnp.abs(floor))
    # The distance from the plane's highest corner.
    reach = room[:, None] / jnp.abs(slopes) * (1 + 4 * eps) + 4 * eps
    reach = jnp.where(jnp.isfinite(reach) & (room > 0)[:, None], reach, jnp.inf)
    low = jnp.where(slopes > 0, jnp.maximum(low, high - reach), low)
    return low, jnp.where(slopes < 0, jnp.minimum(high, low + reach), high)


def _follow_gradient(low: Array, high: Array, relaxation: Relaxation) -> tuple[Array, Array, Array]:
    """Boxes shrunk to the cube's face towards which the function rises, and whether they hold no maximum.

    A maximum inside the cube, or on another of its faces, has 0 among its generalized slopes (Clarke, 1975) in
    that dimension; the range of slopes holds those of both sides of a kink.
    """
    up, down = relaxation.gradient_low > 0, relaxation.gradient_high < 0
    empty = jnp.any((up & (high < 1)) | (down & (low > -1)), axis=1)
    return jnp.where(up, high, low), jnp.where(down, low, high), empty


def _least_known_dimension(low: Array, high: Array, relaxation: Relaxation) -> Array:
    """Where width times range of slopes is largest; where the range is not known, the widest."""
    width = high - low
    score = (relaxation.gradient_high - relaxation.gradient_low) * width
    known = jnp.all(jnp.isfinite(score), axis=1, keepdims=True) & jnp.any(score > 0, axis=1, keepdims=True)
    return jnp.argmax(jnp.where(known, score, width), axis=1).astype(jnp.int32)
