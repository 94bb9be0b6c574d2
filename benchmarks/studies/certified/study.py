"""How long does a proof take: branch and bound on fitted critics, over boxes of several sizes.

    python benchmarks/certified.py [--time-limit-s 60] [--critics relu_2x32_late ...] [--half-widths 1 0.4 0.1]

Each run searches a box around a center, cut to the action box: once around the best action known ("best"), once
around uniform ones ("random"). Writes a JSON with checkpoints of value and certified upper bound, and a figure of
the gap against time beside it.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import certified_plots
import command_line
import harness
import jax
import jax.numpy as jnp
import numpy as np
import report
import tyro
from plots import machine_text
from rich.console import Console
from rich.table import Table

import pgjax
from pgjax.bounds import without_rounding
from pgjax.maximizers import Candidates
from pgjax.problems import load_brackets, load_critic

CONSOLE = Console(width=120)
NUM_UNIFORM = 4096  # actions for the mean of Q, the scale of the gap
STEPS_PER_CALL = 4
CAPACITY = 1 << 20  # boxes in the queue
CHECKPOINT_RATIO = 1.1  # checkpoints are at least this much later than the one before, or have news
LEGEND = """\
One state a critic. Center of the box: best, the best action known, from which the search starts; random, a uniform
action. Half width: 1 is the whole box. Gap: certified upper bound less value, over (maximum - mean over uniform
actions) in the box searched, then in the whole box."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Branch and bound on fitted critics: gap between value and certified bound, against time."""

    critics: tuple[str, ...] = ("relu_2x32_late", "relu_2x64_late", "relu_2x256_late", "tanh_2x64_late")
    """Names of critics that come with pgjax, or paths of others."""
    half_widths: tuple[float, ...] = (0.1, 0.4, 1.0)
    """Of the boxes, in half widths of the action box; 1 is all of it."""
    num_random: int = 1
    """Random centers for each box size."""
    state: int = 0
    """Which of the critic's states."""
    time_limit_s: float = 5.0
    """Of a run, compilation apart."""
    gap: float = 1e-3
    """The proof's aim, relative to (maximum - mean over uniform actions) in the box searched."""
    dtype: Literal["float32", "float64"] = "float64"
    """Of the bounds: float32 is faster, and its rounding allowance keeps small gaps open."""
    boxes_per_step: int = 2048
    """Boxes bounded side by side."""
    output: Path = Path("results/certified.json")
    """The JSON to write; the figure lies beside it."""

    def check(self) -> None:
        """Raise ValueError, naming the option, for what cannot be run."""
        for name, values in (("--half-widths", self.half_widths), ("--critics", self.critics)):
            if not values:
                raise ValueError(f"{name}: expected at least one value")
        if not all(0 < width <= 1 for width in self.half_widths):
            raise ValueError(f"--half-widths: expected numbers in (0, 1]; got {self.half_widths}")
        for name, value in (("--time-limit-s", self.time_limit_s), ("--gap", self.gap)):
            if not 0 < value < np.inf:
                raise ValueError(f"{name}: expected a positive, finite number; got {value}")
        if self.num_random < 0:
            raise ValueError(f"--num-random: expected no negative number; got {self.num_random}")
        if not 2 <= self.boxes_per_step <= CAPACITY:
            raise ValueError(f"--boxes-per-step: expected 2 to {CAPACITY}; got {self.boxes_per_step}")
        for name in self.critics:
            try:
                num_states = len(load_brackets(name).states)
            except ValueError as error:
                raise ValueError(f"--critics: {error}") from error
            if not 0 <= self.state < num_states:
                raise ValueError(f"--state: expected 0 to {num_states - 1}, of {name}; got {self.state}")
        command_line.check_output(self.output)


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

        def init(*box_and_scale):
            objective = functools.partial(self.objective, *box_and_scale)
            center = jnp.zeros_like(box_and_scale[0])
            initial = Candidates(center[None], objective(center)[None], 1, 0)
            return self.maximizer.init(jax.random.key(0), objective, initial)[0]

        return jax.jit(init)

    @functools.cached_property
    def steps(self):
        """The compiled steps: state -> state, upper bound."""

        def steps(state, *box_and_scale):
            objective = functools.partial(self.objective, *box_and_scale)

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


def make_search(options: Options, name: str) -> Search:
    """The critic's parameters as constants of the compiled program, in the dtype of the bounds."""
    critic = load_critic(name)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, options.dtype), critic.params)
    state = jnp.asarray(load_brackets(name).states[options.state], options.dtype)
    maximizer = pgjax.maximizers.branch_and_bound(
        gap=options.gap, boxes_per_step=options.boxes_per_step, capacity=CAPACITY
    )
    return Search(critic, params, state, maximizer)


def scale_of(search: Search, box: pgjax.Box, seed: int) -> float:
    """(best value known - mean over uniform actions) in a box."""
    low, high = np.asarray(box.low), np.asarray(box.high)
    actions = np.random.default_rng(seed).uniform(low, high, (NUM_UNIFORM, len(low)))
    mean = float(jnp.mean(search.values(jnp.asarray(actions, search.state.dtype))))
    return float(search.climbed(box)) - mean


def boxes(options: Options, name: str, action_box: pgjax.Box) -> list[tuple[str, float, pgjax.Box]]:
    """Center, half width and bounds of every box to search; there is one of half width 1."""
    low, high = np.asarray(action_box.low), np.asarray(action_box.high)
    best = load_brackets(name).best_action[options.state]
    uniform = np.random.default_rng(0).uniform(low, high, (options.num_random, len(low)))
    found = []
    for half_width in sorted(options.half_widths):
        reach = half_width * (high - low) / 2
        centers = [("best", best), *(("random", center) for center in uniform)]
        if half_width == 1:
            centers = [("whole box", (low + high) / 2)]
        for kind, center in centers:
            box = pgjax.Box(np.maximum(low, center - reach), np.minimum(high, center + reach))
            found.append((kind, half_width, box))
    return found


def run_box(options: Options, search: Search, box: pgjax.Box, scale: float) -> dict[str, Any]:
    """Search one box until its gap is closed or the time is over."""
    dtype = search.state.dtype
    arguments = (jnp.asarray(box.low, dtype), jnp.asarray(box.high, dtype), jnp.asarray(scale, dtype))
    warm_up = time.perf_counter()
    jax.block_until_ready(search.steps(search.init(*arguments), *arguments))
    compile_time_s = time.perf_counter() - warm_up
    state, upper, checkpoints = jax.block_until_ready(search.init(*arguments)), np.inf, []
    start = time.perf_counter()
    while True:
        state, bounds = search.steps(state, *arguments)
        upper = min(upper, float(jnp.min(bounds)))
        time_s, value, done = time.perf_counter() - start, float(state.value), bool(state.done)
        over = done or time_s >= options.time_limit_s
        if over or not checkpoints or time_s >= CHECKPOINT_RATIO * checkpoints[-1]["time_s"]:
            numbers = {"time_s": time_s, "value": value * scale, "upper_bound": upper * scale}
            checkpoints.append(numbers | {"gap": upper - value, "num_boxes": int(state.num_boxes)})
        if over:
            return {
                "checkpoints": checkpoints,
                "closed": done and upper - value <= options.gap * 1.001,
                "lost_bound": float(state.lost) * scale,
                "first_call_s": compile_time_s,
                "boxes_per_s": int(state.num_boxes) / time_s,
            }


def run(options: Options) -> dict[str, Any]:
    """Search every box of every critic."""
    start = time.perf_counter()
    with jax.enable_x64(options.dtype == "float64"):
        return {
            "machine": harness.machine_record(),
            "settings": dataclasses.asdict(options) | {"output": options.output.name},
            "rows": rows_of(options),
            "wall_time_s": time.perf_counter() - start,
        }


def rows_of(options: Options) -> list[dict[str, Any]]:
    """A row for each box of each critic."""
    rows = []
    for name in options.critics:
        search = make_search(options, name)
        full_scale = scale_of(search, search.critic.box, 1)
        for kind, half_width, box in boxes(options, name, search.critic.box):
            scale = scale_of(search, box, 2)
            row = {"critic": name, "center": kind, "half_width": half_width}
            row |= {"low": box.low, "high": box.high, "range": scale, "range_of_whole_box": full_scale}
            row |= run_box(options, search, box, scale)
            rows.append(row)
            last = row["checkpoints"][-1]
            CONSOLE.print(
                f"{name} {kind} ±{half_width:g}: gap {last['gap']:.2e} after {last['time_s']:.1f} s", style="dim"
            )
    return rows


def table(result: Mapping[str, Any]) -> Table:
    """What closed and what did not."""
    heads = ("critic", "center", "half width", "gap / range", "gap / whole range", "time", "boxes", "boxes / s")
    shown = report.new_table("certified gaps", heads)
    for row in result["rows"]:
        last = row["checkpoints"][-1]
        mark = "closed" if row["closed"] else "[red]open[/red]"
        relative = last["gap"] * row["range"] / row["range_of_whole_box"]
        cells = [f"{last['gap']:.1e} {mark}", f"{relative:.1e}", f"{last['time_s']:.2f} s"]
        cells += [f"{last['num_boxes']:,}", f"{row['boxes_per_s']:,.0f}"]
        shown.add_row(row["critic"], row["center"], f"{row['half_width']:g}", *cells)
    return shown


def show(console: Console, result: Mapping[str, Any]) -> None:
    """Print the table."""
    console.print(table(result))
    console.print(LEGEND, highlight=False)


def markdown(result: Mapping[str, Any]) -> str:
    """The table for the README, and the machine."""
    return f"{report.as_markdown(table(result))}\n\n{LEGEND} ({machine_text(result)}.)"


def main() -> int:
    """Run from the command line."""
    return command_line.run_and_write(tyro.cli(Options), run, show, CONSOLE, certified_plots.plot_result)


if __name__ == "__main__":
    sys.exit(main())
