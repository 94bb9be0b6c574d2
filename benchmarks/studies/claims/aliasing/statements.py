"""What is expected of aliased states, said before anything is measured: exact numbers, the chapter's words."""

from __future__ import annotations

import math
from typing import Any

from studies.claims.aliasing.learners import (
    TIME_LIMIT,
)
from studies.claims.rows import Says, Statement, exactly

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
