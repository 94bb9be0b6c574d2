"""What does a critic whose maximum is built in give up in fit, and save in time?

    python benchmarks/built_in.py [--steps 1500] [--hidden-sizes 64 64] [--batch-sizes 1 256 4096] ...

Fits the critics of `pgjax.critics` and a plain `QNetwork` to the six-joint arm's Q, on the same data for the same
steps, and acts greedily on each. The critics change Q, so that regret is under the arm's true Q, never under their
own. This is supervised fitting; learning them from greedy improvement would be reinforcement learning.
"""

from __future__ import annotations

import dataclasses
import functools
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import command_line
import harness
import jax
import jax.numpy as jnp
import learned
import methods
import numpy as np
import report
import tyro
from measure import regret, regret_scale
from plots import machine_text
from rich.console import Console
from rich.table import Table

import pgjax

CONSOLE = Console(width=max(shutil.get_terminal_size().columns, 118))
NEAR_STD_RAD = 0.3  # of the training actions around a solution, in every joint
NUM_REGRET_STATES, NUM_FIT_STATES, NUM_FIT_ACTIONS = 1024, 1024, 16
LEARNING_RATE, TRAINING_BATCH = 3e-3, 512
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
        command_line.check_output(self.output)


class Decider(NamedTuple):
    """A way to act greedily on a fitted critic, compiled: act(params, key, states) -> actions, or a `Maximum`."""

    name: str
    critic: Any
    params: Any
    act: Callable[[Any, jax.Array, jax.Array], Any]


def make_critics(box: pgjax.Box, hidden_sizes: tuple[int, ...]) -> dict[str, Any]:
    """The critics by name, all with the same torso."""
    return {
        "quadratic": pgjax.QuadraticCritic(box, hidden_sizes),
        "control points": pgjax.ControlPointCritic(box, hidden_sizes),
        "factored, 2 bins": pgjax.FactoredCritic(box, hidden_sizes),
        "factored, 11 bins": pgjax.FactoredCritic(box, hidden_sizes, num_bins=11),
        "plain": pgjax.QNetwork(hidden_sizes),
    }


def fit(critic: Any, task: methods.Task, key: jax.Array, num_steps: int) -> Any:
    """Parameters that minimize the squared error to the true Q, on the box's actions and those near a solution.

    Half of a batch's actions are uniform, half are a solution of the state's target with Gaussian noise.
    """
    key_init, key_states, key_train = jax.random.split(key, 3)
    problem = pgjax.problems.six_joint_arm(key_states, learned.TRAINING_TARGETS)
    state_size, num_dims = task.states.shape[-1], task.box.num_dims
    data = jnp.concatenate([problem.states, jnp.asarray(problem.best_action, jnp.float32)], axis=-1)
    low, high = (jnp.asarray(bound, jnp.float32)[None] for bound in (task.box.low, task.box.high))

    def loss(params, key, rows):
        states, solutions = rows[:, :state_size], rows[:, state_size:]
        key_uniform, key_near = jax.random.split(key)
        uniform = jax.random.uniform(key_uniform, solutions.shape, minval=low, maxval=high)
        near = near_solution(key_near, solutions, task.box)
        is_near = jnp.arange(len(rows)) % 2 == 0
        actions = jnp.where(is_near[:, None], near, uniform)
        values = jax.vmap(task.objective, (None, 0, 0))(task.params, states, actions)
        return jnp.mean((critic.apply(params, states, actions) - values) ** 2)

    params = jax.jit(critic.init)(key_init, task.states[0], jnp.zeros(num_dims))
    return learned.train(loss, params, key_train, num_steps, TRAINING_BATCH, LEARNING_RATE, data)


def near_solution(key: jax.Array, solutions: jax.Array, box: pgjax.Box) -> jax.Array:
    """The solutions `[B, N]` with noise, in the box."""
    low, high = (jnp.asarray(bound, jnp.float32)[None] for bound in (box.low, box.high))
    return jnp.clip(solutions + NEAR_STD_RAD * jax.random.normal(key, solutions.shape), low, high)


def fit_quality(critic: Any, params: Any, task: methods.Task, key: jax.Array) -> dict[str, float]:
    """R^2 on held-out targets: on uniform actions, and on the mixture trained on (half near a solution)."""
    states = jnp.tile(task.states[:NUM_FIT_STATES], (NUM_FIT_ACTIONS, 1))
    solutions = jnp.tile(jnp.asarray(task.problem.best_action[:NUM_FIT_STATES], jnp.float32), (NUM_FIT_ACTIONS, 1))
    low, high = (jnp.asarray(bound, jnp.float32)[None] for bound in (task.box.low, task.box.high))
    key_uniform, key_near = jax.random.split(key)
    uniform = jax.random.uniform(key_uniform, solutions.shape, minval=low, maxval=high)
    actions = jnp.stack([uniform, near_solution(key_near, solutions, task.box)])
    true, fitted = (
        np.asarray(values_of(objective, given, states, actions), np.float64)
        for objective, given in ((task.objective, task.params), (critic.apply, params))
    )
    errors = (fitted - true) ** 2
    return {
        "r_squared_uniform": float(1 - np.mean(errors[0]) / np.var(true[0])),
        "r_squared_mixture": float(1 - np.mean(errors) / np.var(true)),
    }


def overestimate(way: Decider, task: methods.Task, actions: jax.Array, scale: np.ndarray) -> float:
    """How far the critic's value of the actions is above the true Q, normalized as regret is; median of states."""
    fitted, true = (
        np.asarray(values_of(objective, given, task.states, actions[None])[0], np.float64)
        for objective, given in ((way.critic.apply, way.params), (task.objective, task.params))
    )
    return float(np.median((fitted - true) / scale))


@functools.partial(jax.jit, static_argnums=0)
def values_of(objective: Any, params: Any, states: jax.Array, actions: jax.Array) -> jax.Array:
    """Values of actions `[A, B, N]` of states `[B, D]`."""
    return jax.vmap(jax.vmap(objective, (None, 0, 0)), (None, None, 0))(params, states, actions)


def deciders(name: str, critic: Any, params: Any, task: methods.Task) -> list[Decider]:
    """The ways to act on a critic: its own maximum, or the searches where it has none."""
    if not isinstance(critic, pgjax.QNetwork):
        greedy = jax.jit(lambda params, key, states: critic.greedy(params, states)[0])
        return [Decider(name, critic, params, greedy)]
    on_critic = task._replace(objective=critic.apply, params=params)
    ways = [methods.search_method(on_critic, methods.search_named(search)) for search in SEARCHES]
    return [Decider(f"{name}, {way.name}", critic, params, jax.jit(way.act)) for way in ways]


def timings(ways: list[Decider], task: methods.Task, options: Options, key: jax.Array) -> list[dict[str, Any]]:
    """A row of times for each way to act and batch size, and for the forward pass of a value network alone."""
    value = pgjax.ValueNetwork(options.hidden_sizes, activation=jax.nn.relu)
    value_params = value.init(jax.random.key(options.seed), task.states[0])
    forward = Decider(
        FORWARD, value, value_params, jax.jit(lambda params, key, states: value.apply(params, states))
    )
    rows = []
    for batch_size in sorted(set(options.batch_sizes)):
        states = task.states[0] if batch_size == 1 else task.states[:batch_size]
        calls = {way.name: (way.act, (way.params, key, states)) for way in (forward, *ways)}
        times = harness.time_interleaved(calls, **LIMITS)
        for name, timing in times.items():
            rows.append(
                {
                    "method": name,
                    "batch_size": batch_size,
                    "time_per_decision_s": timing.median_s / batch_size,
                    "ratio_to_forward": timing.median_s / times[FORWARD].median_s,
                    "spread": timing.spread,
                    "times_s": [round(time_s, 9) for time_s in timing.times_s],
                }
            )
    return rows


def run(options: Options) -> dict[str, Any]:
    """Fit, judge and time everything."""
    start = time.perf_counter()
    machine = harness.machine_record()
    key_task, key_fit, key_judge, key_act = jax.random.split(jax.random.key(options.seed), 4)
    num_states = max(NUM_REGRET_STATES, NUM_FIT_STATES, *options.batch_sizes)
    task = methods.make_task("six_joint_arm", num_states, key_task)
    judged = task._replace(
        states=task.states[:NUM_REGRET_STATES],
        problem=task.problem._replace(maximum=task.problem.maximum[:NUM_REGRET_STATES]),
    )
    scale = regret_scale(judged)
    ways, rows = [], []
    for name, critic in make_critics(task.box, options.hidden_sizes).items():
        fit_start = time.perf_counter()
        params = jax.block_until_ready(fit(critic, task, key_fit, options.steps))  # the same data for all
        fit_time_s = time.perf_counter() - fit_start
        quality = {
            "critic": name,
            "fit_time_s": fit_time_s,
            "num_parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        } | fit_quality(critic, params, task, key_judge)
        for way in deciders(name, critic, params, task):
            actions = methods.actions_of(way.act(params, key_act, judged.states))
            ways.append(way)
            over = {"overestimate": overestimate(way, judged, actions, scale)}
            rows.append({"method": way.name} | quality | regret(judged, actions[None], scale) | over)
        CONSOLE.print(f"{name}: fitted in {fit_time_s:.0f} s", style="dim")
    return {
        "machine": machine,
        "settings": dataclasses.asdict(options) | {"output": options.output.name},
        "rows": rows,
        "times": timings(ways, task, options, key_act),
        "wall_time_s": time.perf_counter() - start,
    }


def table(result: Mapping[str, Any]) -> Table:
    """One row a method: fit, regret under the true Q, time per decision at each batch size."""
    sizes = sorted({row["batch_size"] for row in result["times"]})
    heads = ("critic", "R^2", "trained", "regret", "p90", "over", "out", *(f"us, {size}" for size in sizes))
    heads += tuple(f"x V, {size}" for size in sizes)
    shown = report.new_table("six_joint_arm, greedy on a fitted critic", heads)
    quality = {row["method"]: row for row in result["rows"]}
    times = {(row["method"], row["batch_size"]): row for row in result["times"]}
    for name in dict.fromkeys(row["method"] for row in result["times"]):
        cells = [""] * 6
        if row := quality.get(name):
            lost = row["normalized_regret"]
            numbers = (row["r_squared_uniform"], row["r_squared_mixture"], lost["median"], lost["p90"])
            numbers += (row["overestimate"],)
            cells = [*(f"{number:.2f}" for number in numbers), str(row["bound_violations"])]
        cells += [f"{times[name, size]['time_per_decision_s'] * 1e6:.3g}" for size in sizes]
        cells += [f"{times[name, size]['ratio_to_forward']:.3g}" for size in sizes]
        shown.add_row(name, *cells)
    return shown


def show(console: Console, result: Mapping[str, Any]) -> None:
    """Print the table and what its columns are."""
    console.print(table(result))
    console.print(LEGEND)


def markdown(result: Mapping[str, Any]) -> str:
    """The table for the README, what its columns are, and the machine."""
    return f"{report.as_markdown(table(result))}\n\n{LEGEND} ({machine_text(result)}.)"


def main() -> int:
    """Run from the command line."""
    return command_line.run_and_write(tyro.cli(Options), run, show, CONSOLE)


if __name__ == "__main__":
    sys.exit(main())
