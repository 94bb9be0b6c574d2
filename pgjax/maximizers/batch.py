"""Many states at once: the driver in blocks of states, with random numbers that all share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pgjax import noise
from pgjax.checks import check_count
from pgjax.maximizers.base import Maximizer
from pgjax.maximizers.driver import check_types, maximize
from pgjax.types import Array, ArrayLike, Box, Key

# Candidates evaluated at once: on CPU few enough for a layer's activations to stay in the caches.
_CPU_BLOCK_ROWS = 16_384
_ACCELERATOR_BLOCK_ROWS = 4_194_304


def maximize_batch(
    key: Key,
    objective: Callable[[Any, Array], Array],
    states: Any,
    box: Box,
    maximizer: Maximizer,
    *,
    num_steps: int,
    initial: ArrayLike | Callable[[Key, Any], Array] | None = None,
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
        initial: actions to start from, `[N]` for all states, `[B, N]`, or several for each state, `[B, M, N]`;
            or a function from (key, ONE state) to them, `[N]` or `[M, N]`, such as M samples of a policy (with
            the same random numbers for all states). Default the box's center.
        block_size: states worked on at once; default chosen from the maximizer's number of candidates.

    Returns:
        a `Maximum` whose fields lead with `[B]`; with `return_trace` also one that leads with `[B, num_steps]`.
    Raises:
        ValueError: as for `maximize`; states without a common B.
    Cost:
        as B calls of `maximize`. Memory: about block_size * num_candidates rows of the critic's activations.
    """
    num_states = _num_states(states)
    if block_size is not None:
        check_count("block_size", block_size)
    check_types(key, box, maximizer)
    propose, starts = (initial, None) if callable(initial) else (None, _as_starts(initial, num_states, box))
    per_state = starts is not None and starts.ndim > 1
    if propose is not None:
        key_propose, key = noise.split(key, 2)

    def solve(inputs):
        state, start = inputs
        if propose is not None:
            start = propose(jax.random.clone(key_propose), state)
        return maximize(
            jax.random.clone(key),  # shared on purpose
            lambda action: objective(state, action),
            box,
            maximizer,
            num_steps=num_steps,
            initial=starts if start is None else start,
            return_trace=return_trace,
        )

    inputs = (states, starts if per_state else None)
    if num_states == 0:
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(jax.vmap(solve), inputs))
    if block_size is None:
        several = _num_starts(propose, starts, key, states)
        block_size = _block_size(num_states, max(several, maximizer.num_candidates(box.num_dims)))
    return jax.lax.map(solve, inputs, batch_size=block_size)


def _as_starts(initial: ArrayLike | None, num_states: int, box: Box) -> Array | None:
    """Initial actions `[N]`, `[B, N]` or `[B, M, N]`; the last dimension is for `maximize` to check."""
    if initial is None:
        return None
    starts = jnp.asarray(initial)
    if starts.ndim > 1 and (starts.ndim > 3 or starts.shape[0] != num_states):
        shapes = f"[{box.num_dims}], [{num_states}, {box.num_dims}] or [{num_states}, M, {box.num_dims}]"
        raise ValueError(f"initial must have shape {shapes}; got {starts.shape}")
    return starts


def _num_starts(propose: Callable[[Key, Any], Array] | None, starts: Array | None, key: Key, states: Any) -> int:
    """How many initial actions a state has."""
    if propose is not None:
        proposed = jax.eval_shape(propose, key, jax.tree.map(lambda leaf: leaf[0], states))
        return proposed.shape[0] if proposed.ndim == 2 else 1
    return starts.shape[1] if starts is not None and starts.ndim == 3 else 1


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
