"""Claim c: stochastic policies can be optimal, as in rock-paper-scissors, and policy gradient learns them.

Rock-paper-scissors and its biased variant, everything against an exact value: what strategies lose to a best
response, what learning dynamics lose in self-play, up to which learning rate they are stable. The figure shows the
strategies' paths.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import pgjax
from pgjax import games
from studies.claims.rows import Measuring, Statement, exactly

UNIFORM, START = np.full(3, 1 / 3), np.array([0.5, 0.3, 0.2])
LEAST = (
    0.05  # probability of an inner strategy; a logit moves in proportion to it, so that near a corner none does
)
CORNER = np.array([0.9998, 0.0001, 0.0001])  # paper, which beats it, grows 1 / p by the learning rate a step
START_LOSES = 0.3  # exploitability of START: paper gains .5 from rock and loses .2 to scissors
NUM_STEPS, NUM_LAST = 20_000, 1000  # of play; over the last ones the worst exploitability counts
RATE = 0.1
LITTLE = 0.1  # an exploitability that a learned equilibrium may have, a tenth of a pure strategy's
TEMPERATURES, FLOORS = (0.05, 0.1, 0.2), {0.2: 0.0650, 0.1: 0.0341, 0.05: 0.0173}
EPSILONS = (0.1, 0.3)
SAMPLED_STEPS, SAMPLED_GAMES, SAMPLED_TEMPERATURE = 8000, 64, 0.3
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
        lambda: games.magnetic_mirror_descent(learning_rate=RATE, temperature=0.2),
        600,
        1,
    ),
    (
        "moving magnet .2",
        "biased",
        lambda: games.moving_magnet_descent(learning_rate=RATE, temperature=0.2, magnet_rate=0.05),
        2000,
        2,
    ),
)

LOST, LAST, AVERAGE = "exploitability", f"exploitability, worst of last {NUM_LAST}", "exploitability, average"
PLAIN, KNOWN = "softmax policy gradient, self-play", "softmax policy gradient, self-play from (.5, .3, .2)"
INNER = f"strategies with all probabilities above {LEAST:g}"
SAMPLED = f"REINFORCE, {SAMPLED_GAMES} games a step, entropy {{}}, self-play"
GREEDY = "greedy on learned values, epsilon {:g}, self-play"
BIASED = "biased game, {}"
STATEMENTS: dict[str, Statement] = {
    # The chapter: mixing is optimal where every pure strategy loses, and policy gradient finds it.
    "mixing": Statement("any pure strategy, less uniform play", LOST, low=0.01, says="chapter"),
    "pure": exactly("any pure strategy", LOST, 1.0, absolute=1e-12),
    "uniform": exactly("uniform", LOST, 0.0, absolute=1e-12),
    "near": exactly("(.4, .3, .3)", LOST, 0.1, absolute=1e-12),
    **{
        f"fixed {epsilon}": exactly(f"{epsilon:g}-greedy on any values", LOST, 1 - epsilon, absolute=1e-12)
        for epsilon in EPSILONS
    },
    "plain": Statement(f"{PLAIN} from anywhere", LAST, high=LITTLE, says="chapter"),
    "plain sampled": Statement(SAMPLED.format(0), LAST, high=LITTLE, says="chapter"),
    # Values, and acting on them.
    **{
        f"greedy {epsilon:g}": exactly(GREEDY.format(epsilon), LAST, 1 - epsilon, absolute=1e-12)
        for epsilon in (0.0, EPSILONS[0])
    },
    **{
        f"greedy {epsilon:g} average": Statement(GREEDY.format(epsilon), AVERAGE, high=0.05)
        for epsilon in (0.0, EPSILONS[0])
    },
    # Why plain policy gradient does not converge.
    "level start": exactly(KNOWN, "sum exp(-theta), start", 3.211, absolute=5e-4),
    "level end": exactly(KNOWN, "sum exp(-theta), end", 5.387, absolute=5e-4),
    "known worst": exactly(KNOWN, LAST, 0.85, absolute=5e-3),
    "known average": exactly(KNOWN, AVERAGE, 0.005, absolute=5e-4),
    "level": Statement(f"{PLAIN} from anywhere", "sum exp(-theta), end / start", low=1.0),
    "away": Statement(SAMPLED.format(0), f"{LAST}, less the start's", low=0.0),
    # What mends it: averages, entropy, a step size below the threshold, magnets, optimism.
    "average": Statement(f"{PLAIN} from anywhere", AVERAGE, high=0.05),
    "entropy": Statement(f"{PLAIN} from anywhere, entropy 0.1", LAST, high=1e-6),
    "average inner": Statement(f"{PLAIN} from {INNER}", AVERAGE, high=0.05),
    "entropy inner": Statement(f"{PLAIN} from {INNER}, entropy 0.1", LAST, high=1e-6),
    "corner": Statement(f"{PLAIN} from (.9998, .0001, .0001), entropy 0.1", LAST, low=0.9),
    "entropy sampled": Statement(SAMPLED.format(SAMPLED_TEMPERATURE), LAST, high=START_LOSES / 2),
    **{
        f"{name} {t}": exactly(f"{name}, temperature {t:g}", "largest stable rate", exact(t), relative=0.03)
        for name, (_, exact) in REGULARIZED.items()
        for t in TEMPERATURES
    },
    **{
        f"floor {t}": exactly(
            BIASED.format(f"magnetic mirror descent, temperature {t:g}"), LAST, floor, absolute=5e-5
        )
        for t, floor in FLOORS.items()
    },
    "magnet": exactly(BIASED.format("moving magnet, temperature 0.2"), LAST, 0.0, absolute=1e-6),
    "optimistic": exactly(BIASED.format("optimistic Hedge"), LAST, 0.0, absolute=1e-6),
}


def measure(*, num_seeds: int = 32, seed: int = 0) -> Measuring:
    """Measure the claim, in float64; the figure has paths of strategies in self-play.

    Args:
        num_seeds: strategies to start learning from, and runs from sampled games; >= 2.
        seed: of both.
    """
    starts = np.random.default_rng(seed).dirichlet(np.ones(3), num_seeds)
    with jax.enable_x64(True):
        cases = {**fixed_strategies(starts), **value_based(starts), **thresholds(), **last_strategies(starts)}
    yield "cases", cases
    with jax.enable_x64(True):
        sampled = sampled_policy_gradient(num_seeds, seed)
        plain = plain_policy_gradient(starts)
    yield "seeds", sampled | {"plain": plain.pop("plain")}
    yield "cases", plain
    with jax.enable_x64(True):
        return {"paths": [path_of(*panel) for panel in PANELS]}


def fixed_strategies(starts: np.ndarray) -> dict[str, np.ndarray]:
    """What strategies lose to a best response, in rock-paper-scissors."""
    lost = jax.jit(jax.vmap(functools.partial(games.exploitability, games.rock_paper_scissors())))
    strategies = {"pure": np.eye(3), "uniform": UNIFORM[None], "near": np.array([[0.4, 0.3, 0.3]])}
    for epsilon in EPSILONS:
        greedy = pgjax.distributions.EpsilonGreedy(jnp.asarray(starts), epsilon)  # any values without ties
        strategies[f"fixed {epsilon}"] = np.asarray(greedy.probs)
    found = {name: np.asarray(lost(x)) for name, x in strategies.items()}
    return found | {"mixing": found["pure"] - found["uniform"]}


def last_of(dynamics: games.Dynamics, payoff: jax.Array, strategy: jax.Array) -> tuple[games.Outcome, Any, Any]:
    """The outcome of self-play, and the least and worst exploitability of its last strategies."""
    outcome, trajectory = games.play(dynamics, payoff, strategy, num_steps=NUM_STEPS, return_trajectory=True)
    last = trajectory.exploitability[-NUM_LAST:]
    return outcome, jnp.min(last), jnp.max(last)


def value_based(starts: np.ndarray) -> dict[str, np.ndarray]:
    """Learning the actions' values and acting (epsilon-)greedily on them, in self-play."""
    game, found = games.rock_paper_scissors(), {}
    for epsilon in (0.0, EPSILONS[0]):
        dynamics = games.fictitious_play(epsilon=epsilon)
        outcome, least, worst = jax.jit(jax.vmap(functools.partial(last_of, dynamics, game)))(starts)
        found[f"greedy {epsilon:g}"] = np.concatenate([least, worst])
        found[f"greedy {epsilon:g} average"] = np.asarray(outcome.average_exploitability)
    return found


def plain_policy_gradient(starts: np.ndarray) -> dict[str, np.ndarray]:
    """Exact softmax policy gradient in self-play: without regularization, and with entropy."""
    game = games.rock_paper_scissors()

    def solve(temperature, strategy):
        dynamics = games.softmax_policy_gradient(learning_rate=RATE, temperature=temperature)
        return last_of(dynamics, game, strategy)

    inner, num = LEAST + (1 - 3 * LEAST) * starts, len(starts)
    strategies = np.stack([START, CORNER, *starts, *inner])
    anywhere, inside = slice(2, 2 + num), slice(2 + num, None)
    batch = jax.jit(jax.vmap(jax.vmap(solve, (None, 0)), (0, None)))
    outcome, _, worst = batch(jnp.array([0.0, 0.1]), strategies)
    initial, final = level(np.log(strategies)), level(np.asarray(outcome.log_strategy)[0])
    average = np.asarray(outcome.average_exploitability)[0]
    return {
        "level start": initial[:1],
        "level end": final[:1],
        "known worst": worst[0, :1],
        "known average": average[:1],
        "level": (final / initial)[anywhere],
        "plain": worst[0, anywhere],
        "average": average[anywhere],
        "average inner": average[inside],
        "entropy": worst[1, anywhere],
        "entropy inner": worst[1, inside],
        "corner": worst[1, 1:2],
    }


def level(log_strategies: np.ndarray) -> np.ndarray:
    """sum_i exp(-theta_i) of logits with sum 0, which softmax policy gradient never lowers here."""
    return np.sum(np.exp(np.mean(log_strategies, axis=-1, keepdims=True) - log_strategies), axis=-1)


def sampled_policy_gradient(num_seeds: int, seed: int) -> dict[str, np.ndarray]:
    """REINFORCE in self-play from sampled games, without and with entropy."""
    run = jax.vmap(jax.vmap(learn_from_samples, (0, None)), (None, 0))
    keys = jax.random.split(jax.random.key(seed), num_seeds)
    without, regularized = np.asarray(jax.jit(run)(keys, jnp.array([0.0, SAMPLED_TEMPERATURE])))
    return {"plain sampled": without, "away": without - START_LOSES, "entropy sampled": regularized}


def learn_from_samples(key: jax.Array, temperature: jax.Array) -> jax.Array:
    """The worst exploitability of the last strategies of one run."""
    game = games.rock_paper_scissors()

    def objective(logits, own, other):
        policy = pgjax.distributions.Categorical(logits)
        return jnp.mean(game[own, other] * policy.log_prob(own)) + temperature * policy.entropy()

    def step(logits, i):
        policy = pgjax.distributions.Categorical(logits)
        own, other = policy.sample(seed=jax.random.fold_in(key, i), sample_shape=(2, SAMPLED_GAMES))
        logits = logits + RATE * jax.grad(objective)(logits, own, other)
        return logits, games.exploitability(game, jax.nn.softmax(logits))

    _, lost = jax.lax.scan(step, jnp.log(START), jnp.arange(SAMPLED_STEPS))
    return jnp.max(lost[-NUM_LAST:])


def thresholds() -> dict[str, np.ndarray]:
    """Up to which learning rate uniform play is stable: the two ends of the bisection."""
    game = games.rock_paper_scissors()
    found: dict[str, np.ndarray] = {}
    for name, (make, _) in REGULARIZED.items():

        def bracket(temperature, make=make):
            return games.stability_threshold(
                lambda rate: make(learning_rate=rate, temperature=temperature), game, UNIFORM, highest=HIGHEST_RATE
            )

        ends = np.stack(jax.jit(jax.vmap(bracket))(jnp.asarray(TEMPERATURES)), axis=1)
        found |= {f"{name} {temperature}": ends[i] for i, temperature in enumerate(TEMPERATURES)}
    return found


def last_strategies(starts: np.ndarray) -> dict[str, np.ndarray]:
    """The biased game: where the last strategy ends, from any start."""
    game = games.biased_rock_paper_scissors()

    def descend(temperature, strategy):
        dynamics = games.magnetic_mirror_descent(learning_rate=RATE, temperature=temperature)
        return last_of(dynamics, game, strategy)[2]

    worst = jax.jit(jax.vmap(jax.vmap(descend, (None, 0)), (0, None)))(jnp.array(list(FLOORS)), starts)
    found = {f"floor {temperature}": np.asarray(worst[i]) for i, temperature in enumerate(FLOORS)}
    for name, dynamics in (
        ("magnet", games.moving_magnet_descent(learning_rate=RATE, temperature=0.2, magnet_rate=0.05)),
        ("optimistic", games.optimistic_hedge(learning_rate=RATE)),
    ):
        solve = jax.vmap(lambda strategy, dynamics=dynamics: last_of(dynamics, game, strategy)[2])
        found[name] = np.asarray(jax.jit(solve)(starts))
    return found


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
