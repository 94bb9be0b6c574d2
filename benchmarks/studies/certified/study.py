"""Branch and bound on fitted critics, over boxes of several sizes: the gap between value and bound, against time.

Each run searches a box around a center, cut to the action box: once around the best action known ("best"), once
around uniform ones ("random").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import pgjax
from pgjax.problems import load_brackets
from studies.certified import plots
from studies.certified.search import CAPACITY, make_search, run_box, scale_of
from studies.common.command_line import check_output
from studies.common.figures import machine_text
from studies.common.results import Results
from studies.common.study import Study
from studies.common.tables import as_markdown, new_table

SEED = 0  # of the random centers
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
        check_output(self.output)


def boxes(options: Options, name: str, action_box: pgjax.Box) -> list[tuple[str, float, pgjax.Box]]:
    """Center, half width and bounds of every box to search; there is one of half width 1."""
    low, high = np.asarray(action_box.low), np.asarray(action_box.high)
    best = load_brackets(name).best_action[options.state]
    uniform = np.random.default_rng(SEED).uniform(low, high, (options.num_random, len(low)))
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


def run(options: Options, results: Results, console: Console) -> None:
    """Search every box of every critic."""
    with jax.enable_x64(options.dtype == "float64"):
        for row in rows_of(options):
            results.add(row)
            last = row["checkpoints"][-1]
            where = f"{row['critic']} {row['center']} ±{row['half_width']:g}"
            console.print(f"{where}: gap {last['gap']:.2e} after {last['time_s']:.1f} s", style="dim")


def rows_of(options: Options) -> Iterator[dict[str, Any]]:
    """A row for each box of each critic."""
    for name in options.critics:
        search = make_search(
            name,
            state=options.state,
            dtype=options.dtype,
            gap=options.gap,
            boxes_per_step=options.boxes_per_step,
        )
        full_scale = scale_of(search, search.critic.box, 1)
        for kind, half_width, box in boxes(options, name, search.critic.box):
            scale = scale_of(search, box, 2)
            row = {"critic": name, "center": kind, "half_width": half_width, "seed": SEED}
            row |= {"low": box.low, "high": box.high, "range": scale, "range_of_whole_box": full_scale}
            yield row | run_box(search, box, scale, gap=options.gap, time_limit_s=options.time_limit_s)


def table(result: Mapping[str, Any]) -> Table:
    """What closed and what did not."""
    heads = ("critic", "center", "half width", "gap / range", "gap / whole range", "time", "boxes", "boxes / s")
    shown = new_table("certified gaps", heads)
    for row in result["rows"]:
        last = row["checkpoints"][-1]
        mark = "closed" if row["closed"] else "[red]open[/red]"
        relative = last["gap"] * row["range"] / row["range_of_whole_box"]
        cells = [f"{last['gap']:.1e} {mark}", f"{relative:.1e}", f"{last['time_s']:.2f} s"]
        cells += [f"{last['num_boxes']:,}", f"{row['boxes_per_s']:,.0f}"]
        shown.add_row(row["critic"], row["center"], f"{row['half_width']:g}", *cells)
    return shown


def advice_rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """For the README: how long a proof over the whole box takes, the narrower ReLU critic that closes."""
    closed = [row for row in result["rows"] if row["closed"] and row["half_width"] == 1]
    rows = [row for row in closed if row["critic"] == "relu_2x64_late"]
    return [
        (
            "a proof that nothing is better",
            f"branch and bound: gap {row['checkpoints'][-1]['gap']:.0e} of the range, "
            f"critic {row['critic'].replace('_', ' ')}, in {row['checkpoints'][-1]['time_s']:.2g} s",
        )
        for row in rows[:1]
    ]


def show(console: Console, result: Mapping[str, Any]) -> None:
    """Print the table."""
    console.print(table(result))
    console.print(LEGEND, highlight=False)


def markdown(result: Mapping[str, Any]) -> str:
    """The table for the documentation, and the machine."""
    return f"{as_markdown(table(result))}\n\n{LEGEND} ({machine_text(result)}.)"


STUDY = Study("certified", Options, run, show, markdown, plots.figures)
