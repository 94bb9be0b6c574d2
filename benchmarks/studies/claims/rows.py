"""A claim's statements: what is expected, said before the run; what was measured; the verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE, NUM_RESAMPLES = 0.95, 2000
VERDICTS = ("holds", "open", "contradicted")


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
    says: Literal["chapter", "exact", "condition", "cell"] = "condition"


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
    over: Literal["seeds", "rounds", "estimates", "cases"] = "seeds",
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


def verdict(interval: tuple[float, float], expected: tuple[float, float]) -> str:
    """Whether an interval lies within what was expected, in part, or not at all; NaN is outside."""
    (low, high), (least, most) = interval, expected
    if least <= low and high <= most:
        return "holds"
    overlaps = low <= most and high >= least
    return "open" if overlaps else "contradicted"


def interquartile_mean(values: np.ndarray, axis: int = -1) -> Any:
    """The mean of the middle half, along an axis.

    Reference: Agarwal et al. (2021), Deep reinforcement learning at the edge of the statistical precipice.
    """
    mean = stats.trim_mean(values, 0.25, axis=axis)
    return float(mean) if np.ndim(mean) == 0 else mean


def bootstrap_interval(values: np.ndarray, statistic: Any = interquartile_mean) -> tuple[float, float]:
    """The percentile bootstrap's interval of a statistic, of (values, axis); of equal ones, their own."""
    if np.ptp(values) == 0 or values.size == 1 or not np.all(np.isfinite(values)):
        return float(np.min(values)), float(np.max(values))
    found = stats.bootstrap(
        (values,),
        statistic,
        confidence_level=CONFIDENCE,
        n_resamples=NUM_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)
