"""Claim d: where states look alike, stochastic policies are best, and policy gradient finds them.

The aliased gridworld: what each class of policies is worth, exactly, and what learning from sampled episodes
reaches in each: actor-critic without memory, Q-learning without and with memory of the last observation. The short
corridor with switched actions: its best policy, and the mean and variance of REINFORCE's gradient.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from pgjax import environments as envs
from studies.claims.aliasing.learners import (
    EPSILON,
    TIME_LIMIT,
    actor_critic,
    q_learning,
    reinforce_samples,
    remembering,
)
from studies.claims.rows import Measuring, Says, Statement, exactly, judge

DISCOUNTS = (1.0, 0.9)
SKULL, MILD, EQUAL, SEVERE = -10.0, -4.0, -5.0, -100.0  # what the skull costs
# At p = .5 a baseline b changes the variance by 3 b^2 + 74 b: the score's square has the mean 12 steps / 4 = 3.
BEST_BASELINE, LEAST_VARIANCE = -37 / 3, 830 / 3
BASELINES = {"none": 0.0, "J": -12.0, "best": BEST_BASELINE}
CORRIDOR_POINTS = (0.05, 0.25, 0.5, 0.95)  # probabilities of right

# The chapter's table: a class of policies -> its value at each discount.
TABLE: dict[str, tuple[float, float]] = {
    "sees the state": (-2.2, -2.044),
    "with memory": (-2.6, -2.352),
    "50/50 in the grey cells": (-3.8, -3.0269),
    "stochastic": (-3.8, -3.0269),
    "0.1-greedy": (-17.44, -4.485),
    "deterministic, around the skull": (-math.inf, -5.122),
}
NAMES = {
    "with memory": "best policy with memory, deterministic",
    "stochastic": "best stochastic policy without memory",
    "0.1-greedy": "0.1-greedy without memory, east or west",
    "deterministic, around the skull": "best deterministic policy without memory, skull out of reach",
}
VALUE, ALIASED = "value", "aliased gridworld, "
LIMITED = f"value within {TIME_LIMIT} steps"
CORRIDOR, REINFORCE = "short corridor", "short corridor, REINFORCE at p = .5, baseline "


def at(condition: str, discount: float) -> str:
    """The condition in the gridworld at a discount."""
    return f"{ALIASED}{condition}, discount {discount:g}"


def class_statement(name: str, discount: float, value: float) -> Statement:
    """That a class is worth what the table says, to its digits."""
    condition = at(NAMES.get(name, name), discount)
    if math.isinf(value):
        return Statement(condition, VALUE, value, value, value, "exact")
    return exactly(condition, VALUE, value, relative=3e-4)


def corridor_value(p: Any) -> Any:
    """J(p) of the short corridor, for a number or an array."""
    return -(4 - 2 * p) / (p * (1 - p))


CLASSES = {
    f"{name} {discount:g}": class_statement(name, discount, value)
    for name, values in TABLE.items()
    for discount, value in zip(DISCOUNTS, values, strict=True)
}
# What the chapter says, and what it leaves out.
COMPARED = {
    f"{name} {discount:g}": statement
    for discount in DISCOUNTS
    for name, statement in {
        "chance": Statement(
            at("best stochastic less best deterministic policy, both without memory", discount),
            VALUE,
            low=0.01,
            says="chapter",
        ),
        "memory": Statement(
            at("best deterministic policy with memory less best stochastic one without", discount),
            VALUE,
            high=0.0,
            says="chapter",
        ),
        "all moves": Statement(
            at("0.1-greedy without memory: all four moves less east or west alone", discount), VALUE, high=0.0
        ),
    }.items()
}
TRAPS = {
    "arrivals": exactly(
        at(NAMES["deterministic, around the skull"], 1), "part of episodes that arrive", 0.6, absolute=1e-9
    ),
    "suicide": exactly(
        at(f"best deterministic policy without memory, skull {SKULL:g}", 1), VALUE, -5.8, relative=1e-9
    ),
    "mild": Statement(
        at(f"50/50 less best deterministic policy, skull {MILD:g}", 1), VALUE, low=0.01, says="chapter"
    ),
    "mild best": exactly(
        at(f"best deterministic policy without memory, skull {MILD:g}", 1), VALUE, -3.4, relative=1e-9
    ),
    "equal": exactly(at(f"50/50 less best deterministic policy, skull {EQUAL:g}", 1), VALUE, 0.0, absolute=1e-9),
    "limit": exactly(
        at(f"best deterministic policy without memory, skull {SEVERE:g}", 1),
        LIMITED,
        -(6 + 2 * TIME_LIMIT) / 5,
        relative=1e-9,
    ),
    "limit suicide": exactly(
        at(f"best deterministic policy without memory, skull {SKULL:g}", 1), LIMITED, -5.8, relative=1e-9
    ),
    **{
        f"grey {discount:g}": exactly(
            at("50/50", discount), "value of a grey cell", -(1 + discount) / (1 - discount**2 / 2), relative=1e-12
        )
        for discount in (*DISCOUNTS, 0.5)
    },
}
CORRIDORS = {
    "best p": exactly(f"{CORRIDOR}, best policy", "probability of right", 2 - math.sqrt(2), absolute=1e-5),
    "best J": exactly(f"{CORRIDOR}, best policy", VALUE, -(6 + 4 * math.sqrt(2)), relative=1e-9),
    **{
        f"J {p}": exactly(f"{CORRIDOR}, p = {p:g}", VALUE, corridor_value(p), relative=1e-9)
        for p in CORRIDOR_POINTS
    },
    **{
        f"slope {p}": exactly(
            f"{CORRIDOR}, p = {p:g}", "dJ/dlogit", (2 * p**2 - 8 * p + 4) / (p * (1 - p)), relative=1e-9
        )
        for p in CORRIDOR_POINTS
    },
    "mean": exactly(f"{REINFORCE}none", "mean of the gradient", 2.0, relative=1e-9),
    "variance none": exactly(f"{REINFORCE}none", "variance of the gradient", 733.0, absolute=0.5),
    "variance J": exactly(f"{REINFORCE}J = -12", "variance of the gradient", 277.0, absolute=0.5),
    "variance best": exactly(f"{REINFORCE}-37/3", "variance of the gradient", LEAST_VARIANCE, relative=1e-9),
    "baseline": exactly(f"{REINFORCE}best constant", "baseline", BEST_BASELINE, relative=1e-9),
}
# Sampled: within a quarter of the mean, a tenth of the variance.
SAMPLED = {
    **{
        f"sampled {moment} {name}": exactly(
            f"{REINFORCE}{baseline:g}, sampled", f"{moment} of the gradient", exact, relative=tolerance
        )
        for name, baseline, variance in (
            ("none", 0, 733.0),
            ("J", -12, 277.0),
            ("best", BEST_BASELINE, LEAST_VARIANCE),
        )
        for moment, exact, tolerance in (("mean", 2.0, 0.25), ("variance", variance, 0.1))
    },
    "sampled baseline": exactly(
        f"{REINFORCE}best constant, estimated from the other episodes", "baseline", BEST_BASELINE, relative=0.1
    ),
}
ACTOR, FROZEN = "actor-critic without memory", "Q-learning without memory, then"
MEMORY = "Q-learning with memory of the last observation, then"
# Name, condition, quantity, bounds for each discount, what says so.
EXPECTED: tuple[tuple[str, str, str, tuple[tuple[float, float], ...], Says], ...] = (
    ("actor", ACTOR, VALUE, ((-3.9, 0.0), (-3.1, 0.0)), "chapter"),
    ("east", ACTOR, "part of east in east or west, grey cells", ((0.4, 0.6),) * 2, "condition"),
    ("greedy", f"{FROZEN} greedy", LIMITED, ((-math.inf, -5.0), (-math.inf, -4.0)), "chapter"),
    ("epsilon", f"{FROZEN} 0.1-greedy", LIMITED, ((-math.inf, -5.0), (-math.inf, -3.5)), "chapter"),
    ("remembers", f"{MEMORY} greedy", LIMITED, ((-2.65, 0.0), (-2.4, 0.0)), "condition"),
    ("remembers epsilon", f"{MEMORY} 0.1-greedy", LIMITED, ((-3.8, 0.0), (-3.0269, 0.0)), "condition"),
)
LEARNED = {
    f"{name} {discount:g}": Statement(at(condition, discount), quantity, *bounds[i], says=says)
    for i, discount in enumerate(DISCOUNTS)
    for name, condition, quantity, bounds, says in EXPECTED
}
LEARNING = {
    "learning 1": Statement(
        at("0.1-greedy Q-learning without memory: while it learns less after it stopped", 1),
        "return of an episode",
        low=0.0,
    )
}
Q_NAMES = (("greedy", "epsilon"), ("remembers", "remembers epsilon"))  # without, with memory
# The figure's lines: title, exact row, learned row and its learner.
DRAWN = (
    ("sees the state", "sees the state", None, None),
    ("with memory,\ndeterministic", "with memory", "remembers", "Q-learning, remembers the last observation"),
    ("without memory,\nstochastic", "stochastic", "actor", "actor-critic"),
    ("without memory, 0.1-greedy\n(learned: all four moves)", "0.1-greedy", "epsilon", "Q-learning"),
    ("without memory,\ndeterministic", "deterministic, around the skull", "greedy", "Q-learning"),
)
STATEMENTS: dict[str, Statement] = CLASSES | COMPARED | TRAPS | CORRIDORS | SAMPLED | LEARNED | LEARNING


def measure(*, num_seeds: int = 32, seed: int = 0) -> Measuring:
    """Measure the claim: exact values in float64, learning in float32; the figure has each class's.

    Args:
        num_seeds: independent runs of each learner, and of the sampled gradients; >= 2.
        seed: of them all.
    """
    with jax.enable_x64(True):
        exact = deterministic_values()
        exact |= class_values(exact)
        exact |= traps(exact) | corridor_values()
    yield "cases", {name: [value] for name, value in exact.items()}
    learned = learned_values(num_seeds, seed)
    yield "seeds", learned
    yield "estimates", sampled_gradients(num_seeds, seed)
    return figure_data(exact, learned)


def class_values(deterministic: Mapping[str, float]) -> dict[str, float]:
    """What each class of policies is worth, and the classes' differences; of deterministic ones it is given."""
    grid = envs.aliased_gridworld()
    fixed = {
        "50/50 in the grey cells": envs.toward_treasure(0.5),
        "0.1-greedy": envs.toward_treasure(1 - EPSILON / 2),
        "0.1-greedy, all moves": envs.epsilon_greedy(envs.toward_treasure(1.0), EPSILON),
    }
    evaluate = jax.vmap(jax.vmap(lambda pi, g: envs.start_value(grid, pi, g), (None, 0)), (0, None))
    values = np.asarray(jax.jit(evaluate)(jnp.stack(list(fixed.values())), jnp.array(DISCOUNTS)))
    found: dict[str, float] = {}
    for i, discount in enumerate(DISCOUNTS):
        best = {name: float(values[j, i]) for j, name in enumerate(fixed)} | {
            "sees the state": envs.optimal_policy(grid, discount).value,
            "with memory": envs.best_memory_policy(grid, discount).value,
            "stochastic": envs.best_stochastic_policy(grid, discount).value,
            "deterministic": deterministic[f"deterministic {discount:g}"],
        }
        best["chance"] = best["stochastic"] - best["deterministic"]
        best["memory"] = best["with memory"] - best["stochastic"]
        best["all moves"] = best["0.1-greedy, all moves"] - best["0.1-greedy"]
        found |= {f"{name} {discount:g}": value for name, value in best.items()}
    return found


def skull_out_of_reach(grid: envs.TabularMDP) -> envs.TabularMDP:
    """The gridworld where south of the first and the last cell is a wall."""
    transition = np.array(grid.transition)
    transition[[0, 4], envs.Move.SOUTH] = np.eye(len(transition))[[0, 4]]
    return grid._replace(transition=cast(jax.Array, transition))


def deterministic_values() -> dict[str, float]:
    """The best deterministic memoryless policies: by discount, skull and time limit; and how many arrive."""
    grids = {skull: envs.aliased_gridworld(skull_reward=skull) for skull in (SKULL, MILD, EQUAL, SEVERE)}
    around = skull_out_of_reach(grids[SKULL])
    arrive = np.where(around.terminal[:, None], 0, around.transition[:, :, 6])  # the chance of it, as a reward
    problems = {f"deterministic {discount:g}": (grids[SKULL], discount) for discount in DISCOUNTS}
    problems |= {f"deterministic, around the skull {discount:g}": (around, discount) for discount in DISCOUNTS}
    problems |= {f"skull {skull:g}": (grids[skull], 1.0) for skull in (MILD, EQUAL)}
    problems["arrivals"] = around._replace(reward=cast(jax.Array, arrive)), 1.0
    limited = {"limit": (grids[SEVERE], 1.0), "limit suicide": (grids[SKULL], 1.0)}
    return best_deterministic(problems) | best_deterministic(limited, time_limit=TIME_LIMIT)


def best_deterministic(
    problems: Mapping[str, tuple[envs.TabularMDP, float]], *, time_limit: int | None = None
) -> dict[str, float]:
    """The value of the best deterministic memoryless policy in each gridworld, by trying all; compiled once."""
    policies = np.eye(4)[list(itertools.product(range(4), repeat=4))]

    def best(mdp, discount):
        return jnp.max(jax.vmap(lambda pi: envs.start_value(mdp, pi, discount, time_limit=time_limit))(policies))

    mdps, discounts = zip(*problems.values(), strict=True)
    values = jax.jit(jax.vmap(best))(jax.tree.map(lambda *x: np.stack(x), *mdps), np.array(discounts))
    return dict(zip(problems, map(float, values), strict=True))


def traps(found: Mapping[str, float]) -> dict[str, float]:
    """Where the claim depends on the skull, and the value of a grey cell; from what was found so far."""
    grid, fair, discounts = envs.aliased_gridworld(), envs.toward_treasure(0.5), (*DISCOUNTS, 0.5)
    grey = jax.jit(jax.vmap(lambda g: envs.policy_value(grid, fair, g)[1]))(jnp.array(discounts))
    half = found["50/50 in the grey cells 1"]  # whatever the skull, which it never meets
    return {
        "suicide": found["deterministic 1"],
        "mild best": found[f"skull {MILD:g}"],
        "mild": half - found[f"skull {MILD:g}"],
        "equal": half - found[f"skull {EQUAL:g}"],
        **{f"grey {discount:g}": float(value) for discount, value in zip(discounts, grey, strict=True)},
    }


def corridor_values() -> dict[str, float]:
    """The corridor's best policy, its values and slopes, and the moments of REINFORCE's gradient."""
    corridor = envs.short_corridor()
    best = envs.best_stochastic_policy(corridor)
    even = jnp.zeros((1, 2))

    def at_logit(logit):
        logits = jnp.stack([jnp.zeros_like(logit), logit])[None]
        gradient = envs.policy_gradient(corridor, logits)[0, 1]
        return envs.start_value(corridor, jax.nn.softmax(logits)), gradient

    points = np.array(CORRIDOR_POINTS)
    values, slopes = jax.jit(jax.vmap(at_logit))(jnp.asarray(np.log(points / (1 - points))))
    moments = jax.jit(jax.vmap(lambda b: envs.reinforce_moments(corridor, even, baseline=b)))(
        jnp.array(list(BASELINES.values()))
    )
    found = {"best p": float(best.policy[0, 1]), "best J": best.value}
    for i, p in enumerate(CORRIDOR_POINTS):
        found |= {f"J {p}": float(values[i]), f"slope {p}": float(slopes[i])}
    variances = {f"variance {name}": float(moments.covariance[i, 0, 1, 0, 1]) for i, name in enumerate(BASELINES)}
    baseline = float(jax.jit(lambda x: envs.optimal_baseline(corridor, x))(even))
    return found | variances | {"mean": float(moments.mean[0, 0, 1]), "baseline": baseline}


def sampled_gradients(num_seeds: int, seed: int) -> dict[str, np.ndarray]:
    """Means and variances of REINFORCE's gradient in the corridor at p = .5, for each seed."""
    keys = jax.random.split(jax.random.key(seed), num_seeds)
    constants, corridor = jnp.array(list(BASELINES.values())), envs.short_corridor()

    def sample(keys, logits):  # as arguments: constants would be folded, slowly
        return jax.lax.map(lambda key: reinforce_samples(key, corridor, logits, constants), keys)

    means, variances, best = map(np.asarray, jax.jit(sample)(keys, jnp.zeros((1, 2))))
    found = {"sampled baseline": best}
    for i, name in enumerate(BASELINES):
        found |= {f"sampled mean {name}": means[:, i], f"sampled variance {name}": variances[:, i]}
    return found


def learned_values(num_seeds: int, seed: int) -> dict[str, np.ndarray]:
    """What the learners' policies are worth, evaluated exactly in float64, for each seed."""
    grid = envs.aliased_gridworld()
    key_actor, key_q = jax.random.split(jax.random.key(seed))

    def learn(learner, key):  # leads with [discount, seed]
        keys = jax.random.split(key, num_seeds)
        return jax.vmap(lambda g: jax.vmap(lambda k: learner(k, g))(keys))(jnp.array(DISCOUNTS))

    def learn_q(key, remembers):
        return learn(lambda k, g: q_learning(k, grid, g, remembers), key)

    logits = jax.jit(lambda key: learn(lambda k, g: actor_critic(k, grid, g), key))(key_actor)
    q, returned = jax.jit(jax.vmap(learn_q, (None, 0)))(key_q, jnp.arange(2))
    with jax.enable_x64(True):
        pi = np.asarray(jax.nn.softmax(np.asarray(logits, np.float64)))
        actor, frozen = map(np.asarray, frozen_values(grid, pi, np.asarray(q)))
    found: dict[str, np.ndarray] = {}
    for i, discount in enumerate(DISCOUNTS):
        east, west = (pi[i, :, 1, move] for move in (envs.Move.EAST, envs.Move.WEST))
        by_name = {"actor": actor[i], "east": east / (east + west)}
        for j, name in enumerate(Q_NAMES):
            by_name |= {name[k]: frozen[j, i, :, k] for k in range(2)}
        found |= {f"{name} {discount:g}": values for name, values in by_name.items()}
    return found | {"learning 1": np.asarray(returned)[0, 0] - found["epsilon 1"]}


def frozen_values(grid: envs.TabularMDP, pi: np.ndarray, q: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Exact values of the actors `[discount, seed]`, and of acting on Q `[memory, discount, seed, 2]`.

    The latter is greedy and epsilon-greedy, within the time limit.
    """
    memory = remembering(grid)
    forgetful = memory.observation % (np.max(grid.observation) + 1)
    seen = np.stack([forgetful, memory.observation])

    def of_q(observation, table, discount):
        mdp = memory._replace(observation=observation)
        greedy = jax.nn.one_hot(jnp.argmax(table, axis=-1), table.shape[-1])
        both = jnp.stack([greedy, envs.epsilon_greedy(greedy, EPSILON)])
        return jax.vmap(lambda p: envs.start_value(mdp, p, discount, time_limit=TIME_LIMIT))(both)

    of_actors = jax.vmap(jax.vmap(lambda p, g: envs.start_value(grid, p, g), (0, None)))
    of_tables = jax.vmap(jax.vmap(jax.vmap(of_q, (None, 0, None)), (None, 0, 0)), (0, 0, None))
    discounts = jnp.array(DISCOUNTS)
    return jax.jit(of_actors)(pi, discounts), jax.jit(of_tables)(seen, q, discounts)


def figure_data(exact: Mapping[str, float], sampled: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What the figure shows: each class's exact value and what was learned in it, and the corridor."""
    classes = []
    for discount in DISCOUNTS:
        for title, name, learned, learner in DRAWN:
            shown, key = None, f"{learned} {discount:g}"
            if key in sampled:
                row = judge(STATEMENTS[key], sampled[key])
                shown = {part: row[part] for part in ("value", "interval", "values")} | {"learner": learner}
            value = exact[f"{name} {discount:g}"]
            classes.append({"class": title, "discount": discount, "exact": value, "learned": shown})
    p = np.linspace(0.03, 0.97, 95)
    points = [(x, exact[f"J {x}"]) for x in (EPSILON / 2, 1 - EPSILON / 2)]
    points.append((exact["best p"], exact["best J"]))
    return {
        "classes": classes,
        "into the skull": exact["suicide"],
        "corridor": {"p": p.tolist(), "value": corridor_value(p).tolist(), "points": [list(x) for x in points]},
    }
