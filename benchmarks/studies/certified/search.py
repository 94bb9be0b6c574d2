"""Branch and bound on a critic in any box, with one compiled program, and the scale of its gap."""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import pgjax
from pgjax.bounds import without_rounding
from pgjax.maximizers import Candidates
from pgjax.problems import load_brackets, load_critic

NUM_UNIFORM = 4096  # actions for the mean of Q, the scale of the gap
STEPS_PER_CALL = 4
CAPACITY = 1 << 20  # boxes in the queue
CHECKPOINT_RATIO = 1.1  # checkpoints are at least this much later than the one before, or have news


@dataclasses.dataclass(frozen=True)
class Search:
    """A critic for one state, ready to be searched in any box with one compiled program."""

    critic: Any
    params: Any
    state: jax.Array
    maximizer: Any

    def objective(self, low, high, scale, point):
        """Q / scale at a point of the cube."""
        action = without_rounding(low + 0.5 * (high - low) * (point + 1), low, high)
        return self.critic.module.apply(self.params, self.state, action) / scale

    @functools.cached_property
    def init(self):
        """The compiled first state of the search."""

        def init(low, high, scale):
            objective = functools.partial(self.objective, low, high, scale)
            center = jnp.zeros_like(low)
            initial = Candidates(center[None], objective(center)[None], 1, 0)
            return self.maximizer.init(jax.random.key(0), objective, initial)[0]

        return jax.jit(init)

    @functools.cached_property
    def steps(self):
        """The compiled steps: state -> state, upper bound."""

        def steps(state, low, high, scale):
            objective = functools.partial(self.objective, low, high, scale)

            def step(state, _):
                state, found = self.maximizer.step(jax.random.key(0), objective, state)
                return state, found.upper_bound

            return jax.lax.scan(step, state, length=STEPS_PER_CALL)

        return jax.jit(steps, donate_argnums=0)

    @functools.cached_property
    def values(self):
        """Q of actions `[K, N]`, compiled."""
        return jax.jit(jax.vmap(functools.partial(self.critic.module.apply, self.params, self.state)))

    @functools.cached_property
    def climbed(self):
        """The best value that gradient ascent finds in a box, compiled."""
        ascent = pgjax.maximizers.gradient_ascent(num_starts=32)

        def climbed(box):
            objective = functools.partial(self.critic.module.apply, self.params, self.state)
            start = jnp.asarray(0.5 * (box.low + box.high), self.state.dtype)
            return pgjax.maximize(jax.random.key(0), objective, box, ascent, num_steps=100, initial=start).value

        return jax.jit(climbed)


def make_search(name: str, *, state: int, dtype: str, gap: float, boxes_per_step: int) -> Search:
    """The critic's parameters as constants of the compiled program, in the dtype of the bounds."""
    critic = load_critic(name)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), critic.params)
    maximizer = pgjax.maximizers.branch_and_bound(gap=gap, boxes_per_step=boxes_per_step, capacity=CAPACITY)
    return Search(critic, params, jnp.asarray(load_brackets(name).states[state], dtype), maximizer)


def scale_of(search: Search, box: pgjax.Box, seed: int) -> float:
    """(best value known - mean over uniform actions) in a box."""
    low, high = np.asarray(box.low), np.asarray(box.high)
    actions = np.random.default_rng(seed).uniform(low, high, (NUM_UNIFORM, len(low)))
    mean = float(jnp.mean(search.values(jnp.asarray(actions, search.state.dtype))))
    return float(search.climbed(box)) - mean


def run_box(search: Search, box: pgjax.Box, scale: float, *, gap: float, time_limit_s: float) -> dict[str, Any]:
    """Search one box until its gap is closed or the time is over; checkpoints of value and bound on the way."""
    dtype = search.state.dtype
    arguments = (jnp.asarray(box.low, dtype), jnp.asarray(box.high, dtype), jnp.asarray(scale, dtype))
    warm_up = time.perf_counter()
    jax.block_until_ready(search.steps(search.init(*arguments), *arguments))
    compile_time_s = time.perf_counter() - warm_up
    checkpoints: list[dict[str, Any]] = []
    state, upper = jax.block_until_ready(search.init(*arguments)), np.inf
    start = time.perf_counter()
    while True:
        state, bounds = search.steps(state, *arguments)
        upper = min(upper, float(jnp.min(bounds)))
        time_s, value, done = time.perf_counter() - start, float(state.value), bool(state.done)
        over = done or time_s >= time_limit_s
        if over or not checkpoints or time_s >= CHECKPOINT_RATIO * checkpoints[-1]["time_s"]:
            numbers = {"time_s": time_s, "value": value * scale, "upper_bound": upper * scale}
            checkpoints.append(numbers | {"gap": upper - value, "num_boxes": int(state.num_boxes)})
        if over:
            return {
                "checkpoints": checkpoints,
                "closed": done and upper - value <= gap * 1.001,
                "lost_bound": float(state.lost) * scale,
                "first_call_s": compile_time_s,
                "boxes_per_s": int(state.num_boxes) / time_s,
            }
