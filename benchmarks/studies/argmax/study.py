"""Which maximizer finds argmax_a Q(s, a) best, and within which time?

    python benchmarks/argmax.py [--full] [--problem six_joint_arm] [--batch-sizes 1 256] [--budgets 512 4096] ...

Runs every maximizer with published or default settings and with tuned ones at each budget, on problems
whose maximum is known or bracketed. Writes a JSON with a row for each (problem, method, batch size), tables, a
sentence for each deadline, and figures. The tuned settings come from `argmax_tuning.py`.
"""

from __future__ import annotations

import dataclasses
import os

# Before NumPy loads: on vectors of six numbers OpenBLAS's threads wait for one another, and SciPy takes many times
# as long.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import argmax_cases
import argmax_peers
import argmax_plots
import argmax_report
import argmax_settings
import command_line
import harness
import jax
import measure
import tyro
from argmax_settings import FAMILIES, FIXED, GRADIENT_COST, Setting
from rich.console import Console
from rich.progress import Progress

CONSOLE = Console(width=max(shutil.get_terminal_size().columns, 118))
THREADS = {"compile_threads": os.cpu_count() or 1}
LIMITS: dict[str, Any] = {
    "min_time_s": 0.05,
    "max_time_s": 0.3,
    "longest_call_s": 0.5,
    "max_repetitions": 50,
} | THREADS
LIMITS_FULL: dict[str, Any] = {
    "min_time_s": 0.1,
    "max_time_s": 1.0,
    "longest_call_s": 3.0,
    "max_repetitions": 50,
} | THREADS
TRAINING_STEPS, TRAINING_STEPS_FULL = 800, 4000
# The sweep over dimensions: families without tuned settings but the budget's, and one tuned one of each kind.
SWEEP_FAMILIES = ("grid", "uniform search", "CEM", "CMA-ES", "coordinate zoom", "Adam", "L-BFGS", "CEM, L-BFGS")
SWEEP_BUDGETS = (4096,)
# Of rows of one result.
SAME_MACHINE = ("cpu", "usable_cores", "device_kind", "device_count", "versions", "x64", "matmul_precision")


@dataclasses.dataclass(frozen=True)
class Options:
    """Every maximizer by problem, budget and batch size: time and regret."""

    full: bool = False
    """All problems, budgets and dimensions, longer timings (the default run is a sample of them)."""
    problem: tuple[str, ...] = ()
    """Problems to run; default: two, or with --full all; peers are measured on the first two."""
    batch_sizes: tuple[int, ...] = ()
    """States decided at once; default 1 256, with --full 1 256 4096. All but the main problems take 256 alone."""
    budgets: tuple[int, ...] = ()
    """Evaluations a decision (a gradient counts three), of 32 128 512 4096 32768; default 128 4096."""
    methods: tuple[str, ...] = ()
    """Families to run, "policy", and "peers": public maximizers beside pgjax; default all."""
    update: bool = False
    """Go on with the output: keep its other rows."""
    output: Path = Path("results/argmax.json")
    """The JSON to write; the figures lie beside it. A new one is written after every problem, as with --update:
    Ctrl-C loses one."""

    def check(self) -> None:
        """Raise ValueError, naming the option, for what cannot be run."""
        known = (*argmax_cases.NAMES, *sweep_names())
        for name in self.problem:
            if name not in known:
                raise ValueError(f"--problem: expected some of {', '.join(known)}; got {name!r}")
        for size in self.batch_sizes:
            if size < 1:
                raise ValueError(f"--batch-sizes: expected positive integers; got {size}")
        for budget in self.budgets:
            if budget not in argmax_settings.BUDGETS:
                raise ValueError(f"--budgets: expected some of {argmax_settings.BUDGETS}; got {budget}")
        families = dict.fromkeys((*FAMILIES, *(setting.family for setting in FIXED), "policy", "peers"))
        for name in self.methods:
            if name not in families:
                raise ValueError(f"--methods: expected some of {', '.join(families)}; got {name!r}")
        command_line.check_output(self.output)
        if self.update and self.output.exists():
            self.check_earlier()

    def check_earlier(self) -> None:
        """Raise ValueError where the output's rows are not to stand beside new ones."""
        try:
            result = harness.read_json(self.output)
            earlier, full = result["machine"], {problem["full"] for problem in result["problems"].values()}
            now = harness.machine_record()
            now["versions"] = {name: now["versions"].get(name) for name in earlier["versions"]}
            differing = [part for part in SAME_MACHINE if earlier[part] != now[part]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"--update: {self.output} is not a result of this benchmark ({error!r})") from error
        for part in differing:
            raise ValueError(f"--update: expected {part} {earlier[part]}, as before; got {now[part]}")
        if full - {self.full}:
            raise ValueError(f"--update: expected {'no ' if self.full else ''}--full, as before")

    def wants(self, family: str) -> bool:
        """Whether a family is to run."""
        return not self.methods or family in self.methods

    def resolved(self) -> Options:
        """The options with their defaults filled in."""
        names = (*argmax_cases.NAMES, *sweep_names()) if self.full else argmax_cases.TIMED_EVERYWHERE[:2]
        return dataclasses.replace(
            self,
            problem=tuple(dict.fromkeys(self.problem or names)),
            batch_sizes=tuple(sorted(set(self.batch_sizes or ((1, 256, 4096) if self.full else (1, 256))))),
            budgets=tuple(sorted(set(self.budgets or (argmax_settings.BUDGETS if self.full else (128, 4096))))),
        )


def sweep_names() -> list[str]:
    """The problems of the sweep over dimensions, but for six dimensions, which every run has."""
    return [f"{f}_{n}d" for f in argmax_cases.DIMENSION_FAMILIES for n in argmax_cases.DIMENSIONS if n != 6]


def settings_for(options: Options, name: str, num_dims: int, tuned: dict[str, dict[str, str]]) -> list[Setting]:
    """The settings to run on a problem: published ones and, for each budget, the tuned one of each family."""
    in_sweep = name in sweep_names()
    settings = [] if in_sweep else list(FIXED)
    for family in SWEEP_FAMILIES if in_sweep else FAMILIES:
        for budget in SWEEP_BUDGETS if in_sweep else options.budgets:
            found = argmax_settings.candidates(family, budget, num_dims)
            label = tuned.get(family, {}).get(str(budget))
            settings += found if len(found) == 1 else [setting for setting in found if setting.label == label]
    return [setting for setting in settings if options.wants(setting.family)]


def run_problem(
    options: Options, name: str, tuned: dict[str, dict[str, str]], meter: harness.GemmMeter, progress: Progress
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the problem is, and its rows."""
    everywhere = name in argmax_cases.TIMED_EVERYWHERE
    small = [size for size in options.batch_sizes if size <= 256] or [options.batch_sizes[0]]
    batch_sizes = options.batch_sizes if everywhere else (small[-1],)
    steps = TRAINING_STEPS_FULL if options.full else TRAINING_STEPS
    steps = steps if any("policy" in family for family in options.methods or ("policy",)) else 0
    case = argmax_cases.make_case(name, "report", max(256, *batch_sizes), steps)
    task = case.task
    assert task.problem is not None
    settings = {
        setting.name: setting
        for setting in settings_for(options, name, task.box.num_dims, tuned)
        if not setting.num_proposals or case.policy is not None
    }
    ways = [argmax_cases.way_of(case, setting) for setting in settings.values()]
    if options.wants("policy"):
        ways = argmax_cases.policy_ways(case) + ways
    scale = measure.regret_scale(task)
    rows: list[dict[str, Any]] = []
    bar = progress.add_task(name, total=len(batch_sizes))
    for batch_size in batch_sizes if ways else ():
        key = jax.random.key(22)
        limits = LIMITS_FULL if options.full else LIMITS
        rows += measure.measure_batch(task, ways, batch_size, key, rows, meter, scale=scale, **limits)
        progress.advance(bar)
    for row in rows:
        add_setting(row, settings.get(row["method"]), task.box.num_dims)
    upper = task.problem.upper_bound
    about = {
        "title": case.title,
        "family": case.family,
        "num_dims": task.box.num_dims,
        "num_states": task.num_states,
        "maximum": "exact" if upper is None else "bracketed",
        "full": options.full,
    }
    jax.clear_caches()  # hundreds of programs a problem, none used again
    return about, rows


def run_peers(options: Options, name: str) -> list[dict[str, Any]]:
    """Public peers beside pgjax, where they are wanted."""
    batch_sizes = tuple(size for size in options.batch_sizes if size in argmax_peers.GOALS)
    if name not in argmax_cases.TIMED_EVERYWHERE[:2] or not batch_sizes or not options.wants("peers"):
        return []
    task = argmax_cases.make_case(name, "report", max(256, *batch_sizes), 0).task
    limits = {name: LIMITS_FULL[name] for name in ("min_time_s", "max_time_s", "max_repetitions")}
    return argmax_peers.measure([task], batch_sizes, min_repetitions=3, **limits)


def add_setting(row: dict[str, Any], setting: Setting | None, num_dims: int) -> None:
    """Note in a row how its method was set, and what it costs in evaluations."""
    row["num_dims"] = num_dims
    row["budget"] = setting.budget if setting else None
    row["setting"] = setting.kind if setting else "policy"
    row["num_steps"] = setting.num_steps if setting else 0
    if row["skipped"] is None:
        row["cost"] = row["num_evaluations"] + GRADIENT_COST * row["num_gradients"]
        row["time_per_call_s"] = row["time_per_decision_s"] * row["batch_size"]


def run(options: Options) -> dict[str, Any]:
    """Measure everything that the options ask for."""
    start, options = time.perf_counter(), options.resolved()
    result: dict[str, Any] = {"problems": {}, "rows": [], "peers": [], "wall_time_s": 0.0}
    write_often = options.update or not options.output.exists()
    if options.update and options.output.exists():
        result |= harness.read_json(options.output)
    before_s = result["wall_time_s"]
    machine, meter = harness.machine_record(), harness.GemmMeter()
    settings = dataclasses.asdict(options) | {"output": options.output.name}
    result |= {"machine": machine, "settings": settings, "tuned": harness.read_json(argmax_settings.TUNED)}
    CONSOLE.print(f"device: {machine['device_kind']} ({machine['backend']}), {machine['device_count']} of them")
    with Progress(console=CONSOLE, transient=True) as progress:
        for name in options.problem:
            about, rows = run_problem(options, name, result["tuned"]["choices"], meter, progress)
            measure.finish(rows, meter)
            about |= {part: machine[part] for part in ("date_utc", "git_commit", "git_dirty")}
            about |= {"gemm_rate_flops": meter.rate, "methods": options.methods}
            result["problems"][name] = result["problems"].get(name, {}) | about
            replace_rows(result["rows"], rows, ("problem", "batch_size"), row_name)
            measure.share_regrets(result["rows"])
            peers = run_peers(options, name)
            replace_rows(result["peers"], peers, ("problem", "batch_size"), lambda row: row["peer"])
            result["gemm"] = meter.record() if rows else result.get("gemm")
            result["deadlines"] = argmax_report.deadlines(result)
            result["wall_time_s"] = before_s + time.perf_counter() - start
            if write_often:
                harness.write_json(options.output, result)
            CONSOLE.print(f"{name}: {len(rows)} rows after {time.perf_counter() - start:.0f} s", style="dim")
    return result


def row_name(row: dict[str, Any]) -> Any:
    """What a row is replaced by name of: one made for a budget stands for its family and budget."""
    return (row["family"], row["budget"]) if row["budget"] else row["method"]


def replace_rows(
    rows: list[dict[str, Any]], new: list[dict[str, Any]], fields: tuple[str, ...], name: Callable[[Any], Any]
) -> None:
    """Put new rows in the place of those with the same fields and name."""

    def key(row: dict[str, Any]) -> Any:
        return *(row[field] for field in fields), name(row)

    stale = set(map(key, new))
    rows[:] = [row for row in rows if key(row) not in stale] + new


def main() -> int:
    """Run from the command line."""
    return command_line.run_and_write(
        tyro.cli(Options), run, argmax_report.show, CONSOLE, argmax_plots.plot_result
    )


if __name__ == "__main__":
    sys.exit(main())
