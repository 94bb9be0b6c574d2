"""Claim e: a small change of Q (10.0 against 10.1) flips the greedy policy, the softmax policy changes smoothly.

How far a policy changes is its total variation, half the sum of |pi'(a) - pi(a)|. Exactly: the chapter's flip; the
bound TV <= tanh(|z' - z| / 2) in the logits; and what smoothness does not give: low temperatures, smooth returns,
speed. In training: the greedy policy of a Q network against a policy by PPO, and the two that separate what is
learned from how one acts: softmax of the Q network, and the policy's most probable action.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize, special

from pgjax.distributions import Categorical, Greedy, Softmax
from pgjax.environments import GaussianBandit, gradient_ascent
from studies.claims.rows import Measuring, Statement, exactly
from studies.claims.smoothness import training

VALUES, FLIPPED = np.array([10.0, 10.1]), np.array([10.1, 10.0])
LOW_TEMPERATURE = 0.01
SIZES, NUM_PAIRS = (2, 3, 10, 100), 10_000  # of pairs of logits, and how many of each size
SCALES, DISTANCES = (0.1, 10.0), (0.01, 20.0)  # of random logits, and of random changes
ROUNDING, SINGLE_ROUNDING = 1e-9, 1e-3  # of a ratio, in float64, and in float32 where changes are small
GAPS, ASCENT_STEPS, ASCENT_RATE = (0.01, 0.1, 1.0, 10.0), 40_000, 0.5  # at a gap of 1
DISCOUNT, START_STD, NUM_DOUBLINGS, DISTANCE_POWERS = 0.9, 0.1, 16, np.arange(6, 13)
PHASES = ("early", "middle", "late")  # thirds of training
NUM_DRAWN, NUM_POINTS = 150, 24  # in the figure: random pairs of a size, points of a curve

FLIP, TV = f"Q = {VALUES[0]:.1f}, {VALUES[1]:.1f}", "total variation when the two are swapped"
BETTER, BOUND = "probability of the better action", "total variation / tanh(|z' - z| / 2), greatest"
SPEED, HOLDER = "time * regret", "Hölder exponent of the return in the action"
ACTION = f"chaotic system (doubling map, discount {DISCOUNT:g}), first action"

FLIPS = {
    "greedy": exactly(f"{FLIP}, greedy", TV, 1.0),
    "45/55": Statement(f"{FLIP}, softmax, temperature 1", BETTER, 0.545, 0.555, says="chapter"),
    "softmax": exactly(f"{FLIP}, softmax at temperature 1", BETTER, 1 / (1 + math.exp(-0.1)), absolute=1e-9),
    "softmax flip": exactly(f"{FLIP}, softmax at temperature 1", TV, math.tanh(0.05), absolute=1e-9),
    "temperature": exactly(
        f"{FLIP}, softmax", "temperature that gives 45/55", 0.1 / math.log(55 / 45), relative=1e-6
    ),
    "half flip": exactly(f"{FLIP}, softmax at the temperature that gives 45/55", TV, 0.1, absolute=1e-9),
    "cold flip": Statement(f"{FLIP}, softmax at temperature {LOW_TEMPERATURE:g}", TV, low=0.999),
}
BOUNDS = {
    "random": Statement(
        f"random pairs of logits, {', '.join(map(str, SIZES))} actions", BOUND, high=1 + ROUNDING, says="exact"
    ),
    "attained": exactly("pairs of logits made to attain the bound", f"{BOUND[:-8]}least", 1.0, absolute=1e-6),
}
SPEEDS = {
    "two logits": exactly("exact softmax policy gradient, two arms, any gap", SPEED, 0.5, relative=2e-3),
    "one logit": exactly("the same with one logit for both arms", SPEED, 1.0, relative=2e-3),
}
LANDSCAPES = {
    "certain": exactly(f"{ACTION} certain", HOLDER, -math.log(DISCOUNT) / math.log(2), relative=0.01),
    "Gaussian": exactly(f"{ACTION} Gaussian, std {START_STD:g}", HOLDER, 1.0, relative=0.01),
}


def in_training(phase: str) -> dict[str, Statement]:
    """The statements about a phase of training; all are means over updates and held-out states."""

    def said(condition: str, quantity: str, **bounds: Any) -> Statement:
        return Statement(f"{phase} training, {condition}", f"{quantity} in one update", **bounds)

    return {
        "greedy": said("greedy on Q", "churn (states whose action changes)", low=1e-3, says="chapter"),
        "policy / greedy": said("PPO policy / greedy on Q", "total variation", high=1.0, says="chapter"),
        "softmax / greedy": said(
            "softmax of Q, as random as the PPO policy / greedy on Q", "total variation", high=1
        ),
        "policy / softmax": said("PPO policy / softmax of Q, as random", "total variation", low=0.5, high=2.0),
        "cold / greedy": said(
            f"softmax of Q at temperature {training.COLD:g} / greedy on Q", "total variation", low=0.9
        ),
        "mode": said("PPO policy's most probable action", "churn (states whose action changes)", low=1e-3),
        "mode / policy": said("PPO policy's most probable action / PPO policy", "total variation", low=1.0),
        "reward": said("PPO policy / greedy on Q", "change of a state's expected reward", high=1.0),
        "step": said("PPO policy / Q network", "length of the parameters' step", low=0.5, high=2.0),
    }


TRAINING = {f"{name}, {phase}": said for phase in PHASES for name, said in in_training(phase).items()}
LEARNED = {
    "bound": Statement("training, PPO policy", f"{BOUND}, in one update", high=1 + SINGLE_ROUNDING, says="exact"),
    "greedy regret": Statement("end of training, greedy on Q", "regret / regret of uniform actions", high=0.5),
    "policy regret": Statement("end of training, PPO policy", "regret / regret of uniform actions", high=0.5),
}
STATEMENTS = {
    (group, name): statement
    for group, statements in {
        "flip": FLIPS,
        "bound": BOUNDS,
        "training": TRAINING,
        "learned": LEARNED,
        "speed": SPEEDS,
        "landscape": LANDSCAPES,
    }.items()
    for name, statement in statements.items()
}


def measure(*, num_seeds: int = 32, seed: int = 0) -> Measuring:
    """Measure the claim: exact numbers in float64, training in float32; the figure has pairs and the training."""
    with jax.enable_x64(True):
        pairs, flipped = compare_pairs(np.random.default_rng(seed)), flips()
        cases = {
            **{("flip", name): [value] for name, value in flipped.items()},
            ("bound", "random"): pairs["ratio"].max(axis=-1),
            ("bound", "attained"): pairs["attained"].min(axis=-1),
            **{("speed", name): values for name, values in zip(SPEEDS, jax.jit(speeds)(), strict=True)},
            **{("landscape", name): [value] for name, value in exponents().items()},
        }
    yield "cases", cases
    run = jax.jit(jax.vmap(functools.partial(training.train, num_rounds=training.NUM_ROUNDS)))
    course = jax.tree.map(np.asarray, run(jax.random.split(jax.random.key(seed), num_seeds)))
    seeds = {("training", name): values for name, values in training_measurements(course).items()}
    yield "seeds", seeds | {("learned", name): values for name, values in learned_measurements(course).items()}
    return {"bound": drawn_pairs(pairs, flipped), "training": drawn_course(course)}


def flips() -> dict[str, float]:
    """The chapter's example."""
    probs_of = jax.jit(lambda values, temperature: Softmax(values, temperature).probs)

    def distance(make):
        return float(training.total_variation(make(VALUES), make(FLIPPED)))

    def better(temperature):
        return float(probs_of(VALUES, temperature)[1])

    return {
        "greedy": distance(jax.jit(lambda values: Greedy(values).probs)),
        "45/55": better(1.0),
        "softmax": better(1.0),
        "softmax flip": distance(lambda values: probs_of(values, 1.0)),
        "temperature": optimize.brentq(lambda temperature: better(temperature) - 0.55, 0.1, 10.0, xtol=1e-9),
        "half flip": distance(lambda values: probs_of(values, FLIPS["temperature"].exact)),
        "cold flip": distance(lambda values: probs_of(values, LOW_TEMPERATURE)),
    }


def compare_pairs(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Total variation against the bound, for pairs of logits of each size: shapes `[sizes, NUM_PAIRS]`.

    Returns: distance and total_variation of random pairs, their ratio to the bound, and attained, that ratio for
        pairs that raise the logits of some actions by d / 2 and lower the others' by as much, where the first have
        the probability sigmoid(-d / 2) before and so sigmoid(d / 2) after.
    """
    shape = (len(SIZES), NUM_PAIRS, max(SIZES))
    exists = np.arange(shape[-1]) < np.reshape(SIZES, (-1, 1, 1))
    scales, distances = (
        np.exp(rng.uniform(low, high, (*shape[:2], 1))) for low, high in map(np.log, (SCALES, DISTANCES))
    )
    logits = scales * rng.normal(size=shape)
    raised = rng.uniform(size=shape) < rng.uniform(size=(*shape[:2], 1))
    raised[..., :2] = True, False
    side_totals = [special.logsumexp(logits, -1, exists & side, keepdims=True) for side in (raised, ~raised)]
    halves = np.where(raised, distances, -distances) / 2
    split = logits - np.where(raised, *side_totals) - halves / 2

    @jax.jit
    def compare(logits, other):
        moved = jnp.max(jnp.where(exists, jnp.abs(other - logits), 0), axis=-1)
        tv = training.total_variation(*(Categorical(z, exists).probs for z in (logits, other)))
        return moved, tv, tv / jnp.tanh(moved / 2)

    moved, tv, ratio = compare(logits, logits + distances * rng.uniform(-1, 1, shape))
    found = {
        "distance": moved,
        "total_variation": tv,
        "ratio": ratio,
        "attained": compare(split, split + halves)[2],
    }
    return {name: np.asarray(x) for name, x in found.items()}


def speeds() -> tuple[jax.Array, jax.Array]:
    """Time * regret at the end of exact policy gradient from even odds, for each gap: two logits, and one."""

    def end(gap):
        bandit = GaussianBandit(jnp.stack([gap, 0 * gap]), jnp.zeros(2))
        rate = ASCENT_RATE / gap**0.9  # not 1 / gap, where all gaps would take the same path
        both = gradient_ascent(bandit, jnp.zeros(2), rate, ASCENT_STEPS)[-1]

        def logits_of(x):
            return jnp.stack([x, 0 * x])

        def advance(x, _):
            return x + rate * jax.grad(lambda x: bandit.expected_reward(logits_of(x)))(x), None

        one = logits_of(jax.lax.scan(advance, jnp.zeros(()), length=ASCENT_STEPS)[0])
        return tuple(rate * ASCENT_STEPS * bandit.regret(logits) for logits in (both, one))

    return jax.vmap(end)(jnp.asarray(GAPS))


def exponents() -> dict[str, float]:
    """How the return's mean change falls with the change of the first action: the slope on logarithmic axes.

    The first action is the first state, s' = 2 s mod 1, and the reward cos(2 pi s): the return of a certain action
    is Weierstrass' function, nowhere differentiable as 2 * DISCOUNT >= 1 (Hardy, 1916), with Hölder exponent
    -log(DISCOUNT) / log(2); see Wang et al. (2023), Fractal landscapes in policy optimization. A Gaussian action
    averages it, here exactly, by its Fourier series. Starts lie on a grid that the map keeps exactly.
    """
    states = np.arange(2**NUM_DOUBLINGS) / 2**NUM_DOUBLINGS
    frequencies = np.arange(states.size // 2 + 1)
    certain = np.zeros(states.size)
    for t in range(NUM_DOUBLINGS):
        certain += DISCOUNT**t * np.cos(2 * np.pi * states)
        states = 2 * states % 1
    damping = np.exp(-2 * (np.pi * frequencies * START_STD) ** 2)
    landscapes = {"certain": certain, "Gaussian": np.fft.irfft(np.fft.rfft(certain) * damping, states.size)}
    distances = 2.0**-DISTANCE_POWERS

    def slope(returns):
        shifts = np.round(states.size * distances).astype(int)
        changed = [np.sqrt(np.mean((np.roll(returns, -shift) - returns) ** 2)) for shift in shifts]
        return float(np.polyfit(np.log(distances), np.log(changed), 1)[0])

    return {name: slope(returns) for name, returns in landscapes.items()}


def training_measurements(course: training.Course) -> dict[str, np.ndarray]:
    """What each training statement is about, a number a seed."""
    thirds = jax.tree.map(
        lambda x: np.array_split(x.reshape(len(x), -1), len(PHASES), axis=1), course.changes._asdict()
    )
    found: dict[str, np.ndarray] = {}
    for i, phase in enumerate(PHASES):
        mean = {name: np.asarray(np.mean(parts[i], axis=1, dtype=np.float64)) for name, parts in thirds.items()}
        found |= {
            f"{name}, {phase}": values
            for name, values in {
                "greedy": mean["greedy"],
                "policy / greedy": mean["policy"] / mean["greedy"],
                "softmax / greedy": mean["softmax"] / mean["greedy"],
                "policy / softmax": mean["policy"] / mean["softmax"],
                "cold / greedy": mean["cold"] / mean["greedy"],
                "mode": mean["mode"],
                "mode / policy": mean["mode"] / mean["policy"],
                "reward": mean["policy_reward"] / mean["greedy_reward"],
                "step": mean["policy_step"] / mean["q_step"],
            }.items()
        }
    return found


def learned_measurements(course: training.Course) -> dict[str, np.ndarray]:
    """The bound over all of training, and what was learned, a number a seed."""
    return {
        "bound": np.asarray(course.changes.bound).max(axis=(1, 2)),
        "greedy regret": np.asarray(course.greedy_regret)[:, -1],
        "policy regret": np.asarray(course.policy_regret)[:, -1],
    }


def drawn_pairs(pairs: Mapping[str, np.ndarray], flipped: Mapping[str, float]) -> dict[str, Any]:
    """Some random pairs of each size, and the chapter's flip at three temperatures."""
    even = FLIPS["temperature"].exact
    assert even is not None
    temperatures = [1.0, even, LOW_TEMPERATURE]
    return {
        "pairs": [
            {
                "num_actions": size,
                "distance": pairs["distance"][i, :NUM_DRAWN].tolist(),
                "total_variation": pairs["total_variation"][i, :NUM_DRAWN].tolist(),
            }
            for i, size in enumerate(SIZES)
        ],
        "flip": {
            "temperature": temperatures,
            "distance": [0.1 / temperature for temperature in temperatures],
            "total_variation": [flipped[name] for name in ("softmax flip", "half flip", "cold flip")],
        },
    }


def drawn_course(course: training.Course) -> dict[str, Any]:
    """Quartiles over seeds: of what updates change, in NUM_POINTS stretches of training; else by rounds."""
    num_seeds, num_rounds, num_updates = course.changes.greedy.shape
    ends = np.linspace(0, num_rounds * num_updates, NUM_POINTS + 1).round().astype(int)
    curves = {name: values for name, values in course._asdict().items() if name != "changes"}
    for name, values in course.changes._asdict().items():
        stretches = np.split(values.reshape(num_seeds, -1), ends[1:-1], axis=1)
        curves[name] = np.stack([stretch.mean(axis=1) for stretch in stretches], axis=1)
    return {
        "update": ((ends[1:] + ends[:-1]) / 2).tolist(),
        "quartiles": {
            name: np.round(np.percentile(values, (25, 50, 75), axis=0), 6).tolist()
            for name, values in curves.items()
        },
    }
