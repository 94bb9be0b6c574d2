"""The project's speed goals, each measured side by side with its floor in the same run."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from rich.progress import Progress

import pgjax
from studies.common.acting import tasks, torch_policy, ways
from studies.common.timing import GemmMeter, time_call, time_interleaved

SIZES = (1, 4096, 65_536)


def measure(meter: GemmMeter, progress: Progress, full: bool) -> list[dict[str, Any]]:
    """One row a goal: what, measured (a ratio), goal, whether it is met, and the times it comes from."""
    bar = progress.add_task("speed goals", total=len(SIZES) + 1)
    limits: dict[str, Any] = (
        {"min_time_s": 1.0, "max_time_s": 5.0} if full else {"min_time_s": 0.3, "max_time_s": 1.0}
    )
    times: dict[str, float] = {}
    for size in SIZES:
        calls = policy_calls(size)
        if size == 1:
            calls |= dispatch_calls()
        timings = time_interleaved(calls, **limits, min_repetitions=20, max_repetitions=20_000, num_rounds=10)
        times |= {f"{name} B={size}": timing.median_s for name, timing in timings.items()}
        progress.advance(bar)
    cem_fraction = critic_fraction(meter, limits)
    progress.advance(bar)
    return goals(times, cem_fraction)


def policy_calls(size: int) -> dict[str, Any]:
    """The chapter's policy: bare forward pass and sample; in eager PyTorch too where it is installed."""
    policy = pgjax.GaussianPolicy(tasks.ACTION_SIZE)
    shape = (tasks.STATE_SIZE,) if size == 1 else (size, tasks.STATE_SIZE)
    observation = jax.random.normal(jax.random.key(0), shape)
    params = policy.init(jax.random.key(1), observation)
    sample = jax.jit(functools.partial(pgjax.sample, policy))
    forward = jax.jit(lambda params, observation: policy.apply(params, observation).loc)  # type: ignore[union-attr]
    calls: dict[str, Any] = {
        "forward": (forward, (params, observation)),
        "sample": (sample, (params, jax.random.key(2), observation)),
    }
    if torch_policy.torch_available():
        calls["torch"] = (torch_policy.torch_policy_sample(tasks.ACTION_SIZE, shape), ())
    return calls


def dispatch_calls() -> dict[str, Any]:
    """Jitted functions that do nothing: of one scalar, and of the policy's own arguments."""
    observation = jnp.zeros(tasks.STATE_SIZE)
    params = pgjax.GaussianPolicy(tasks.ACTION_SIZE).init(jax.random.key(1), observation)
    return {
        "empty": (jax.jit(lambda x: x), (jnp.zeros(()),)),
        "empty, same arguments": (
            jax.jit(lambda params, key, observation: observation[: tasks.ACTION_SIZE]),
            (params, jax.random.key(2), observation),
        ),
    }


def critic_fraction(meter: GemmMeter, limits: dict[str, Any]) -> dict[str, float]:
    """CEM 2x64 on the 2x64 critic at 4,096 states, as a fraction of the GEMM rate measured around it."""
    task = tasks.make_task("critic_2x64", 4096, jax.random.key(0))
    search = ways.search_named("CEM 2x64/6")
    way = ways.search_method(task, search)
    act, args = jax.jit(way.act), (way.params, jax.random.key(1), task.states)
    flops = ways.flops_per_decision(way, *ways.counts_of(act(*args))) * len(task.states)
    around = GemmMeter(size=meter.size)
    around.sample()
    timed = time_call(act, *args, **limits, min_repetitions=10, max_repetitions=200)
    around.sample()
    meter.samples += around.samples
    return {
        "fraction": around.fraction(flops, timed.median_s),
        "time_s": timed.median_s,
        "gemm_flops": around.rate,
    }


def goals(times: dict[str, float], cem: dict[str, float]) -> list[dict[str, Any]]:
    """The table of goals from the measured times."""
    rows = []

    def row(what: str, value: float, goal: float, at_least: bool = False) -> None:
        met = value >= goal if at_least else value <= goal
        rows.append({"what": what, "measured": value, "goal": goal, "at_least": at_least, "met": met})

    row("policy sample / bare forward pass, B = 4096", times["sample B=4096"] / times["forward B=4096"], 1.3)
    growth = times["sample B=65536"] / 16 / times["sample B=4096"]
    row("policy sample, cost per row at B = 65,536 / at B = 4096", growth, 1.2)
    for size in SIZES:
        if f"torch B={size}" in times:
            ratio = times[f"sample B={size}"] / times[f"torch B={size}"]
            row(f"policy sample / PyTorch eager, B = {size:,}", ratio, 0.5)
    row("CEM 2x64 on the 2x64 critic, B = 4096: fraction of GEMM rate", cem["fraction"], 0.5, at_least=True)
    row("policy sample at B = 1 / empty jitted function", times["sample B=1"] / times["empty B=1"], 2.0)
    own = times["sample B=1"] / times["empty, same arguments B=1"]
    row("policy sample at B = 1 / empty jitted function of the same arguments", own, 2.0)
    rows[-1]["times_s"] = times | {"CEM 2x64": cem["time_s"]}
    return rows
