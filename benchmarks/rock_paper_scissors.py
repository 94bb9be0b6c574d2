"""Are stochastic policies optimal where deterministic ones lose, and does learning find them?

    python benchmarks/rock_paper_scissors.py [--num-starts 32] [--num-seeds 32] [--output results/...json]

Rock-paper-scissors and its biased variant, everything against an exact value: what strategies lose to a best
response, what learning dynamics lose in self-play, up to which learning rate they are stable. Writes a JSON with a
row for each statement, and a figure of the strategies' paths beside it.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import command_line
import harness
import jax
import jax.numpy as jnp
import numpy as np
import rock_paper_scissors_plots
import tyro
from rich.console import Console
from rich.table import Table

import pgjax
from pgjax import games

CONSOLE = Console(width=150)
UNIFORM, START = np.full(3, 1 / 3), np.array([0.5, 0.3, 0.2])
NUM_STEPS, NUM_LAST = 20_000, 1000  # of play; over the last ones the worst exploitability counts
TEMPERATURES, FLOOR_TEMPERATURES = (0.05, 0.1, 0.2), (0.2, 0.1, 0.05)
EPSILONS = (0.1, 0.3)
SAMPLED_STEPS, SAMPLED_GAMES, SAMPLED_RATE = 8000, 64, 0.1
HIGHEST_RATE = 8.0
# Regularized dynamics of (learning rate, temperature), and the exact learning rate at which uniform play of
# rock-paper-scissors loses its stability.
REGULARIZED: dict[str, tuple[Callable[..., games.Dynamics], Callable[[float], float]]] = {
    "softmax policy gradient + entropy": (games.softmax_policy_gradient, lambda t: 18 * t / (1 + 3 * t**2)),
    "Hedge + entropy": (games.hedge, lambda t: 2 * t / (t**2 + 1 / 3)),
    "magnetic mirror descent": (games.magnetic_mirror_descent, lambda t: 2 * t / (1 / 3 - t**2)),
}
# Title, game, dynamics, steps drawn, steps between two points: the figure's panels.
PANELS: tuple[tuple[str, str, games.Dynamics | Callable[[], games.Dynamics], int, int], ...] = (
    ("greedy on values", "plain", games.fictitious_play, 400, 1),
    ("softmax policy gradient", "plain", lambda: games.softmax_policy_gradient(learning_rate=0.3), 4000, 5),
    (
        "softmax PG + entropy .1",
        "plain",
        lambda: games.softmax_policy_gradient(learning_rate=0.3, temperature=0.1),
        1000,
        5,
    ),
    ("optimistic Hedge", "plain", lambda: games.optimistic_hedge(learning_rate=0.2), 600, 2),
    ("Hedge", "biased", lambda: games.hedge(learning_rate=0.05), 600, 1),
    ("Hedge + entropy .2", "biased", lambda: games.hedge(learning_rate=0.05, temperature=0.2), 600, 1),
    (
        "magnetic mirror descent .2",
        "biased",
        lambda: games.magnetic_mirror_descent(learning_rate=0.1, temperature=0.2),
        600,
        1,
    ),
    (
        "moving magnet .2",
        "biased",
        lambda: games.moving_magnet_descent(learning_rate=0.1, temperature=0.2, magnet_rate=0.05),
        2000,
        2,
    ),
)


@dataclasses.dataclass(frozen=True)
class Options:
    """Stochastic policies in rock-paper-scissors: exploitability, learning and its stability."""

    num_starts: int = 32
    """Random strategies to start learning from."""
    num_seeds: int = 32
    """Runs of the policy gradient from sampled games."""
    seed: int = 0
    """Of the random strategies and games."""
    output: Path = Path("results/rock_paper_scissors.json")
    """The JSON to write; the figure lies beside it."""

    def check(self) -> None:
        """Raise ValueError, naming the option, for what cannot be run."""
        for name, count in (("--num-starts", self.num_starts), ("--num-seeds", self.num_seeds)):
            if count < 2:
                raise ValueError(f"{name}: expected at least 2, for an interval; got {count}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed: expected 0 to 2^32 - 1; got {self.seed}")
        command_line.check_output(self.output)


def measure(*, num_starts: int = 32, num_seeds: int = 32, seed: int = 0) -> dict[str, Any]:
    """Measure the claim that stochastic policies can be optimal, in float64.

    Args: as the options of the same names.
    Returns: "rows", one for each statement (see `make_row`), and "paths" for the figure.
    """
    with jax.enable_x64(True):
        starts = np.random.default_rng(seed).dirichlet(np.ones(3), num_starts)
        rows = [
            *fixed_strategies(starts),
            *value_based(starts),
            *plain_policy_gradient(starts),
            *sampled_policy_gradient(num_seeds, seed),
            *thresholds(),
            *last_strategies(starts),
        ]
        return {"claim": "c", "rows": rows, "paths": [path_of(*panel) for panel in PANELS]}


def make_row(
    condition: str,
    quantity: str,
    values: Sequence[float] | np.ndarray,
    exact: float | None = None,
    *,
    tolerance: float = 1e-6,
    at_least: float = -np.inf,
    at_most: float = np.inf,
    value: float | None = None,
) -> dict[str, Any]:
    """A statement measured.

    Args:
        condition: who plays what.
        quantity: what is measured.
        values: the measurements: over initial strategies, seeds, or the two ends of a bisection; the interval is
            from their least to their greatest.
        exact: the value known from theory, that the whole interval must meet to the tolerance.
        at_least, at_most: where there is none: the bounds that the whole interval must keep.
        value: the one to show; default the median.

    Returns: the row, with the verdict "holds" or "fails".
    """
    low, high = float(np.min(values)), float(np.max(values))
    if exact is not None:
        at_least, at_most = max(at_least, exact - tolerance), min(at_most, exact + tolerance)
    return {
        "condition": condition,
        "quantity": quantity,
        "value": float(np.median(values)) if value is None else float(value),
        "interval": [low, high],
        "exact": exact,
        "bounds": [at_least, at_most],
        "verdict": "holds" if at_least <= low and high <= at_most else "fails",
    }


def fixed_strategies(starts: np.ndarray) -> list[dict[str, Any]]:
    """What strategies lose to a best response, in rock-paper-scissors."""
    game = games.rock_paper_scissors()
    judge = jax.jit(jax.vmap(functools.partial(games.exploitability, game)))
    named = {"any pure strategy": (np.eye(3), 1.0), "uniform": (UNIFORM[None], 0.0)}
    named["(.4, .3, .3)"] = (np.array([[0.4, 0.3, 0.3]]), 0.1)
    for epsilon in EPSILONS:
        greedy = pgjax.distributions.EpsilonGreedy(jnp.asarray(starts), epsilon)  # any values without ties
        named[f"{epsilon:g}-greedy on any values"] = (np.asarray(greedy.probs), 1 - epsilon)
    return [
        make_row(name, "exploitability", np.asarray(judge(strategies)), exact, tolerance=1e-12)
        for name, (strategies, exact) in named.items()
    ]


def last_of(dynamics: games.Dynamics, payoff: jax.Array, strategy: jax.Array) -> tuple[games.Outcome, Any, Any]:
    """The outcome of self-play, and the least and worst exploitability of its last strategies."""
    outcome, trajectory = games.play(dynamics, payoff, strategy, num_steps=NUM_STEPS, return_trajectory=True)
    last = trajectory.exploitability[-NUM_LAST:]
    return outcome, jnp.min(last), jnp.max(last)


def value_based(starts: np.ndarray) -> list[dict[str, Any]]:
    """Learning the actions' values and acting (epsilon-)greedily on them, in self-play."""
    game, rows = games.rock_paper_scissors(), []
    for epsilon in (0.0, EPSILONS[0]):
        dynamics = games.fictitious_play(epsilon=epsilon)
        outcome, least, worst = jax.jit(jax.vmap(functools.partial(last_of, dynamics, game)))(starts)
        name = f"greedy on learned values, epsilon {epsilon:g}, self-play"
        last = np.concatenate([least, worst])
        rows.append(make_row(name, f"exploitability, last {NUM_LAST}", last, 1 - epsilon, tolerance=1e-12))
        average = np.asarray(outcome.average_exploitability)
        rows.append(make_row(name, "exploitability, average", average, at_most=0.05))
    return rows


def plain_policy_gradient(starts: np.ndarray) -> list[dict[str, Any]]:
    """Exact softmax policy gradient without regularization in self-play: the claim's condition."""
    game, dynamics = games.rock_paper_scissors(), games.softmax_policy_gradient(learning_rate=0.1)
    solve = jax.jit(jax.vmap(functools.partial(last_of, dynamics, game)))
    outcome, _, worst = solve(np.concatenate([START[None], starts]))
    initial, final = (level(x) for x in (np.log([START, *starts]), np.asarray(outcome.log_strategy)))
    name = "softmax policy gradient, self-play"
    known = f"{name} from (.5, .3, .2)"
    average = outcome.average_exploitability[:1]
    return [
        make_row(known, "sum exp(-theta), start", initial[:1], 3.211, tolerance=5e-4),
        make_row(known, "sum exp(-theta), end", final[:1], 5.387, tolerance=5e-4),
        make_row(known, f"exploitability, worst of last {NUM_LAST}", worst[:1], 0.85, tolerance=5e-3),
        make_row(known, "exploitability, average", average, 0.005, tolerance=5e-4),
        make_row(f"{name} from anywhere", "sum exp(-theta), end / start", final / initial, at_least=1.0),
    ]


def level(log_strategies: np.ndarray) -> np.ndarray:
    """sum_i exp(-theta_i) of logits with sum 0, which softmax policy gradient never lowers here."""
    return np.sum(np.exp(np.mean(log_strategies, axis=-1, keepdims=True) - log_strategies), axis=-1)


def sampled_policy_gradient(num_seeds: int, seed: int) -> list[dict[str, Any]]:
    """REINFORCE in self-play from sampled games, without and with entropy; 5 % to 95 % of the seeds."""
    rows = []
    start = float(games.exploitability(games.rock_paper_scissors(), START))
    for temperature, bounds in ((0.0, {"at_least": start}), (0.3, {"at_most": start / 2})):
        run = functools.partial(learn_from_samples, temperature=temperature)
        worst = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(seed), num_seeds))
        name = f"REINFORCE, {SAMPLED_GAMES} games a step, entropy {temperature:g}, self-play"
        interval = np.percentile(worst, (5, 95))
        rows.append(
            make_row(
                name,
                f"exploitability, worst of last {NUM_LAST}",
                interval,
                value=float(np.median(worst)),
                **bounds,
            )
        )
    return rows


def learn_from_samples(key: jax.Array, *, temperature: float) -> jax.Array:
    """The worst exploitability of the last strategies of one run."""
    game = games.rock_paper_scissors()

    def objective(logits, own, other):
        policy = pgjax.distributions.Categorical(logits)
        return jnp.mean(game[own, other] * policy.log_prob(own)) + temperature * policy.entropy()

    def step(logits, i):
        policy = pgjax.distributions.Categorical(logits)
        own, other = policy.sample(seed=jax.random.fold_in(key, i), sample_shape=(2, SAMPLED_GAMES))
        logits = logits + SAMPLED_RATE * jax.grad(objective)(logits, own, other)
        return logits, games.exploitability(game, jax.nn.softmax(logits))

    _, lost = jax.lax.scan(step, jnp.log(START), jnp.arange(SAMPLED_STEPS))
    return jnp.max(lost[-NUM_LAST:])


def thresholds() -> list[dict[str, Any]]:
    """Up to which learning rate uniform play is stable: the bisection's ends against the exact one, within 3 %."""
    game, rows = games.rock_paper_scissors(), []
    for name, (make, exact) in REGULARIZED.items():

        def bracket(temperature, make=make):
            return games.stability_threshold(
                lambda rate: make(learning_rate=rate, temperature=temperature), game, UNIFORM, highest=HIGHEST_RATE
            )

        stable, unstable = jax.jit(jax.vmap(bracket))(jnp.asarray(TEMPERATURES))
        for i, temperature in enumerate(TEMPERATURES):
            known = exact(temperature)
            ends = [stable[i], unstable[i]]
            condition = f"{name}, temperature {temperature:g}"
            rows.append(make_row(condition, "largest stable rate", ends, known, tolerance=0.03 * known))
    return rows


def last_strategies(starts: np.ndarray) -> list[dict[str, Any]]:
    """The biased game: where the last strategy ends, from any start."""
    game, rows = games.biased_rock_paper_scissors(), []

    def worst(dynamics):
        return np.asarray(jax.jit(jax.vmap(lambda x: last_of(dynamics, game, x)[2]))(starts))

    for temperature, known in zip(FLOOR_TEMPERATURES, (0.0650, 0.0341, 0.0173), strict=True):
        dynamics = games.magnetic_mirror_descent(learning_rate=0.1, temperature=temperature)
        condition = f"biased game, magnetic mirror descent, temperature {temperature:g}"
        rows.append(make_row(condition, "exploitability, last", worst(dynamics), known, tolerance=5e-5))
    moving = games.moving_magnet_descent(learning_rate=0.1, temperature=0.2, magnet_rate=0.05)
    for name, dynamics in (
        ("moving magnet, temperature 0.2", moving),
        ("optimistic Hedge", games.optimistic_hedge(learning_rate=0.1)),
    ):
        rows.append(make_row(f"biased game, {name}", "exploitability, last", worst(dynamics), 0.0))
    return rows


def path_of(title: str, game: str, make: Any, num_steps: int, stride: int) -> dict[str, Any]:
    """A panel of the figure: the strategies of self-play from (.5, .3, .2)."""
    payoff = games.rock_paper_scissors() if game == "plain" else games.biased_rock_paper_scissors()
    solve = functools.partial(games.play, make(), payoff, num_steps=num_steps, return_trajectory=True)
    outcome, trajectory = jax.jit(solve)(START)
    strategies = np.concatenate([START[None], trajectory.strategy])[::stride]
    averages = np.concatenate([START[None], trajectory.average])[::stride]
    return {
        "title": title,
        "game": game,
        "num_steps": num_steps,
        "strategies": np.round(strategies, 4).tolist(),
        "averages": np.round(averages, 4).tolist(),
        "nash": games.nash_equilibrium(payoff).strategy.tolist(),
        "exploitability": float(outcome.exploitability),
        "average_exploitability": float(outcome.average_exploitability),
    }


def run(options: Options) -> dict[str, Any]:
    """Measure, and add what a result needs to be read later."""
    start = time.perf_counter()
    result = measure(num_starts=options.num_starts, num_seeds=options.num_seeds, seed=options.seed)
    return {
        "machine": harness.machine_record(),
        "settings": dataclasses.asdict(options) | {"output": options.output.name},
        **result,
        "wall_time_s": time.perf_counter() - start,
    }


def show(console: Console, result: dict[str, Any]) -> None:
    """Print the rows."""
    shown = Table("condition", "quantity", "measured", "interval", "expected", "verdict")
    for row in result["rows"]:
        low, high = row["interval"]
        least, most = row["bounds"]
        bound = f">= {least:g}" if np.isfinite(least) else f"<= {most:g}"
        expected = bound if row["exact"] is None else f"{row['exact']:.4g}"
        verdict = row["verdict"] if row["verdict"] == "holds" else f"[red]{row['verdict']}[/red]"
        cells = (f"{row['value']:.4g}", f"{low:.4g} to {high:.4g}", expected, verdict)
        shown.add_row(row["condition"], row["quantity"], *cells)
    console.print(shown)


def main() -> int:
    """Run from the command line."""
    return command_line.run_and_write(tyro.cli(Options), run, show, CONSOLE, rock_paper_scissors_plots.plot_result)


if __name__ == "__main__":
    sys.exit(main())
