"""A claim's statements: what is expected, said before the run; what was measured; the verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from studies.common.statistics import bootstrap_interval, interquartile_mean

VERDICTS = ("holds", "open", "contradicted")
Over = Literal["seeds", "rounds", "estimates", "cases"]
Says = Literal["chapter", "exact", "condition", "cell"]
Measuring = Generator[tuple[Over, Mapping[Any, Any]], None, dict[str, Any]]


class Statement(NamedTuple):
    """One statement of a claim, made before anything is measured; `low` and `high` are its falsifier.

    Fields:
        condition: who does what, where.
        quantity: what is measured.
        low, high: what the measurement's whole interval must keep for the statement to hold; if no part of the
            interval does, the statement is contradicted.
        exact: the value known from theory, if any.
        says: "chapter" for what the chapter claims, "exact" for what theory knows, "condition" for what it leaves
            out, "cell" for a number that is only shown, of which nothing is expected.
    """

    condition: str
    quantity: str
    low: float = -math.inf
    high: float = math.inf
    exact: float | None = None
    says: Says = "condition"


def exactly(
    condition: str, quantity: str, exact: float, *, relative: float = 0.0, absolute: float = 0.0
) -> Statement:
    """A statement that a quantity is the exact one, up to a tolerance."""
    tolerance = absolute + relative * abs(exact)
    return Statement(condition, quantity, exact - tolerance, exact + tolerance, exact, "exact")


def judge(
    statement: Statement,
    values: Sequence[float] | np.ndarray,
    *,
    over: Over = "seeds",
) -> dict[str, Any]:
    """The statement's row: what was measured, its interval, and the verdict.

    Args:
        statement: made before the run.
        values: over "seeds", or "rounds" of timing: their interquartile mean, with its 95 % bootstrap interval;
            over "estimates", independent and each unbiased: the same of their mean, as the middle half of skewed
            ones, such as variances, is biased; over "cases" (one exact number, several starting points, the ends
            of a bracket): the median, and the least and greatest.

    Returns: the statement's fields, with value, interval, verdict, over, and the raw values.
    Raises: ValueError: no values.
    """
    array = np.asarray(values, np.float64).ravel()
    if array.size == 0:
        raise ValueError(f"values must not be empty: {statement.condition}, {statement.quantity}")
    if over != "cases":
        statistic = np.mean if over == "estimates" else interquartile_mean
        value, interval = float(statistic(array)), bootstrap_interval(array, statistic)
    else:
        value, interval = float(np.median(array)), (float(np.min(array)), float(np.max(array)))
    return {
        "condition": statement.condition,
        "quantity": statement.quantity,
        "says": statement.says,
        "value": value,
        "interval": list(interval),
        "exact": statement.exact,
        "expected": [statement.low, statement.high],
        "verdict": "" if statement.says == "cell" else verdict(interval, (statement.low, statement.high)),
        "over": over,
        "values": array.tolist(),
    }


def judged(
    statements: Mapping[Any, Statement],
    measuring: Measuring,
    record: Callable[[list[dict[str, Any]]], None] = lambda rows: None,
) -> dict[str, Any]:
    """A claim's rows, each judged as soon as it is measured.

    Args:
        statements: by key.
        measuring: gives, as they are known, what values are over (see `judge`) and values by key; what is no key
            of a statement is left out. Returns the data of the claim's figure.
        record: called with the rows that came last.

    Returns: "rows", in the order of the statements, and "figure".
    Raises: ValueError: a statement was not measured.
    """
    rows: dict[Any, dict[str, Any]] = {}
    while True:
        try:
            over, found = next(measuring)
        except StopIteration as end:
            if missing := [key for key in statements if key not in rows]:
                raise ValueError(f"statements: expected all to be measured; {missing} were not") from None
            return {"rows": [rows[key] for key in statements], "figure": end.value}
        new = {key: judge(statements[key], found[key], over=over) for key in found if key in statements}
        rows |= new
        record(list(new.values()))


def verdict(interval: tuple[float, float], expected: tuple[float, float]) -> str:
    """Whether an interval lies within what was expected, in part, or not at all; NaN is outside."""
    (low, high), (least, most) = interval, expected
    if least <= low and high <= most:
        return "holds"
    overlaps = low <= most and high >= least
    return "open" if overlaps else "contradicted"
