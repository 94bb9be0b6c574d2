"""The one driver behind all maximizers: map the box, loop, keep the best, count, trace."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np

from pgjax import noise
from pgjax.bounds import without_rounding
from pgjax.checks import check_count
from pgjax.maximizers.base import Candidates, Maximizer, Objective, finite_or_lowest
from pgjax.types import Array, ArrayLike, Box, Key

# Up to this many steps are unrolled: the first, before states differ, is then shared by a batch.
_MAX_UNROLLED_STEPS = 4


class Maximum(NamedTuple):
    """The best action found.

    Fields:
        action: shape `[N]`, inside the box.
        value: objective(action) as it was evaluated, in the action's dtype; -inf if no evaluation gave a finite
            number.
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

    The result is never worse than the initial actions, and lies in the box. Evaluations that are not finite are
    never chosen. Safe under jit, vmap and scan; the arguments objective, maximizer, num_steps and return_trace
    are static.

    Args:
        key: random key, consumed.
        objective: takes ONE action `[N]`, returns a scalar; the library vmaps it.
        box: the actions.
        maximizer: from `pgjax.maximizers`.
        num_steps: steps of the maximizer, >= 1.
        initial: action `[N]` to start from, or several `[M, N]`: the last decision's action (a warm start),
            samples of a policy. Clipped to the box, NaNs centered; default the box's center.
        return_trace: whether to return the best after every step too.

    Returns:
        a `Maximum`; with `return_trace` also a `Maximum` whose fields lead with `[num_steps]`.
    Raises:
        ValueError: num_steps < 1, wrong shapes, an objective that does not return one number.
    Cost:
        one evaluation for each initial action, and those of the maximizer's init and num_steps steps.
    Differentiable in:
        what the objective closes over, in forward and reverse mode. The value's gradient is that of
        objective(action) with the action held, which is the gradient of the maximum where the action attains it
        (envelope theorem: Milgrom & Segal, 2002, Envelope theorems for arbitrary choice sets). It takes one more
        call. The other fields, the trace, `box` and `initial` have gradient zero.
    """
    check_count("num_steps", num_steps)
    check_types(key, box, maximizer)
    low, high, starts = jax.lax.stop_gradient(_bounds_and_starts(box, initial))
    _check_objective(objective, starts[0])
    objective = _in_dtype(objective, low.dtype)
    width = high - low

    def to_action(point):
        return without_rounding(low + 0.5 * width * (point + 1), low, high)

    def on_cube(point):
        return objective(to_action(point))

    key_init, key_steps = noise.split(key, 2)
    points = jnp.where(width > 0, 2 * (starts - low[None]) / jnp.where(width > 0, width, 1)[None] - 1, 0)
    initial_values = jax.lax.stop_gradient(jax.vmap(objective)(starts))
    initial_ones = Candidates(jnp.clip(points, -1, 1), initial_values, starts.shape[0], 0)
    best = _first(starts, initial_ones)
    state, candidates = jax.lax.stop_gradient(maximizer.init(key_init, on_cube, initial_ones))
    best = best if candidates is None else _better(best, candidates, to_action)

    def step(carry, key):
        state, best = carry
        # Gradients stop here, so that none is carried through the search.
        state, candidates = jax.lax.stop_gradient(maximizer.step(key, on_cube, state))
        best = _better(best, candidates, to_action)
        return (state, best), (best if return_trace else None)

    unroll = num_steps if num_steps <= _MAX_UNROLLED_STEPS else 1
    (_, best), trace = noise.scan_keys(step, (state, best), key_steps, num_steps, unroll)
    best = best._replace(value=_by_envelope(objective, best.action, best.value))
    return (best, trace) if return_trace else best


def _bounds_and_starts(box: Box, initial: ArrayLike | None) -> tuple[Array, Array, Array]:
    """Bounds and initial actions `[M, N]` in one floating dtype, at least float32."""
    starts = None if initial is None else jnp.asarray(initial)
    dtype = jnp.result_type(float)
    if starts is not None:
        if starts.ndim not in (1, 2) or starts.shape[-1] != box.num_dims or 0 in starts.shape:
            expected = f"[{box.num_dims}] or [M, {box.num_dims}]"
            raise ValueError(f"initial must have shape {expected}, as the box; got {starts.shape}")
        if starts.dtype == jnp.float64:
            dtype = starts.dtype
    if isinstance(box.low, np.ndarray) and isinstance(box.high, np.ndarray):
        largest = np.max(np.abs([box.low, box.high, box.high - box.low]))
        if largest > jnp.finfo(dtype).max:
            raise ValueError(f"box must have bounds and widths that are finite in {dtype}; got {box}")
    low, high = jnp.asarray(box.low).astype(dtype), jnp.asarray(box.high).astype(dtype)
    center = low + 0.5 * (high - low)
    starts = center if starts is None else starts.astype(dtype)
    starts = jnp.atleast_2d(starts)
    starts = jnp.where(jnp.isnan(starts), center[None], starts)
    return low, high, jnp.clip(starts, low[None], high[None])


def _by_envelope(objective: Objective, action: Array, value: Array) -> Array:
    """The value, with the derivative of objective(action) in all that the objective closes over."""
    converted, closed_over = jax.closure_convert(objective, action)

    @jax.custom_jvp
    def at_maximum(value, action, *closed_over):
        del action, closed_over
        return value

    @at_maximum.defjvp
    def at_maximum_jvp(primals, tangents):
        value, action, *closed_over = primals
        _, tangent = jax.jvp(functools.partial(converted, action), closed_over, list(tangents[2:]))
        return value, tangent

    return at_maximum(*jax.lax.stop_gradient((value, action)), *closed_over)


def check_types(key: Key, box: Box, maximizer: Maximizer) -> None:
    is_typed = jnp.issubdtype(jnp.result_type(key), jax.dtypes.prng_key)
    if jnp.ndim(key) != (0 if is_typed else 1):
        raise ValueError(f"key must be one random key (vmap over more); got shape {jnp.shape(key)}")
    if not isinstance(box, Box):
        raise ValueError(f"box must be a pgjax.Box(low, high); got {type(box).__name__}")
    if not isinstance(maximizer, Maximizer):
        what = getattr(maximizer, "__name__", type(maximizer).__name__)
        raise ValueError(
            f"maximizer must be made by a function of pgjax.maximizers, with its settings; got {what}"
        )


def _check_objective(objective: Objective, action: Array) -> None:
    value = jax.eval_shape(objective, action)
    shape = getattr(value, "shape", None)
    if shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(f"objective must return one floating number, shape (), for one action; got {value}")


def _in_dtype(objective: Objective, dtype: Any) -> Objective:
    """The objective in the box's dtype, which holds its numbers: a search adds and bounds them."""
    return lambda action: jnp.asarray(objective(action)).astype(dtype)


def _first(starts: Array, initial: Candidates) -> Maximum:
    values = finite_or_lowest(initial.values)
    i = jnp.argmax(values)
    upper_bound = jnp.full_like(values[i], jnp.inf)
    return Maximum(starts[i], values[i], upper_bound, jnp.int32(starts.shape[0]), jnp.int32(0))


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
