"""What does it cost to act: sample a policy, or search for argmax_a Q(s, a) over R^6?

    python benchmarks/sampling_vs_argmax.py [--full] [--problem six_joint_arm] [--batch-sizes 1 256] ...

Measures time per decision and regret of every method on whatever device JAX has, prints a table and one
sentence that answers, and writes a JSON with all of it and two figures beside it.
"""

from __future__ import annotations

import dataclasses
import functools
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import harness
import jax
import jax.numpy as jnp
import methods
import numpy as np
import plots
import report
import speed
import tyro
from rich.console import Console
from rich.progress import Progress

CONSOLE = Console(width=max(shutil.get_terminal_size().columns, 118))
NUM_REGRET_ACTIONS = 1024  # uniform actions a state, for the scale of the regret
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
        if self.output.suffix != ".json" or self.output.is_dir():
            raise ValueError(f"--output: expected the name of a .json file; got {self.output}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed: expected 0 to 2^32 - 1; got {self.seed}")
        try:
            self.output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"--output: cannot make its folder: {error}") from error

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
    scale = regret_scale(task) if task.problem is not None else None
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
    bar = progress.add_task(name, total=2 * len(ways) * len(set(options.batch_sizes)))
    for batch_size in sorted(set(options.batch_sizes)):
        batch_rows = {way.name: new_row(task, way, batch_size, rows, options) for way in ways}
        live = [way for way in ways if batch_rows[way.name]["skipped"] is None]
        states = task.states[0] if batch_size == 1 else task.states[:batch_size]
        arguments = {way.name: (way.params, key_act, states) for way in live}
        compiled = {
            way.name: harness.compile_call(jax.jit(way.act), *arguments[way.name])
            if way.jittable
            else harness.Compiled(way.act, 0.0, None)
            for way in live
        }
        progress.advance(bar, len(ways))
        for way in live:
            look(batch_rows[way.name], task, way, compiled[way.name], arguments[way.name], scale)
        meter.sample()
        calls = {name: (compiled[name].function, args) for name, args in arguments.items()}
        repetitions = {"min_repetitions": 200 if batch_size == 1 else 3, "max_repetitions": 500}
        limits = LIMITS_FULL if options.full else LIMITS
        for method, timing in harness.time_interleaved(calls, **limits, **repetitions).items():
            add_timing(batch_rows[method], timing)
        meter.sample()
        progress.advance(bar, len(ways))
        rows += batch_rows.values()
    return rows


def new_row(task: methods.Task, way: methods.Method, batch_size: int, rows: list, options: Options) -> dict:
    """An empty row, marked as skipped where the times of smaller batches predict too long a call."""
    earlier = [row for row in rows if row["method"] == way.name and row["skipped"] is None]
    row = {"problem": task.name, "method": way.name, "family": way.family, "batch_size": batch_size}
    row |= dict.fromkeys(("regret", "normalized_regret", "bound_violations", "regret_states", "skipped"))
    if earlier and earlier[-1]["batch_size"] > 1:
        predicted_s = earlier[-1]["time_per_decision_s"] * batch_size
        if predicted_s > options.longest_call_s:
            limit = "--full raises the limit" if not options.full else "the limit of --full"
            row["skipped"] = f"a call predicted to take over {options.longest_call_s:g} s ({limit})"
    return row


def look(row: dict, task: methods.Task, way: methods.Method, compiled: Any, args: tuple, scale: Any) -> None:
    """Run a method once, and note in its row what is not about time."""
    result = compiled.function(*args)
    num_evaluations, num_gradients = methods.counts_of(result)
    row["compile_time_s"] = compiled.compile_time_s
    row["num_evaluations"], row["num_gradients"] = num_evaluations, num_gradients
    row["flops_per_decision"] = methods.flops_per_decision(way, num_evaluations, num_gradients)
    if scale is not None and row["batch_size"] > 1:
        row |= regret(task, methods.actions_of(result), scale)


def add_timing(row: dict, timing: harness.Timing) -> None:
    """Times per decision, from times per call."""
    size = row["batch_size"]
    row["time_per_decision_s"] = timing.median_s / size
    row["time_per_decision_p99_s"] = timing.p99_s / size
    row["spread"] = timing.spread
    row["times_s"] = [round(time_s, 9) for time_s in timing.times_s]


def finish(rows: list[dict[str, Any]], meter: harness.GemmMeter) -> None:
    """Fill in what compares rows with one another: ratios, fractions of the GEMM rate, regrets at batch 1."""
    measured = [row for row in rows if row["skipped"] is None]
    for row in measured:
        same = [r for r in measured if r["problem"] == row["problem"] and r["batch_size"] == row["batch_size"]]
        sample = [r["time_per_decision_s"] for r in same if r["method"] == methods.POLICY_ROWS[0]]
        row["ratio_to_policy_sample"] = row["time_per_decision_s"] / sample[0] if sample else None
        row["fraction_of_gemm"] = meter.fraction(row["flops_per_decision"], row["time_per_decision_s"])
        larger = [r for r in measured if (r["problem"], r["method"]) == (row["problem"], row["method"])]
        most = max(larger, key=lambda r: r["regret_states"] or 0)
        if most["regret_states"]:  # the same algorithm on more states says more than on the row's own
            row |= {k: most[k] for k in ("regret", "normalized_regret", "bound_violations", "regret_states")}


def regret_scale(task: methods.Task) -> np.ndarray:
    """Maximum minus the mean over uniform actions, for each state, in float64."""
    assert task.problem is not None
    with jax.enable_x64(True):
        uniform = jax.random.uniform(jax.random.key(1), (NUM_REGRET_ACTIONS, task.box.num_dims), jnp.float64)
        actions = task.box.low[None] + (task.box.high - task.box.low)[None] * uniform
        states = np.asarray(task.states, np.float64)
        values = jax.jit(lambda s, a: jax.lax.map(lambda s: jnp.mean(jax.vmap(
            lambda a: task.objective(task.params, s, a))(a)), s, batch_size=16))(states, actions)  # fmt: skip
        return task.problem.maximum - np.asarray(values)


def regret(task: methods.Task, actions: jax.Array, scale: np.ndarray) -> dict[str, Any]:
    """Regret of the actions for the first states, rescored in float64; bounds in the actions' own dtype."""
    assert task.problem is not None
    count = len(actions)
    given = np.asarray(actions)
    low, high = (np.asarray(bound, given.dtype) for bound in (task.box.low, task.box.high))
    with jax.enable_x64(True):
        values = rescore(
            task.objective, task.params, np.asarray(task.states[:count], np.float64), given.astype(np.float64)
        )
    lost = task.problem.maximum[:count] - np.asarray(values)
    return {
        "regret": harness.summarize(lost),
        "normalized_regret": harness.summarize(lost / scale[:count]),
        "bound_violations": int(np.sum(~np.all((given >= low) & (given <= high), axis=-1))),
        "regret_states": count,
    }


@functools.partial(jax.jit, static_argnums=0)
def rescore(objective: Any, params: Any, states: jax.Array, actions: jax.Array) -> jax.Array:
    """Q of each state's action, in the arguments' own dtype."""
    return jax.vmap(objective, (None, 0, 0))(params, states, actions)


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
    finish(rows, meter)
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
    options = tyro.cli(Options)
    try:
        options.check()
    except ValueError as error:
        Console(stderr=True).print(str(error), style="red", highlight=False)
        return 2
    try:
        result = run(options)
    except KeyboardInterrupt:
        CONSOLE.print("interrupted; nothing was written, earlier results are as they were")
        return 130
    if not result["rows"]:
        CONSOLE.print("no method was measured: the ones asked for do not run on these problems")
        return 1
    harness.write_json(options.output, result)
    figures = plots.plot_result(options.output)
    report.show(CONSOLE, result)
    CONSOLE.print(f"{result['wall_time_s']:.0f} s; wrote {', '.join(str(p) for p in (options.output, *figures))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
