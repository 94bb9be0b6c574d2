"""The one driver behind all maximizers: map the box, loop, keep the best, count, trace, batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np

from pgjax.bounds import without_rounding
from pgjax.checks import check_count
from pgjax.maximizers.base import Candidates, Maximizer, Objective, finite_or_lowest
from pgjax.types import Array, ArrayLike, Box, Key

# Candidates evaluated at once: on CPU few enough for a layer's activations to stay in the caches.
_CPU_BLOCK_ROWS = 16_384
_ACCELERATOR_BLOCK_ROWS = 4_194_304
# Up to this many steps are unrolled: the first, before states differ, is then shared by a batch.
_MAX_UNROLLED_STEPS = 4


class Maximum(NamedTuple):
    """The best action found.

    Fields:
        action: shape `[N]`, inside the box.
        value: objective(action) as it was evaluated; -inf if no evaluation gave a finite number.
        upper_bound: certified bound on the maximum; +inf where nothing is certified.
        num_evaluations: objective calls without gradient, the initial action's included.
        num_gradients: objective calls with gradient.
    `maximize_batch` and traces put their dimension first in every field.
    """

    action: Array
    value: Array
    upper_bound: Array
    num_evaluations: Array
    num_gradients: Array


@overload
def maximize(
    key: Key, objective: Objective, box: Box, maximizer: Maximizer, *, num_steps: int,
    initial: ArrayLike | None = None, return_trace: Literal[False] = False,
) -> Maximum: ...  # fmt: skip
@overload
def maximize(
    key: Key, objective: Objective, box: Box, maximizer: Maximizer, *, num_steps: int,
    initial: ArrayLike | None = None, return_trace: Literal[True],
) -> tuple[Maximum, Maximum]: ...  # fmt: skip
@overload
def maximize(
    key: Key, objective: Objective, box: Box, maximizer: Maximizer, *, num_steps: int,
    initial: ArrayLike | None = None, return_trace: bool,
) -> Maximum | tuple[Maximum, Maximum]: ...  # fmt: skip
def maximize(key, objective, box, maximizer, *, num_steps, initial=None, return_trace=False):
    """Search for argmax of an objective over a box.

    The result is never worse than the initial action, and lies in the box. Evaluations that are not finite are
    never chosen. Safe under jit, vmap and scan; the arguments objective, maximizer, num_steps and return_trace
    are static.

    Args:
        key: random key, consumed.
        objective: takes ONE action `[N]`, returns a scalar; the library vmaps it.
        box: the actions.
        maximizer: from `pgjax.maximizers`.
        num_steps: steps of the maximizer, >= 1.
        initial: action `[N]` to start from (clipped to the box, its NaNs centered); default the box's center.
        return_trace: whether to return the best after every step too.

    Returns: a `Maximum`; with `return_trace` also a `Maximum` whose fields lead with `[num_steps]`.
    Raises: ValueError: num_steps < 1, wrong shapes, an objective that does not return one number.
    Cost: one evaluation, and those of the maximizer's init and num_steps steps.
    Differentiable in: nothing by promise.
    """
    check_count("num_steps", num_steps)
    if not isinstance(box, Box):
        raise ValueError(f"box must be a pgjax.Box(low, high); got {type(box).__name__}")
    low, high, start = _bounds_and_start(box, initial)
    _check_objective(objective, start)

    def to_action(point):
        return without_rounding(low + 0.5 * (high - low) * (point + 1), low, high)

    def on_cube(point):
        return objective(to_action(point))

    key_init, key_steps = jax.random.split(key)
    width = high - low
    initial_point = jnp.where(width > 0, 2 * (start - low) / jnp.where(width > 0, width, 1) - 1, 0)
    best = _first(start, objective(start))
    state, candidates = maximizer.init(key_init, on_cube, jnp.clip(initial_point, -1, 1))
    best = best if candidates is None else _better(best, candidates, to_action)

    def step(carry, i):
        state, best = carry
        state, candidates = maximizer.step(jax.random.fold_in(key_steps, i), on_cube, state)
        best = _better(best, candidates, to_action)
        return (state, best), (best if return_trace else None)

    unroll = num_steps if num_steps <= _MAX_UNROLLED_STEPS else 1
    (_, best), trace = jax.lax.scan(step, (state, best), jnp.arange(num_steps), unroll=unroll)
    return (best, trace) if return_trace else best


def maximize_batch(
    key: Key,
    objective: Callable[[Any, Array], Array],
    states: Any,
    box: Box,
    maximizer: Maximizer,
    *,
    num_steps: int,
    initial: ArrayLike | None = None,
    block_size: int | None = None,
    return_trace: bool = False,
) -> Any:
    """Search for argmax of objective(state, .) over a box for many states: `maximize`, fast.

    All states share the random numbers (per-state noise would cost more than a small critic), and are worked
    on in blocks whose activations stay in the caches. The result for a state is that of
    `maximize(key, lambda action: objective(state, action), ...)`, up to rounding, whatever the batch.

    Args:
        key: random key, consumed.
        objective: takes ONE state and ONE action `[N]`, returns a scalar.
        states: array `[B, ...]`, or a pytree of them.
        box, maximizer, num_steps, return_trace: as for `maximize`.
        initial: actions to start from, `[N]` for all states or `[B, N]`; default the box's center.
        block_size: states worked on at once; default chosen from the maximizer's number of candidates.

    Returns: a `Maximum` whose fields lead with `[B]`; with `return_trace` also one that leads with
        `[B, num_steps]`.
    Raises: ValueError: as for `maximize`; states without a common B.
    Cost: as B calls of `maximize`. Memory: about block_size * num_candidates rows of the critic's activations.
    """
    num_states = _num_states(states)
    if block_size is not None:
        check_count("block_size", block_size)
    if not isinstance(box, Box):
        raise ValueError(f"box must be a pgjax.Box(low, high); got {type(box).__name__}")
    starts = None if initial is None else jnp.asarray(initial)
    per_state = starts is not None and starts.ndim == 2
    if starts is not None and per_state and starts.shape != (num_states, box.num_dims):
        expected = f"[{box.num_dims}] or [{num_states}, {box.num_dims}]"
        raise ValueError(f"initial must have shape {expected}; got {starts.shape}")

    def solve(inputs):
        state, start = inputs
        return maximize(
            jax.random.clone(key),  # shared on purpose
            lambda action: objective(state, action),
            box,
            maximizer,
            num_steps=num_steps,
            initial=start if per_state else starts,
            return_trace=return_trace,
        )

    inputs = (states, starts if per_state else None)
    if num_states == 0:
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(jax.vmap(solve), inputs))
    return jax.lax.map(
        solve, inputs, batch_size=block_size or _block_size(num_states, maximizer.num_candidates(box.num_dims))
    )


def _bounds_and_start(box: Box, initial: ArrayLike | None) -> tuple[Array, Array, Array]:
    """Bounds and initial action in one floating dtype, at least float32."""
    start = None if initial is None else jnp.asarray(initial)
    dtype = jnp.result_type(float)
    if start is not None:
        if start.shape != (box.num_dims,):
            raise ValueError(f"initial must have shape [{box.num_dims}], as the box; got {start.shape}")
        if start.dtype == jnp.float64:
            dtype = start.dtype
    if isinstance(box.low, np.ndarray) and isinstance(box.high, np.ndarray):
        largest = np.max(np.abs([box.low, box.high, box.high - box.low]))
        if largest > jnp.finfo(dtype).max:
            raise ValueError(f"box must have bounds and widths that are finite in {dtype}; got {box}")
    low, high = jnp.asarray(box.low).astype(dtype), jnp.asarray(box.high).astype(dtype)
    start = low + 0.5 * (high - low) if start is None else start.astype(dtype)
    start = jnp.where(jnp.isnan(start), low + 0.5 * (high - low), start)
    return low, high, jnp.clip(start, low, high)


def _check_objective(objective: Objective, action: Array) -> None:
    value = jax.eval_shape(objective, action)
    shape = getattr(value, "shape", None)
    if shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(f"objective must return one floating number, shape (), for one action; got {value}")


def _first(action: Array, value: Array) -> Maximum:
    value = finite_or_lowest(value)
    return Maximum(action, value, jnp.full_like(value, jnp.inf), jnp.int32(1), jnp.int32(0))


def _better(best: Maximum, candidates: Candidates, to_action: Callable[[Array], Array]) -> Maximum:
    """The best so far, after some candidates."""
    values = finite_or_lowest(candidates.values)
    i = jnp.argmax(values)
    better = values[i] > best.value
    return Maximum(
        jnp.where(better, to_action(candidates.points[i]), best.action),
        jnp.where(better, values[i], best.value),
        jnp.minimum(best.upper_bound, candidates.upper_bound),
        best.num_evaluations + candidates.num_evaluations,
        best.num_gradients + candidates.num_gradients,
    )


def _num_states(states: Any) -> int:
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(states)]
    if not shapes or any(not shape or shape[0] != shapes[0][0] for shape in shapes):
        raise ValueError(f"states must be arrays that lead with the same number of states; got shapes {shapes}")
    return shapes[0][0]


def _block_size(num_states: int, num_candidates: int) -> int:
    """States a block: the largest even share of them that fits, or what fits where shares are far from even."""
    rows = _CPU_BLOCK_ROWS if jax.default_backend() == "cpu" else _ACCELERATOR_BLOCK_ROWS
    fits = int(np.clip(rows // num_candidates, 1, num_states))
    even = next(size for size in range(fits, 0, -1) if num_states % size == 0)
    return even if 2 * even >= fits else fits
