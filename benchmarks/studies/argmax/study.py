"""Every maximizer by problem, budget and batch size: time and regret.

Runs every maximizer with published or default settings and with tuned ones at each budget, on problems whose
maximum is known or bracketed. The tuned settings come from `tuning`.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.progress import Progress

from studies.argmax import peers, plots, report
from studies.argmax.deadlines import deadlines
from studies.argmax.settings import BUDGETS, FAMILIES, FIXED, GRADIENT_COST, TUNED, Setting, candidates
from studies.argmax.ways import policy_ways, way_of
from studies.common.acting.cases import DIMENSION_FAMILIES, DIMENSIONS, NAMES, TIMED_EVERYWHERE, Case, make_case
from studies.common.acting.measure import finish, measure_batch, share_regrets
from studies.common.acting.regret import regret_scale
from studies.common.command_line import check_output
from studies.common.machine import machine_record
from studies.common.results import Results, read_json
from studies.common.study import Study
from studies.common.timing import GemmMeter

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
SEED = 22  # of the searches' noise
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
    """Go on with the output, or with what an interrupted run left of it: keep its other rows."""
    output: Path = Path("results/argmax.json")
    """The JSON to write; the figures lie beside it."""

    def check(self) -> None:
        """Raise ValueError, naming the option, for what cannot be run."""
        known = (*NAMES, *sweep_names())
        for name in self.problem:
            if name not in known:
                raise ValueError(f"--problem: expected some of {', '.join(known)}; got {name!r}")
        for size in self.batch_sizes:
            if size < 1:
                raise ValueError(f"--batch-sizes: expected positive integers; got {size}")
        for budget in self.budgets:
            if budget not in BUDGETS:
                raise ValueError(f"--budgets: expected some of {BUDGETS}; got {budget}")
        families = dict.fromkeys((*FAMILIES, *(setting.family for setting in FIXED), "policy", "peers"))
        for name in self.methods:
            if name not in families:
                raise ValueError(f"--methods: expected some of {', '.join(families)}; got {name!r}")
        check_output(self.output)
        if self.update and (earlier := Results.earlier(self.output)):
            self.check_earlier(earlier)

    def check_earlier(self, path: Path) -> None:
        """Raise ValueError where an earlier result's rows are not to stand beside new ones."""
        try:
            result = read_json(path)
            earlier, full = result["runs"][-1], {problem["full"] for problem in result["problems"].values()}
            now = machine_record()
            now["versions"] = {name: now["versions"].get(name) for name in earlier["versions"]}
            differing = [part for part in SAME_MACHINE if earlier[part] != now[part]]
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise ValueError(f"--update: {path} is not a result of this benchmark ({error!r})") from error
        for part in differing:
            raise ValueError(f"--update: expected {part} {earlier[part]}, as before; got {now[part]}")
        if full - {self.full}:
            raise ValueError(f"--update: expected {'no ' if self.full else ''}--full, as before")

    def wants(self, family: str) -> bool:
        """Whether a family is to run."""
        return not self.methods or family in self.methods

    def resolved(self) -> Options:
        """The options with their defaults filled in."""
        names = (*NAMES, *sweep_names()) if self.full else TIMED_EVERYWHERE[:2]
        return dataclasses.replace(
            self,
            problem=tuple(dict.fromkeys(self.problem or names)),
            batch_sizes=tuple(sorted(set(self.batch_sizes or ((1, 256, 4096) if self.full else (1, 256))))),
            budgets=tuple(sorted(set(self.budgets or (BUDGETS if self.full else (128, 4096))))),
        )


def sweep_names() -> list[str]:
    """The problems of the sweep over dimensions, but for six dimensions, which every run has."""
    return [f"{f}_{n}d" for f in DIMENSION_FAMILIES for n in DIMENSIONS if n != 6]


def settings_for(options: Options, name: str, num_dims: int, tuned: dict[str, dict[str, str]]) -> list[Setting]:
    """The settings to run on a problem: published ones and, for each budget, the tuned one of each family."""
    in_sweep = name in sweep_names()
    settings = [] if in_sweep else list(FIXED)
    for family in SWEEP_FAMILIES if in_sweep else FAMILIES:
        for budget in SWEEP_BUDGETS if in_sweep else options.budgets:
            found = candidates(family, budget, num_dims)
            label = tuned.get(family, {}).get(str(budget))
            settings += found if len(found) == 1 else [setting for setting in found if setting.label == label]
    return [setting for setting in settings if options.wants(setting.family)]


def case_of(options: Options, name: str) -> tuple[Case, tuple[int, ...]]:
    """A problem, and the batch sizes that it is run at."""
    small = [size for size in options.batch_sizes if size <= 256] or [options.batch_sizes[0]]
    batch_sizes = options.batch_sizes if name in TIMED_EVERYWHERE else (small[-1],)
    steps = TRAINING_STEPS_FULL if options.full else TRAINING_STEPS
    with_policy = any("policy" in family for family in options.methods or ("policy",))
    return make_case(name, "report", max(256, *batch_sizes), steps if with_policy else 0), batch_sizes


def rows_of_problem(
    options: Options,
    case: Case,
    batch_sizes: tuple[int, ...],
    tuned: dict[str, dict[str, str]],
    meter: GemmMeter,
) -> Iterator[list[dict[str, Any]]]:
    """The rows of each batch size, timed side by side."""
    task = case.task
    settings = {
        setting.name: setting
        for setting in settings_for(options, task.name, task.box.num_dims, tuned)
        if not setting.num_proposals or case.policy is not None
    }
    ways = [way_of(case, setting) for setting in settings.values()]
    if options.wants("policy"):
        ways = policy_ways(case) + ways
    scale = regret_scale(task)
    limits = LIMITS_FULL if options.full else LIMITS
    rows: list[dict[str, Any]] = []
    for batch_size in batch_sizes if ways else ():
        new = measure_batch(task, ways, batch_size, jax.random.key(SEED), rows, meter, scale=scale, **limits)
        finish(new, meter)
        rows += new
        for row in new:
            add_setting(row, settings.get(row["method"]), task.box.num_dims)
        yield new


def about(options: Options, case: Case) -> dict[str, Any]:
    """What a problem is."""
    problem = case.task.problem
    assert problem is not None
    return {
        "title": case.title,
        "family": case.family,
        "num_dims": case.task.box.num_dims,
        "num_states": case.task.num_states,
        "maximum": "exact" if problem.upper_bound is None else "bracketed",
        "full": options.full,
    }


def peer_rows(options: Options, name: str) -> list[dict[str, Any]]:
    """Public peers beside pgjax, where they are wanted."""
    batch_sizes = tuple(size for size in options.batch_sizes if size in peers.GOALS)
    if name not in TIMED_EVERYWHERE[:2] or not batch_sizes or not options.wants("peers"):
        return []
    task = make_case(name, "report", max(256, *batch_sizes), 0).task
    limits = {name: LIMITS_FULL[name] for name in ("min_time_s", "max_time_s", "max_repetitions")}
    return peers.measure([task], batch_sizes, min_repetitions=3, **limits)


def add_setting(row: dict[str, Any], setting: Setting | None, num_dims: int) -> None:
    """Note in a row how its method was set, and what it costs in evaluations."""
    row["seed"] = SEED
    row["num_dims"] = num_dims
    row["budget"] = setting.budget if setting else None
    row["setting"] = setting.kind if setting else "policy"
    row["num_steps"] = setting.num_steps if setting else 0
    if row["skipped"] is None:
        row["cost"] = row["num_evaluations"] + GRADIENT_COST * row["num_gradients"]
        row["time_per_call_s"] = row["time_per_decision_s"] * row["batch_size"]


def run(options: Options, results: Results, console: Console) -> None:
    """Measure everything that the options ask for; rows that are timed side by side are written together."""
    start, options, meter = time.perf_counter(), options.resolved(), GemmMeter()
    tuned = read_json(TUNED)["choices"]
    results.put("tuned", tuned)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("problems", total=len(options.problem))
        for name in options.problem:
            case, batch_sizes = case_of(options, name)
            results.put("problems", results.parts.get("problems", {}) | {name: about(options, case)})
            for rows in rows_of_problem(options, case, batch_sizes, tuned, meter):
                replace_rows(results, rows, row_name)
            jax.clear_caches()  # hundreds of programs a problem, none used again
            shared = share_regrets([row for row in results.table() if row["problem"] == name])
            replace_rows(results, shared, row_name)
            replace_rows(results, peer_rows(options, name), lambda row: row["peer"], table="peers")
            progress.advance(bar)
            console.print(f"{name}: {len(shared)} rows after {time.perf_counter() - start:.0f} s", style="dim")
    if meter.samples:
        results.put("gemm", meter.record())
    results.put("deadlines", deadlines(results.parts))


def row_name(row: dict[str, Any]) -> Any:
    """What a row is replaced by name of: one made for a budget stands for its family and budget."""
    return (row["family"], row["budget"]) if row["budget"] else row["method"]


def replace_rows(
    results: Results, new: list[dict[str, Any]], name: Callable[[Any], Any], table: str = "rows"
) -> None:
    """Put new rows in the place of those of the same problem, batch size and name."""

    def key(row: dict[str, Any]) -> Any:
        return row["problem"], row["batch_size"], name(row)

    stale = set(map(key, new))
    results.replace(lambda row: key(row) in stale, new, table=table)


STUDY = Study("argmax", Options, run, report.show, report.markdown, plots.figures)
