"""Statistics against NumPy."""

import math

import numpy as np
import pytest

from studies.common import statistics


def test_summarize_against_numpy():
    values = np.random.default_rng(1).normal(size=1000)
    summary = statistics.summarize(values)
    assert summary == {
        "median": pytest.approx(np.median(values)),
        "p90": pytest.approx(np.percentile(values, 90)),
        "p99": pytest.approx(np.percentile(values, 99)),
        "mean": pytest.approx(np.mean(values)),
        "count": 1000,
    }
    assert math.isnan(statistics.summarize([1.0, math.nan])["median"])
    with pytest.raises(ValueError, match="values"):
        statistics.summarize([])
