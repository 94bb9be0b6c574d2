"""Time per decision and regret of every way to act, by problem and batch size."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.progress import Progress

from studies.common.acting.measure import finish, measure_batch, share_regrets
from studies.common.acting.regret import regret_scale
from studies.common.acting.tasks import PROBLEMS, Task, make_task
from studies.common.acting.ways import (
    METHODS,
    PEER_ROW,
    POLICY_ROWS,
    SEARCHES,
    Method,
    policy_methods,
    search_method,
)
from studies.common.command_line import check_output
from studies.common.results import Results
from studies.common.study import Study
from studies.common.timing import GemmMeter
from studies.sampling_vs_argmax import plots, report, speed

LIMITS: dict[str, Any] = {"min_time_s": 0.05, "max_time_s": 0.3}
LIMITS_FULL: dict[str, Any] = {"min_time_s": 0.5, "max_time_s": 10.0}
TRAINING_STEPS, TRAINING_STEPS_FULL = 1600, 20_000


@dataclasses.dataclass(frozen=True)
class Options:
    """Sampling a policy against searching for argmax_a Q(s, a) over R^6: time per decision and regret."""

    full: bool = False
    """Every method on every problem and batch size, longer timings: for accelerators (the default run skips
    what would take more than 0.4 s a call, and some methods on the critics)."""
    problem: tuple[str, ...] = PROBLEMS
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
            if name not in PROBLEMS:
                raise ValueError(f"--problem: expected some of {', '.join(PROBLEMS)}; got {name!r}")
        if not self.problem or not self.batch_sizes:
            raise ValueError("--problem and --batch-sizes: expected at least one value each")
        for size in self.batch_sizes:
            if size < 1:
                raise ValueError(f"--batch-sizes: expected positive integers; got {size}")
        families = {"policy", *(search.family for search in SEARCHES)}
        for name in self.methods:
            if name not in METHODS and name not in families:
                known = ", ".join((*sorted(families), *METHODS))
                raise ValueError(f"--methods: expected some of {known}; got {name!r}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed: expected 0 to 2^32 - 1; got {self.seed}")
        check_output(self.output)

    @property
    def longest_call_s(self) -> float:
        """Calls predicted to take longer are left out."""
        return 10.0 if self.full else 0.4

    def chosen(self, name: str, family: str) -> bool:
        """Whether a method is to be run."""
        return not self.methods or name in self.methods or family in self.methods


def chosen_ways(options: Options, task: Task, key: jax.Array, console: Console) -> list[Method]:
    """The methods that the options ask for on a task; its policies are trained."""
    ways = []
    if any(options.chosen(policy, "policy") for policy in (*POLICY_ROWS, PEER_ROW)):
        console.print(f"{task.name}: preparing the policies", style="dim")
        steps = TRAINING_STEPS_FULL if options.full else TRAINING_STEPS
        ways += [way for way in policy_methods(task, key, steps) if options.chosen(way.name, way.family)]
    wanted = ("arm", "critics") if task.problem is not None else ("critics",)
    for search in SEARCHES:
        by_default = options.full or options.methods or search.default in wanted
        if by_default and options.chosen(search.name, search.family):
            ways.append(search_method(task, search))
    return ways


def rows_of_problem(
    options: Options, name: str, meter: GemmMeter, progress: Progress
) -> Iterator[list[dict[str, Any]]]:
    """The rows of each batch size of one problem, timed side by side."""
    key_task, key_policy, key_act = jax.random.split(jax.random.key(options.seed), 3)
    task = make_task(name, max(256, *options.batch_sizes), key_task)
    scale = regret_scale(task) if task.problem is not None else None
    ways = chosen_ways(options, task, key_policy, progress.console)
    rows: list[dict[str, Any]] = []
    bar = progress.add_task(name, total=len(ways) * len(set(options.batch_sizes)))
    limits = (LIMITS_FULL if options.full else LIMITS) | {"longest_call_s": options.longest_call_s}
    for batch_size in sorted(set(options.batch_sizes)):
        new = measure_batch(task, ways, batch_size, key_act, rows, meter, scale=scale, **limits)
        finish(new, meter)
        rows += new
        progress.advance(bar, len(ways))
        yield new


def run(options: Options, results: Results, console: Console) -> None:
    """Measure everything that the options ask for; rows that are timed side by side are written together."""
    meter = GemmMeter()
    meter.sample()
    with Progress(console=console, transient=True) as progress:
        if not options.methods:
            results.add(*speed.measure(meter, progress, options.full), table="speed")
        for name in dict.fromkeys(options.problem):
            for rows in rows_of_problem(options, name, meter, progress):
                results.add(*rows)
    results.replace(lambda row: True, share_regrets(results.table()))
    meter.sample()
    results.put("gemm", meter.record())
    results.put("answer", report.answer(results.table()))


STUDY = Study("sampling_vs_argmax", Options, run, report.show, report.markdown, plots.figures)
