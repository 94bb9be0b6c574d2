"""Measure ways to act at one batch size: compile, count, time side by side, and judge by regret in float64."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from studies.common.acting.regret import regret
from studies.common.acting.tasks import Task
from studies.common.acting.ways import POLICY_ROWS, Method, actions_of, counts_of, flops_per_decision
from studies.common.timing import Compiled, GemmMeter, Timing, compile_call, time_interleaved

# States of a batch share a search's noise, and with it the luck of a key: methods are judged under several.
NUM_CHOICE_KEYS, NUM_KEYS = 2, 3  # to choose between methods by, and to report
MAX_STATES = 256  # judged; more would say little more
REGRETS = ("regret", "normalized_regret", "normalized_regret_by_key", "normalized_regret_upper", "success")
EMPTY = (*REGRETS, "bound_violations", "regret_states", "choice_regret")


def measure_batch(
    task: Task,
    ways: Sequence[Method],
    batch_size: int,
    key: jax.Array,
    earlier: Sequence[dict[str, Any]],
    meter: GemmMeter,
    *,
    scale: np.ndarray | None,
    longest_call_s: float,
    max_repetitions: int = 500,
    compile_threads: int = 1,
    **limits: Any,
) -> list[dict[str, Any]]:
    """One row a way, in order; ways that `earlier` rows of smaller batches predict to take too long are skipped.

    Args:
        scale: of the regret, from `regret_scale`; None where no maximum is known.
        longest_call_s: calls predicted to take longer are left out.
        compile_threads: programs compiled at once; with more than one, compile times are those of busy cores.
        max_repetitions, limits: of `timing.time_interleaved`, with min_time_s and max_time_s.
    """
    rows = {way.name: new_row(task, way, batch_size, earlier, longest_call_s) for way in ways}
    live = [way for way in ways if rows[way.name]["skipped"] is None]
    states = task.states[0] if batch_size == 1 else task.states[:batch_size]
    arguments = {way.name: (way.params, key, states) for way in live}

    def compile_way(way: Method) -> Compiled:
        if not way.jittable:
            return Compiled(way.act, 0.0)
        return compile_call(jax.jit(way.act), *arguments[way.name])

    with concurrent.futures.ThreadPoolExecutor(compile_threads) as threads:
        compiled = dict(zip((way.name for way in live), threads.map(compile_way, live), strict=True))
    for way in live:
        look(rows[way.name], way, compiled[way.name], arguments[way.name])
        num_states = min(batch_size, task.num_states, MAX_STATES)
        judged = [row["regret_states"] or 0 for row in earlier if row["method"] == way.name]
        if scale is not None and batch_size > 1 and num_states > max(judged, default=0):
            rows[way.name] |= judge(task, compiled[way.name].function, *arguments[way.name], scale=scale)
    meter.sample()
    calls = {name: (compiled[name].function, args) for name, args in arguments.items()}
    min_repetitions = min(max_repetitions, 200 if batch_size == 1 else 3)
    timings = time_interleaved(calls, min_repetitions=min_repetitions, max_repetitions=max_repetitions, **limits)
    for name, timing in timings.items():
        add_timing(rows[name], timing)
    meter.sample()
    return list(rows.values())


def new_row(
    task: Task, way: Method, batch_size: int, rows: Sequence[dict], longest_call_s: float
) -> dict[str, Any]:
    """An empty row, marked as skipped where the times of smaller batches predict too long a call."""
    earlier = [row for row in rows if row["method"] == way.name and row["skipped"] is None]
    row: dict[str, Any] = {"problem": task.name, "method": way.name, "family": way.family}
    row |= {"batch_size": batch_size} | dict.fromkeys((*EMPTY, "skipped"))
    if earlier and earlier[-1]["batch_size"] > 1:
        predicted_s = earlier[-1]["time_per_decision_s"] * batch_size
        if predicted_s > longest_call_s:
            row["skipped"] = f"a call predicted to take over {longest_call_s:g} s (--full raises the limit)"
    return row


def look(row: dict, way: Method, compiled: Any, args: tuple) -> None:
    """Run a method once, and note in its row what it did."""
    num_evaluations, num_gradients = counts_of(compiled.function(*args))
    row["compile_time_s"] = compiled.compile_time_s
    row["num_evaluations"], row["num_gradients"] = num_evaluations, num_gradients
    row["flops_per_decision"] = flops_per_decision(way, num_evaluations, num_gradients)


def judge(
    task: Task, act: Any, params: Any, key: jax.Array, states: jax.Array, *, scale: np.ndarray
) -> dict[str, Any]:
    """Regrets of a way to act, compiled, on the distinct ones of a batch's states, under keys of two kinds."""
    count = min(len(states), task.num_states, MAX_STATES)
    keys = jax.random.split(key, NUM_CHOICE_KEYS + NUM_KEYS)
    actions = np.stack([np.asarray(actions_of(act(params, key, states)))[:count] for key in keys])
    choice = regret(task, actions[:NUM_CHOICE_KEYS], scale)["normalized_regret"]["median"]
    return regret(task, actions[NUM_CHOICE_KEYS:], scale) | {"choice_regret": choice}


def add_timing(row: dict, timing: Timing) -> None:
    """Times per decision, from times per call."""
    size = row["batch_size"]
    row["time_per_decision_s"] = timing.median_s / size
    row["time_per_decision_p99_s"] = timing.p99_s / size
    row["spread"] = timing.spread
    row["times_s"] = [round(time_s, 9) for time_s in timing.times_s]


def finish(rows: list[dict[str, Any]], meter: GemmMeter) -> None:
    """Fill in what compares rows that were timed side by side: ratios, and fractions of the GEMM rate so far."""
    measured = [row for row in rows if row["skipped"] is None]
    for row in measured:
        same = [r for r in measured if r["problem"] == row["problem"] and r["batch_size"] == row["batch_size"]]
        sample = [r["time_per_decision_s"] for r in same if r["method"] == POLICY_ROWS[0]]
        row["ratio_to_policy_sample"] = row["time_per_decision_s"] / sample[0] if sample else None
        row["fraction_of_gemm"] = meter.fraction(row["flops_per_decision"], row["time_per_decision_s"])


def share_regrets(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows, each with the regrets of the one with most states among those of its problem and method.

    The same algorithm on more states says more than on the row's own.
    """
    most: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in rows:
        key = row["problem"], row["method"]
        if row["skipped"] is None and (row["regret_states"] or 0) > (most.get(key, {}).get("regret_states") or 0):
            most[key] = row
    return [
        dict(row) | {name: most[key][name] for name in EMPTY}
        if row["skipped"] is None and (key := (row["problem"], row["method"])) in most
        else dict(row)
        for row in rows
    ]
