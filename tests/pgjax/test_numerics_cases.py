"""Every reference case of data/numerics_cases.json, through what pgjax exports.

A case names an operation, which `numerics_runners.RUNNERS` runs. Where a case expects a sentence, `SENTENCES` says
what it means.
"""

import json
import pathlib

import numpy as np
import pytest

from tests.pgjax.numerics_runners import RUNNERS

CASES = json.loads((pathlib.Path(__file__).parent / "data" / "numerics_cases.json").read_text())["cases"]

# What pgjax does not have yet.
DEFERRED = {
    "bernoulli",
    "bernoulli.entropy",
    "bernoulli.kl",
    "beta.deterministic_action",
    "beta.entropy",
    "beta.kl",
    "beta.log_prob",
    "beta.sample/log_prob",
    "clipped_normal.entropy",
    "clipped_normal.log_prob",
    "grad beta.log_prob",
    "gsde.log_prob",
    "joint.__init__",
    "mixture.log_prob",
    "mixture.sample",
    "normalize_advantages",
    "one_hot_categorical.mode",
    "straight_through",
    "truncated_normal.log_prob",
}

SENTENCES = {
    "RAISES or shape [4]": lambda shape: shape in (None, [4]),
    "bfloat16": "bfloat16".__eq__,
    "lp0==0 or sample==-1": lambda actual: actual["lp"] == 0.0 or actual["s"] == -1,
    "no NaN": lambda gradient: not np.isnan(gradient).any(),
}


def check(actual, expected, tolerance):
    """Assert that a result is what the case expects, within the case's own tolerance."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            check(actual[name], value, tolerance)
    elif isinstance(expected, list):
        assert len(actual) == len(expected)
        for item, value in zip(actual, expected, strict=True):
            check(item, value, tolerance)
    elif expected in SENTENCES:
        assert SENTENCES[expected](actual), f"{expected}: {actual}"
    else:
        assert np.shape(actual) == ()
        np.testing.assert_allclose(np.float64(actual), np.float64(expected), **tolerance)


def as_parameter(case):
    """Return the case for pytest, named by its id, skipped where its family does not exist yet."""
    deferred = pytest.mark.skip(reason=f"pgjax has no {case['op']} yet")
    return pytest.param(case, id=case["id"], marks=[deferred] if case["op"] in DEFERRED else [])


@pytest.mark.parametrize("case", [as_parameter(case) for case in CASES])
def test_reference_case(case):
    """The public functions give the expected value within the case's tolerance."""
    check(RUNNERS[case["op"]](case["inputs"]), case["expected"], case["tolerance"])


def test_no_case_is_skipped_silently():
    """Every operation of the file either runs or stands in the list of deferred ones, not both."""
    operations = {case["op"] for case in CASES}
    assert operations - RUNNERS.keys() == DEFERRED
    assert RUNNERS.keys() - operations == set()
    assert len({case["id"] for case in CASES}) == len(CASES) == 93
