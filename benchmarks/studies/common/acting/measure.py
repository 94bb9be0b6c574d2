"""Measure ways to act at one batch size: compile, count, time side by side, and judge by regret in float64."""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Sequence
from typing import Any

import harness
import jax
import jax.numpy as jnp
import methods
import numpy as np

NUM_REGRET_ACTIONS = 1024  # uniform actions a state, for the scale of the regret
# States of a batch share a search's noise, and with it the luck of a key: methods are judged under several.
NUM_CHOICE_KEYS, NUM_KEYS = 2, 3  # to choose between methods by, and to report
MAX_STATES = 256  # judged; more would say little more
SUCCESSES = (1e-1, 1e-2, 1e-3, 1e-4)
REGRETS = ("regret", "normalized_regret", "normalized_regret_by_key", "normalized_regret_upper", "success")
EMPTY = (*REGRETS, "bound_violations", "regret_states", "choice_regret")


def measure_batch(
    task: methods.Task,
    ways: Sequence[methods.Method],
    batch_size: int,
    key: jax.Array,
    earlier: Sequence[dict[str, Any]],
    meter: harness.GemmMeter,
    *,
    scale: np.ndarray | None,
    longest_call_s: float,
    max_repetitions: int = 500,
    compile_threads: int = 1,
    **limits: float,
) -> list[dict[str, Any]]:
    """One row a way, in order; ways that `earlier` rows of smaller batches predict to take too long are skipped.

    Args:
        scale: of the regret, from `regret_scale`; None where no maximum is known.
        longest_call_s: calls predicted to take longer are left out.
        compile_threads: programs compiled at once; with more than one, compile times are those of busy cores.
        max_repetitions, limits: of `harness.time_interleaved`, with min_time_s and max_time_s.
    """
    rows = {way.name: new_row(task, way, batch_size, earlier, longest_call_s) for way in ways}
    live = [way for way in ways if rows[way.name]["skipped"] is None]
    states = task.states[0] if batch_size == 1 else task.states[:batch_size]
    arguments = {way.name: (way.params, key, states) for way in live}

    def compile_way(way: methods.Method) -> harness.Compiled:
        if not way.jittable:
            return harness.Compiled(way.act, 0.0)
        return harness.compile_call(jax.jit(way.act), *arguments[way.name])

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
    repetitions = {"min_repetitions": min_repetitions, "max_repetitions": max_repetitions}
    timings = harness.time_interleaved(calls, **limits, **repetitions)  # type: ignore[arg-type]
    for name, timing in timings.items():
        add_timing(rows[name], timing)
    meter.sample()
    return list(rows.values())


def new_row(
    task: methods.Task, way: methods.Method, batch_size: int, rows: Sequence[dict], longest_call_s: float
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


def look(row: dict, way: methods.Method, compiled: Any, args: tuple) -> None:
    """Run a method once, and note in its row what it did."""
    num_evaluations, num_gradients = methods.counts_of(compiled.function(*args))
    row["compile_time_s"] = compiled.compile_time_s
    row["num_evaluations"], row["num_gradients"] = num_evaluations, num_gradients
    row["flops_per_decision"] = methods.flops_per_decision(way, num_evaluations, num_gradients)


def judge(
    task: methods.Task, act: Any, params: Any, key: jax.Array, states: jax.Array, *, scale: np.ndarray
) -> dict[str, Any]:
    """Regrets of a way to act, compiled, on the distinct ones of a batch's states, under keys of two kinds."""
    count = min(len(states), task.num_states, MAX_STATES)
    keys = jax.random.split(key, NUM_CHOICE_KEYS + NUM_KEYS)
    actions = np.stack([np.asarray(methods.actions_of(act(params, key, states)))[:count] for key in keys])
    choice = regret(task, actions[:NUM_CHOICE_KEYS], scale)["normalized_regret"]["median"]
    return regret(task, actions[NUM_CHOICE_KEYS:], scale) | {"choice_regret": choice}


def add_timing(row: dict, timing: harness.Timing) -> None:
    """Times per decision, from times per call."""
    size = row["batch_size"]
    row["time_per_decision_s"] = timing.median_s / size
    row["time_per_decision_p99_s"] = timing.p99_s / size
    row["spread"] = timing.spread
    row["times_s"] = [round(time_s, 9) for time_s in timing.times_s]


def finish(rows: list[dict[str, Any]], meter: harness.GemmMeter) -> None:
    """Fill in what compares rows: ratios, fractions of the GEMM rate, regrets at other batch sizes."""
    measured = [row for row in rows if row["skipped"] is None]
    for row in measured:
        same = [r for r in measured if r["problem"] == row["problem"] and r["batch_size"] == row["batch_size"]]
        sample = [r["time_per_decision_s"] for r in same if r["method"] == methods.POLICY_ROWS[0]]
        row["ratio_to_policy_sample"] = row["time_per_decision_s"] / sample[0] if sample else None
        row["fraction_of_gemm"] = meter.fraction(row["flops_per_decision"], row["time_per_decision_s"])
    share_regrets(rows)


def share_regrets(rows: list[dict[str, Any]]) -> None:
    """Give each row the regrets of the one with most states among those of its problem and method."""
    measured = [row for row in rows if row["skipped"] is None]
    for row in measured:
        larger = [r for r in measured if (r["problem"], r["method"]) == (row["problem"], row["method"])]
        most = max(larger, key=lambda r: r["regret_states"] or 0)
        if most["regret_states"]:  # the same algorithm on more states says more than on the row's own
            row |= {name: most[name] for name in EMPTY}


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


def regret(task: methods.Task, actions: Any, scale: np.ndarray) -> dict[str, Any]:
    """Regret of actions `[K, S, N]` for the first S states under K keys; bounds in the actions' own dtype.

    Actions are rescored in float64, and taken together over keys and states, but for `normalized_regret_by_key`:
    the median of each key.
    """
    assert task.problem is not None
    given = np.asarray(actions)
    count = given.shape[1]
    low, high = (np.asarray(bound, given.dtype) for bound in (task.box.low, task.box.high))
    with jax.enable_x64(True):
        states = np.asarray(task.states[:count], np.float64)
        wide = given.astype(np.float64)
        values = np.stack([rescore(task.objective, task.params, states, own) for own in wide])
    lost = task.problem.maximum[:count] - values
    normalized = lost / scale[:count]
    upper = task.problem.upper_bound
    above = None
    if upper is not None and np.all(np.isfinite(upper[:count])):
        gap = upper[:count] - task.problem.maximum[:count]
        above = harness.summarize(((lost + gap) / (scale[:count] + gap)).ravel())
    return {
        "regret": harness.summarize(lost.ravel()),
        "normalized_regret": harness.summarize(normalized.ravel()),
        "normalized_regret_by_key": np.median(normalized, axis=1).tolist(),
        "normalized_regret_upper": above,
        "success": {str(level): float(np.mean(normalized <= level)) for level in SUCCESSES},
        "bound_violations": int(np.sum(~np.all((given >= low) & (given <= high), axis=-1))),
        "regret_states": count,
    }


@functools.partial(jax.jit, static_argnums=0)
def rescore(objective: Any, params: Any, states: jax.Array, actions: jax.Array) -> jax.Array:
    """Q of each state's action, in the arguments' own dtype."""
    return jax.vmap(objective, (None, 0, 0))(params, states, actions)
