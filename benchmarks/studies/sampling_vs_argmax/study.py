"""What does it cost to act: sample a policy, or search for argmax_a Q(s, a) over R^6?

    python benchmarks/sampling_vs_argmax.py [--full] [--problem six_joint_arm] [--batch-sizes 1 256] ...

Measures time per decision and regret of every method on whatever device JAX has, prints a table and one
sentence that answers, and writes a JSON with all of it and two figures beside it.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import command_line
import harness
import jax
import measure
import methods
import plots
import report
import speed
import tyro
from rich.console import Console
from rich.progress import Progress

CONSOLE = Console(width=max(shutil.get_terminal_size().columns, 118))
LIMITS: dict[str, Any] = {"min_time_s": 0.05, "max_time_s": 0.3}
LIMITS_FULL: dict[str, Any] = {"min_time_s": 0.5, "max_time_s": 10.0}
TRAINING_STEPS, TRAINING_STEPS_FULL = 1600, 20_000


@dataclasses.dataclass(frozen=True)
class Options:
    """Sampling a policy against searching for argmax_a Q(s, a) over R^6: time per decision and regret."""

    full: bool = False
    """Every method on every problem and batch size, longer timings: for accelerators (the default run skips
    what would take more than 0.4 s a call, and some methods on the critics)."""
    problem: tuple[str, ...] = methods.PROBLEMS
    """Problems to run, of: six_joint_arm, critic_2x64, critic_2x256."""
    batch_sizes: tuple[int, ...] = (1, 256, 4096)
    """States decided at once. 1 measures the latency of one control step."""
    methods: tuple[str, ...] = ()
    """Names of methods or families to run, as the table shows them; default all."""
    output: Path = Path("results/sampling_vs_argmax.json")
    """The JSON to write; the figures lie beside it."""
    seed: int = 0
    """Of the targets, networks, training and noise."""

    def check(self) -> None:
        """Raise ValueError, naming the option, for what cannot be run."""
        for name in self.problem:
            if name not in methods.PROBLEMS:
                raise ValueError(f"--problem: expected some of {', '.join(methods.PROBLEMS)}; got {name!r}")
        if not self.problem or not self.batch_sizes:
            raise ValueError("--problem and --batch-sizes: expected at least one value each")
        for size in self.batch_sizes:
            if size < 1:
                raise ValueError(f"--batch-sizes: expected positive integers; got {size}")
        families = {"policy", *(search.family for search in methods.SEARCHES)}
        for name in self.methods:
            if name not in methods.METHODS and name not in families:
                known = ", ".join((*sorted(families), *methods.METHODS))
                raise ValueError(f"--methods: expected some of {known}; got {name!r}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed: expected 0 to 2^32 - 1; got {self.seed}")
        command_line.check_output(self.output)

    @property
    def longest_call_s(self) -> float:
        """Calls predicted to take longer are left out."""
        return 10.0 if self.full else 0.4

    def chosen(self, name: str, family: str) -> bool:
        """Whether a method is to be run."""
        return not self.methods or name in self.methods or family in self.methods


def run_problem(options: Options, name: str, meter: harness.GemmMeter, progress: Progress) -> list[dict[str, Any]]:
    """All rows of one problem."""
    key_task, key_policy, key_act = jax.random.split(jax.random.key(options.seed), 3)
    task = methods.make_task(name, max(256, *options.batch_sizes), key_task)
    scale = measure.regret_scale(task) if task.problem is not None else None
    ways = []
    if any(options.chosen(policy, "policy") for policy in (*methods.POLICY_ROWS, methods.PEER_ROW)):
        progress.console.print(f"{name}: preparing the policies", style="dim")
        ways += [
            way
            for way in methods.policy_methods(
                task, key_policy, TRAINING_STEPS_FULL if options.full else TRAINING_STEPS
            )
            if options.chosen(way.name, way.family)
        ]
    for search in methods.SEARCHES:
        wanted = ("arm", "critics") if task.problem is not None else ("critics",)
        if (options.full or options.methods or search.default in wanted) and options.chosen(
            search.name, search.family
        ):
            ways.append(methods.search_method(task, search))

    rows: list[dict[str, Any]] = []
    bar = progress.add_task(name, total=len(ways) * len(set(options.batch_sizes)))
    limits = (LIMITS_FULL if options.full else LIMITS) | {"longest_call_s": options.longest_call_s}
    for batch_size in sorted(set(options.batch_sizes)):
        rows += measure.measure_batch(task, ways, batch_size, key_act, rows, meter, scale=scale, **limits)
        progress.advance(bar, len(ways))
    return rows


def run(options: Options) -> dict[str, Any]:
    """Measure everything that the options ask for."""
    start = time.perf_counter()
    machine = harness.machine_record()
    meter = harness.GemmMeter()
    CONSOLE.print(f"device: {machine['device_kind']} ({machine['backend']}), {machine['device_count']} of them")
    rows: list[dict[str, Any]] = []
    meter.sample()
    with Progress(console=CONSOLE, transient=True) as progress:
        speed_rows = [] if options.methods else speed.measure(meter, progress, options.full)
        for name in dict.fromkeys(options.problem):
            rows += run_problem(options, name, meter, progress)
    meter.sample()
    measure.finish(rows, meter)
    settings = dataclasses.asdict(options) | {"output": options.output.name}
    return {
        "machine": machine,
        "settings": settings,
        "gemm": meter.record(),
        "rows": rows,
        "speed": speed_rows,
        "answer": report.answer(rows),
        "wall_time_s": time.perf_counter() - start,
    }


def main() -> int:
    """Run from the command line."""
    return command_line.run_and_write(tyro.cli(Options), run, report.show, CONSOLE, plots.plot_result)


if __name__ == "__main__":
    sys.exit(main())
