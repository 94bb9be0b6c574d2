"""Claim d: where states look alike, stochastic policies are best, and policy gradient finds them.

The aliased gridworld: what each class of policies is worth, exactly, and what learning from sampled episodes
reaches in each: actor-critic without memory, Q-learning without and with memory of the last observation. The short
corridor with switched actions: its best policy, and the mean and variance of REINFORCE's gradient.
"""

from __future__ import annotations

import itertools
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
from studies.claims.aliasing.statements import (
    BASELINES,
    CORRIDOR_POINTS,
    DISCOUNTS,
    DRAWN,
    EQUAL,
    MILD,
    Q_NAMES,
    SEVERE,
    SKULL,
    STATEMENTS,
    corridor_value,
)
from studies.claims.rows import Measuring, judge


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
