"""What claim g expects, said before anything is measured: a row for each side of each cell, and one that decides.

The chapter's own cells are `says="chapter"` without conditions; what it leaves out is `says="condition"`. After a
first run the differences within one regime (both with replay, both on-policy) were added, and initial values and
entropy became settings to tune: from values of 0, Q-learning had explored the random MDP too little.
"""

from __future__ import annotations

import math

from studies.claims.rows import Says, Statement, exactly

Key = tuple[str, str, str]  # topic and where, who, quantity
Range = tuple[float, float]
Statements = dict[Key, Statement]

ENVIRONMENTS = ("gridworld", "random MDP", "aliased gridworld")
MORE = 1e-6  # a difference of exactly 0 is none
ABOVE, BELOW, DEARER = (MORE, math.inf), (-math.inf, -MORE), (1 + MORE, math.inf)
VALUE, POLICY = "value-based", "policy-based"
DIFFERENCE, RATIO = "value - policy", "value / policy"

CELLS = {
    "value, on-policy": "SARSA (value, on-policy)",
    "value, replay": "Q-learning (value, replay)",
    "policy, on-policy": "actor-critic (policy, on-policy)",
    "policy, replay": "actor-critic on replayed Q (policy, replay)",
}
REGIME, NAIVE, BOTH = (
    "replay - on-policy",
    "value with replay - policy on-policy",
    "policy with replayed Q - without",
)

# The off-policy example: features 1 and 2, the second state follows the first and itself, and ends with END.
END, TD_DISCOUNT, TD_RATE, TD_UPDATES = 0.1, 0.95, 0.1, 500
EPSILON = 0.1

LEARNED, LOSS, ERROR = "what is learned", "loss of the greedy policy / uniform's", "relative error of Q"
ACTING, TIME = "how to act", "time per decision"
CONTINUOUS, REGRET = "continuous actions: 6 joints, 2048 pulls", "regret"
STOCHASTIC, FINAL, EXPLOITABILITY = "stochastic policies", "value at the end", "exploitability"
EFFICIENCY, MEAN_VALUE = "sample efficiency", "mean normalized value in training"
STABILITY, DRAWDOWN, SPREAD = "stability", "largest fall in the second half", "distance from the median seed"
GREEDY = "value - policy, both without exploration"
BOTH_REPLAY, BOTH_ON_POLICY = "value - policy, both with replay", "value - policy, both on-policy"
FACTOR, GROWTH = "factor of w in an expected update", f"log10 growth of |w| in {TD_UPDATES} updates"

WHERE_ACTING = {
    "6 joints, 1 state": (1, "sample a Gaussian / CEM 2x64"),
    "6 joints, 256 states": (256, "sample a Gaussian / CEM 2x64"),
    "64 discrete actions, 256 states": (256, "sample / argmax of 64 outputs"),
}
WITH_BOTH = "MLP critic + Gaussian policy"
BANDIT_LEARNERS = ("Gaussian policy", "grid of 729", "quadratic critic + CEM", "MLP critic + CEM", WITH_BOTH)


def single(
    where: str, who: str, quantity: str, expected: Range | None = None, says: Says = "condition"
) -> Statements:
    """One statement, about one learner or one difference (`who`); without expectation, a number that is shown."""
    if expected is None:
        expected, says = (-math.inf, math.inf), "cell"
    return {(where, who, quantity): Statement(f"{where}, {who}", quantity, *expected, says=says)}


def entry(
    where: str,
    quantity: str,
    against: Range,
    *,
    says: Says,
    sign: str = DIFFERENCE,
    sides: tuple[Range | None, Range | None] = (None, None),
) -> Statements:
    """Statements of a cell: each side, and the difference or ratio of a seed's two numbers."""
    value, policy = (single(where, who, quantity, side) for who, side in zip((VALUE, POLICY), sides, strict=True))
    return value | policy | single(where, sign, quantity, against, says)


def design(topic: str, quantity: str, regime: Range) -> Statements:
    """Statements of the 2x2 in each environment: its cells and its main effects."""
    made: Statements = {}
    for name in ENVIRONMENTS:
        where = f"{topic}: {name}"
        for cell in CELLS.values():
            made |= single(where, cell, quantity)
        made |= single(where, DIFFERENCE, quantity, ABOVE, "chapter")
        made |= single(where, REGIME, quantity, regime)
    return made


def what_is_learned() -> Statements:
    """Values are learned roughly; the policy that they imply, exactly."""
    made: Statements = {}
    for name in ENVIRONMENTS[:2]:
        where = f"{LEARNED}: {name}"
        made |= single(where, "Q-learning", ERROR, (0.0, 0.5))
        made |= entry(where, LOSS, (-0.1, 0.1), says="condition", sides=((0.0, 0.1), (0.0, 0.1)))
    return made


def how_to_act() -> Statements:
    """A search costs more than a sample; an argmax over few actions does not."""
    made: Statements = {}
    for name in WHERE_ACTING:
        discrete = "discrete" in name
        against: Range = (0.5, 2.0) if discrete else DEARER
        says: Says = "condition" if discrete else "chapter"
        statements = entry(f"{ACTING}: {name}", TIME, against, says=says, sign=RATIO)
        made |= {
            key: s._replace(quantity=f"{TIME}, s") if s.says == "cell" else s for key, s in statements.items()
        }
    return made


def continuous_actions() -> Statements:
    """A grid is coarse; a critic that can be searched is not; a critic can also train the policy."""
    made: Statements = {}
    for name in BANDIT_LEARNERS:
        made |= single(CONTINUOUS, name, REGRET)
    against: dict[str, tuple[Range, Says]] = {
        "grid of 729": (DEARER, "chapter"),
        "quadratic critic + CEM": ((0.0, 1.0), "condition"),
        "MLP critic + CEM": ((0.0, 1.0), "condition"),
        WITH_BOTH: ((0.0, 1.0), "condition"),
    }
    for name, (expected, says) in against.items():
        made |= single(CONTINUOUS, f"{name} / Gaussian policy", REGRET, expected, says)
    return made


def stochastic_policies() -> Statements:
    """Epsilon-greedy policies fail where states look alike or an opponent adapts; so do unregularized policies."""
    aliased, game = (f"{STOCHASTIC}: {name}" for name in ("aliased gridworld", "rock-paper-scissors"))
    greedy, best = "epsilon .1 between east and west in the grey cells", "best without memory"
    return {
        (aliased, best, FINAL): exactly(f"{aliased}, {best}", FINAL, -3.0269, absolute=1e-4),
        (aliased, greedy, FINAL): exactly(f"{aliased}, {greedy}", FINAL, -4.485, absolute=1e-3),
        **entry(aliased, FINAL, BELOW, says="chapter", sides=((-math.inf, -3.0269), (-3.5, -3.0268))),
        **entry(game, EXPLOITABILITY, ABOVE, says="chapter", sides=((0.5, 1.0), (0.0, 0.05))),
        **single(game, "policy-based without entropy", EXPLOITABILITY, (0.5, 1.0)),
        **single(game, "value-based, average of what it played", EXPLOITABILITY, (0.0, 0.05)),
    }


def sample_efficiency() -> Statements:
    """The chapter's cell, and what remains of it once the data's regime is the same."""
    made = design(EFFICIENCY, MEAN_VALUE, ABOVE)
    for name in ENVIRONMENTS:
        for who in (BOTH_REPLAY, BOTH_ON_POLICY, NAIVE, BOTH, GREEDY):
            made |= single(f"{EFFICIENCY}: {name}", who, MEAN_VALUE, ABOVE)
    return made


def stability() -> Statements:
    """The chapter's cell: falls late in training, spread over seeds, and the known case of divergence."""
    made = design(STABILITY, DRAWDOWN, BELOW)
    for name in ENVIRONMENTS:
        made |= entry(f"{STABILITY}: {name}", SPREAD, ABOVE, says="chapter")
    where = f"{STABILITY}: TD, linear features, two states"
    off = 1 + TD_RATE / 2 * (TD_DISCOUNT * (6 - 4 * END) - 5)
    visits = 1 / END  # of the second state in an episode
    drift = 2 * TD_DISCOUNT - 1 + visits * 2 * (2 * TD_DISCOUNT * (1 - END) - 2)
    on = 1 + TD_RATE * drift / (1 + visits)
    for name, known, sampled in (("off-policy", off, ABOVE), ("on-policy", on, BELOW)):
        made[where, name, FACTOR] = exactly(f"{where}, {name}", FACTOR, known, relative=1e-6)
        made |= single(where, name, GROWTH, sampled)
    return made | single(where, "off-policy - on-policy", GROWTH, ABOVE)


STATEMENTS: Statements = {
    **what_is_learned(),
    **how_to_act(),
    **continuous_actions(),
    **stochastic_policies(),
    **sample_efficiency(),
    **stability(),
}

# The statements that set two sides against each other, with the number at which there is no difference.
COMPARISONS: dict[Key, float] = {
    key: 1.0 if " / " in key[1] else 0.0 for key in STATEMENTS if " / " in key[1] or " - " in key[1]
}
