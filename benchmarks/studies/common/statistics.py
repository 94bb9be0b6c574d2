"""Statistics of repeated measurements: percentiles, interquartile means, bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy import stats

CONFIDENCE, NUM_RESAMPLES = 0.95, 2000


def summarize(values: Iterable[float]) -> dict[str, float | int]:
    """Median, 90th and 99th percentile, mean and count of some values; NaN if one of them is NaN."""
    array = np.asarray(list(values), np.float64)
    if array.size == 0:
        raise ValueError("values: expected at least one, got none")
    median, p90, p99 = (float(value) for value in np.percentile(array, (50, 90, 99)))
    return {"median": median, "p90": p90, "p99": p99, "mean": float(array.mean()), "count": array.size}


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
