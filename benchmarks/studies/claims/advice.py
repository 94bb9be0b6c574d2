"""h. When to use which: rules made from claim g's rows, each with the side that its row's interval supports.

A rule says when it applies, which row it rests on and what a low and a high number of that row speak for; which of
the two is advised is not written down anywhere, it follows from the measurement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from studies.claims.comparison import statements as said
from studies.claims.comparison.statements import DIFFERENCE, ENVIRONMENTS, POLICY, RATIO, STATEMENTS, VALUE

BOTH = "both"
NONE = "no difference measured"
NOT_MEASURED = "not measured"


class Rule(NamedTuple):
    """One piece of advice.

    Fields:
        when: the situation, in words that follow "when".
        key: of the statement whose row decides.
        below, above: the side to take where the row's interval lies below, or above, the number of no difference.
        chapter: the side that the chapter takes there, if any.
    """

    when: str
    key: said.Key
    below: str
    above: str
    chapter: str = ""


def make_rules() -> list[Rule]:
    """All rules, in the order of the table."""
    rules = []
    for name in said.WHERE_ACTING:
        chapter = POLICY if "joints" in name else ""
        when = f"time per decision counts most ({name})"
        rules.append(Rule(when, (f"{said.ACTING}: {name}", RATIO, said.TIME), VALUE, POLICY, chapter))
    critics = (
        ("actions are continuous and values can only be kept on a grid", "grid of 729", VALUE, POLICY),
        ("actions are continuous and the shape of their values is known", "quadratic critic + CEM", VALUE, ""),
        ("actions are continuous and a network has to learn their values", "MLP critic + CEM", VALUE, ""),
        ("actions are continuous, and a learned critic may train the policy", said.WITH_BOTH, BOTH, BOTH),
    )
    for when, name, below, chapter in critics:
        key = (said.CONTINUOUS, f"{name} / Gaussian policy", said.REGRET)
        rules.append(Rule(when, key, below, POLICY, chapter))
    aliased, game = (f"{said.STOCHASTIC}: {name}" for name in ("aliased gridworld", "rock-paper-scissors"))
    rules += [
        Rule("states look alike, without memory", (aliased, DIFFERENCE, said.FINAL), POLICY, VALUE, POLICY),
        Rule("an opponent adapts", (game, DIFFERENCE, said.EXPLOITABILITY), VALUE, POLICY, POLICY),
    ]
    for name in ENVIRONMENTS:
        where = f"{said.EFFICIENCY}: {name}"
        for kept, who in (("replayed", said.BOTH_REPLAY), ("used once", said.BOTH_ON_POLICY)):
            when = f"steps are scarce and {kept} ({name})"
            rules.append(Rule(when, (where, who, said.MEAN_VALUE), POLICY, VALUE, VALUE))
        when = f"steps are scarce and a policy is wanted ({name})"
        rules.append(Rule(when, (where, said.BOTH, said.MEAN_VALUE), POLICY, BOTH, BOTH))
    for name in ENVIRONMENTS:
        key = (f"{said.STABILITY}: {name}", DIFFERENCE, said.DRAWDOWN)
        rules.append(Rule(f"late falls of the acting policy hurt ({name})", key, VALUE, POLICY, POLICY))
        key = (f"{said.STABILITY}: {name}", DIFFERENCE, said.SPREAD)
        rules.append(Rule(f"every run has to end alike ({name})", key, VALUE, POLICY, POLICY))
    return rules


RULES = make_rules()


def advice(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The side that each rule takes by its row's interval.

    Args:
        rows: of claim g, as `judged` returns them.

    Returns: for each rule "rule", when it applies; "side", policy-based, value-based, both, or that no difference
        was measured; "row", the row that decides, in words; "chapter", the side that the chapter takes, or "".
    """
    known = {(row["condition"], row["quantity"]): row for row in rows}
    entries = []
    for rule in RULES:
        statement, neutral = STATEMENTS[rule.key], said.COMPARISONS[rule.key]
        row = known.get((statement.condition, statement.quantity))
        entries.append(
            {
                "rule": f"when {rule.when}",
                "side": NOT_MEASURED if row is None else side(rule, row["interval"], neutral),
                "row": f"{statement.condition}, {statement.quantity}" + ("" if row is None else numbers(row)),
                "chapter": rule.chapter,
            }
        )
    return entries


def side(rule: Rule, interval: Sequence[float], neutral: float) -> str:
    """The side that an interval speaks for; none where it holds the number of no difference, or no number."""
    low, high = interval
    if low > neutral:
        return rule.above
    return rule.below if high < neutral else NONE


def numbers(row: Mapping[str, Any]) -> str:
    """A row's number and interval."""
    low, high = row["interval"]
    return f": {row['value']:.3g} ({low:.3g} to {high:.3g})"


def contradictions(entries: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The advice, given earlier or by hand, that rows do not support, or that no rule gives."""
    supported = {entry["rule"]: entry["side"] for entry in advice(rows)}
    return [entry["rule"] for entry in entries if supported.get(entry["rule"]) != entry["side"]]
