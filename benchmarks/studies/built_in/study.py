"""Critics with a built-in maximum against a plain one with a search: fit, regret and time per decision.

Fits the critics of `pgjax.critics` and a plain `QNetwork` to the six-joint arm's Q, on the same data for the same
steps, and acts greedily on each. The critics change Q, so that regret is under the arm's true Q, never under their
own. This is supervised fitting; learning them from greedy improvement would be reinforcement learning.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import pgjax
from studies.built_in.fitting import NUM_FIT_STATES, fit, fit_quality, make_critics, values_of
from studies.common.acting.regret import regret, regret_scale
from studies.common.acting.tasks import ARM, Task, make_task
from studies.common.acting.ways import actions_of, search_method, search_named
from studies.common.command_line import check_output
from studies.common.figures import machine_text
from studies.common.results import Results
from studies.common.study import Study
from studies.common.tables import as_markdown, new_table
from studies.common.timing import time_interleaved

NUM_REGRET_STATES = 1024
FORWARD = "forward pass of V(s)"
SEARCHES = ("CEM 2x64/6", "Adam 8x30")  # on the plain network; the second shows what the first leaves
LEGEND = """\
R^2: on held-out targets, uniform actions; trained: R^2 on actions as trained on, half near a solution; regret:
under the arm's true Q, normalized (1 is a uniform action's), median; over: the critic's value of the action, less
the true Q, normalized, median; out: actions outside the box; us, B: microseconds a decision in batches of B; x V:
over the forward pass of V(s)."""
LIMITS: dict[str, Any] = {"min_time_s": 0.1, "max_time_s": 0.5, "min_repetitions": 3}


@dataclasses.dataclass(frozen=True)
class Options:
    """Critics with a built-in maximum against a plain one with a search, fitted to the six-joint arm's Q."""

    steps: int = 1500
    """Training steps of each critic."""
    hidden_sizes: tuple[int, ...] = (64, 64)
    """Of every critic's torso."""
    batch_sizes: tuple[int, ...] = (1, 256, 4096)
    """States decided at once."""
    output: Path = Path("results/built_in.json")
    """The JSON to write."""
    seed: int = 0
    """Of the targets, networks, training and noise."""

    def check(self) -> None:
        """Raise ValueError, naming the option, for what cannot be run."""
        for name in ("hidden_sizes", "batch_sizes"):
            sizes = getattr(self, name)
            if not sizes or min(sizes) < 1:
                raise ValueError(f"--{name.replace('_', '-')}: expected positive integers; got {sizes}")
        if self.steps < 1:
            raise ValueError(f"--steps: expected a positive integer; got {self.steps}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed: expected 0 to 2^32 - 1; got {self.seed}")
        check_output(self.output)


class Decider(NamedTuple):
    """A way to act greedily on a fitted critic, compiled: act(params, key, states) -> actions, or a `Maximum`."""

    name: str
    critic: Any
    params: Any
    act: Callable[[Any, jax.Array, jax.Array], Any]


def deciders(name: str, critic: Any, params: Any, task: Task) -> list[Decider]:
    """The ways to act on a critic: its own maximum, or the searches where it has none."""
    if not isinstance(critic, pgjax.QNetwork):
        greedy = jax.jit(lambda params, key, states: critic.greedy(params, states)[0])
        return [Decider(name, critic, params, greedy)]
    on_critic = task._replace(objective=cast(Any, critic.apply), params=params)
    ways = [search_method(on_critic, search_named(search)) for search in SEARCHES]
    return [Decider(f"{name}, {way.name}", critic, params, jax.jit(way.act)) for way in ways]


def overestimate(way: Decider, task: Task, actions: jax.Array, scale: np.ndarray) -> float:
    """How far the critic's value of the actions is above the true Q, normalized as regret is; median of states."""
    fitted, true = (
        np.asarray(values_of(objective, given, task.states, actions[None])[0], np.float64)
        for objective, given in ((way.critic.apply, way.params), (task.objective, task.params))
    )
    return float(np.median((fitted - true) / scale))


def timings(ways: list[Decider], task: Task, options: Options, key: jax.Array) -> Iterator[list[dict[str, Any]]]:
    """For each batch size the rows of times of each way to act, and of a value network's forward pass alone."""
    value = pgjax.ValueNetwork(options.hidden_sizes, activation=jax.nn.relu)
    value_params = value.init(jax.random.key(options.seed), task.states[0])
    forward = Decider(
        FORWARD, value, value_params, jax.jit(lambda params, key, states: value.apply(params, states))
    )
    for batch_size in sorted(set(options.batch_sizes)):
        states = task.states[0] if batch_size == 1 else task.states[:batch_size]
        calls = {way.name: (way.act, (way.params, key, states)) for way in (forward, *ways)}
        times = time_interleaved(calls, **LIMITS)
        yield [
            {
                "method": name,
                "batch_size": batch_size,
                "time_per_decision_s": timed.median_s / batch_size,
                "ratio_to_forward": timed.median_s / times[FORWARD].median_s,
                "spread": timed.spread,
                "times_s": [round(time_s, 9) for time_s in timed.times_s],
            }
            for name, timed in times.items()
        ]


def run(options: Options, results: Results, console: Console) -> None:
    """Fit, judge and time everything."""
    key_task, key_fit, key_judge, key_act = jax.random.split(jax.random.key(options.seed), 4)
    task = make_task(ARM, max(NUM_REGRET_STATES, NUM_FIT_STATES, *options.batch_sizes), key_task)
    assert task.problem is not None
    judged = task._replace(
        states=task.states[:NUM_REGRET_STATES],
        problem=task.problem._replace(maximum=task.problem.maximum[:NUM_REGRET_STATES]),
    )
    scale = regret_scale(judged)
    ways = []
    for name, critic in make_critics(task.box, options.hidden_sizes).items():
        start = time.perf_counter()
        params = jax.block_until_ready(fit(critic, task, key_fit, options.steps))  # the same data for all
        quality = {
            "critic": name,
            "fit_time_s": time.perf_counter() - start,
            "num_parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        } | fit_quality(critic, params, task, key_judge)
        for way in deciders(name, critic, params, task):
            actions = actions_of(way.act(params, key_act, judged.states))
            ways.append(way)
            over = {"overestimate": overestimate(way, judged, actions, scale)}
            results.add({"method": way.name} | quality | regret(judged, actions[None], scale) | over)
        console.print(f"{name}: fitted in {quality['fit_time_s']:.0f} s", style="dim")
    for rows in timings(ways, task, options, key_act):
        results.add(*rows, table="times")


def table(result: Mapping[str, Any]) -> Table:
    """One row a method: fit, regret under the true Q, time per decision at each batch size."""
    sizes = sorted({row["batch_size"] for row in result["times"]})
    heads = ("critic", "R^2", "trained", "regret", "p90", "over", "out", *(f"us, {size}" for size in sizes))
    heads += tuple(f"x V, {size}" for size in sizes)
    shown = new_table("six_joint_arm, greedy on a fitted critic", heads)
    quality = {row["method"]: row for row in result["rows"]}
    times = {(row["method"], row["batch_size"]): row for row in result["times"]}
    for name in dict.fromkeys(row["method"] for row in result["times"]):
        cells = [""] * 6
        if row := quality.get(name):
            lost = row["normalized_regret"]
            numbers = (row["r_squared_uniform"], row["r_squared_mixture"], lost["median"], lost["p90"])
            cells = [f"{number:.2f}" for number in (*numbers, row["overestimate"])]
            cells.append(str(row["bound_violations"]))
        cells += [f"{times[name, size]['time_per_decision_s'] * 1e6:.3g}" for size in sizes]
        cells += [f"{times[name, size]['ratio_to_forward']:.3g}" for size in sizes]
        shown.add_row(name, *cells)
    return shown


def show(console: Console, result: Mapping[str, Any]) -> None:
    """Print the table and what its columns are."""
    console.print(table(result))
    console.print(LEGEND)


def markdown(result: Mapping[str, Any]) -> str:
    """The table for the documentation, what its columns are, and the machine."""
    return f"{as_markdown(table(result))}\n\n{LEGEND} ({machine_text(result)}.)"


STUDY = Study("built_in", Options, run, show, markdown)
