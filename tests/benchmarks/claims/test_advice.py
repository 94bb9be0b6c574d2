"""Claim h: every rule rests on a row that compares, takes the side of its interval, and changes with it."""

import math

import pytest

from studies import reports
from studies.claims.advice import BOTH, NONE, NOT_MEASURED, RULES, advice, contradictions
from studies.claims.comparison import statements as said
from studies.claims.comparison.statements import COMPARISONS, POLICY, STATEMENTS, VALUE
from studies.claims.rows import judge
from studies.common import results


def row(key, low, high):
    """A row as if it had been measured, with a given interval."""
    return judge(STATEMENTS[key], [low, high], over="cases")


def rows_with(place):
    """Rows of all rules, their intervals "below", "above" or "around" the number of no difference."""
    ends = {"below": (-0.5, -0.1), "above": (0.1, 0.5), "around": (-0.1, 0.5)}[place]
    return [row(rule.key, *(COMPARISONS[rule.key] + end for end in ends)) for rule in RULES]


def test_every_rule_rests_on_a_statement_that_compares_and_no_two_are_alike():
    assert all(rule.key in COMPARISONS and rule.key in STATEMENTS for rule in RULES)
    assert len({rule.when for rule in RULES}) == len({rule.key for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.below != rule.above
        assert {rule.below, rule.above} <= {POLICY, VALUE, BOTH}
        assert rule.chapter in ("", rule.below, rule.above)


def test_the_chapters_table_is_in_the_rules_and_all_three_sides_are_possible():
    topics = {rule.key[0].split(":")[0] for rule in RULES}
    assert topics == {
        *("how to act", "continuous actions", "stochastic policies"),
        *("sample efficiency", "stability"),
    }
    assert {side for rule in RULES for side in (rule.below, rule.above)} == {POLICY, VALUE, BOTH}


@pytest.mark.parametrize("place", ["below", "above", "around"])
def test_the_side_is_the_intervals(place):
    entries = advice(rows_with(place))
    expected = [NONE if place == "around" else getattr(rule, place) for rule in RULES]
    assert [entry["side"] for entry in entries] == expected
    for entry, rule in zip(entries, RULES, strict=True):
        statement = STATEMENTS[rule.key]
        assert statement.condition in entry["row"]
        assert statement.quantity in entry["row"]


def test_more_is_better_or_worse_as_the_quantity_says():
    """Two rules by hand: value (higher is better) and falls (lower is better)."""
    sides = {rule.key: (rule.below, rule.above) for rule in RULES}
    efficiency = (f"{said.EFFICIENCY}: gridworld", said.BOTH_REPLAY, said.MEAN_VALUE)
    falls = (f"{said.STABILITY}: gridworld", said.DIFFERENCE, said.DRAWDOWN)
    assert sides[efficiency] == (POLICY, VALUE)
    assert sides[falls] == (VALUE, POLICY)
    assert sides[said.CONTINUOUS, f"{said.WITH_BOTH} / Gaussian policy", said.REGRET] == (BOTH, POLICY)


@pytest.mark.parametrize("index", range(len(RULES)))
def test_an_altered_row_contradicts_its_rule_and_no_other(index):
    rows = rows_with("above")
    given = advice(rows)
    assert contradictions(given, rows) == []
    for altered in (rows_with("below")[index], rows_with("around")[index]):
        changed = [*rows[:index], altered, *rows[index + 1 :]]
        assert contradictions(given, changed) == [given[index]["rule"]]


def test_what_is_not_measured_or_not_a_number_takes_no_side():
    assert {entry["side"] for entry in advice([])} == {NOT_MEASURED}
    unknown = [row(rule.key, math.nan, math.nan) for rule in RULES]
    assert {entry["side"] for entry in advice(unknown)} == {NONE}
    made_up = [{"rule": "when it rains", "side": POLICY, "row": ""}]
    assert contradictions(made_up, rows_with("above")) == ["when it rains"]
    at_the_number = [row(rule.key, *2 * (COMPARISONS[rule.key],)) for rule in RULES]
    assert {entry["side"] for entry in advice(at_the_number)} == {NONE}


def test_the_published_advice_is_what_the_published_rows_support():
    result = results.read_json(reports.committed()["claims"])
    rows = [row for row in result["rows"] if row["claim"] == "g"]
    assert len(result["advice"]) == len(RULES)
    assert contradictions(result["advice"], rows) == []
