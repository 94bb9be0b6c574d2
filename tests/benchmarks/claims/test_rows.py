"""A claim's rows: verdicts, intervals against scipy and by coverage, raw values kept."""

import numpy as np
import pytest
from scipy import stats

from studies.claims.rows import VERDICTS, Statement, exactly, judge, verdict
from studies.common.statistics import bootstrap_interval, interquartile_mean


@pytest.mark.parametrize(
    ("interval", "expected", "said"),
    [
        ((1.0, 1.1), (1.0, 1.2), "holds"),
        ((1.0, 1.3), (1.0, 1.2), "open"),
        ((0.5, 1.3), (1.0, 1.2), "open"),
        ((1.3, 1.4), (1.0, 1.2), "contradicted"),
        ((0.5, 0.9), (1.0, np.inf), "contradicted"),
        ((-np.inf, -np.inf), (-np.inf, -np.inf), "holds"),
        ((np.nan, np.nan), (-np.inf, np.inf), "contradicted"),
    ],
)
def test_a_verdict_is_about_the_whole_interval(interval, expected, said):
    assert verdict(interval, expected) == said
    assert said in VERDICTS


def test_exact_statements_allow_their_tolerance_alone():
    statement = exactly("here", "this", -2.0, relative=0.01, absolute=0.1)
    assert (statement.low, statement.high, statement.exact, statement.says) == (-2.12, -1.88, -2.0, "exact")
    assert judge(statement, [-2.12, -1.88], over="cases")["verdict"] == "holds"
    assert judge(statement, [-2.13, -1.88], over="cases")["verdict"] == "open"
    assert judge(statement, [-2.2, -2.13], over="cases")["verdict"] == "contradicted"


def test_a_number_of_which_nothing_is_expected_has_no_verdict():
    assert judge(Statement("here", "this", says="cell"), [1.0, 2.0], over="cases")["verdict"] == ""


def test_seeds_give_the_interquartile_mean_and_its_interval_and_are_kept(rng):
    values = rng.normal(3.0, 1.0, 32)
    row = judge(Statement("here", "this", low=2.0), values)
    middle = np.sort(values)[8:24]
    assert row["value"] == pytest.approx(middle.mean())
    low, high = row["interval"]
    assert low < row["value"] < high
    resampled = [interquartile_mean(rng.choice(values, 32)) for _ in range(4000)]
    np.testing.assert_allclose([low, high], np.quantile(resampled, [0.025, 0.975]), atol=0.05)
    assert row["values"] == values.tolist()
    assert (row["verdict"], row["exact"], row["expected"]) == ("holds", None, [2.0, np.inf])


def test_estimates_give_their_mean_which_skew_does_not_bias(rng):
    values = rng.chisquare(1, 4096)
    row = judge(exactly("here", "variance of a normal", 1.0, relative=0.1), values, over="estimates")
    assert row["value"] == pytest.approx(values.mean())
    half = 1.96 * values.std() / 64
    np.testing.assert_allclose(row["interval"], [values.mean() - half, values.mean() + half], atol=0.01)
    assert (row["verdict"], row["over"]) == ("holds", "estimates")
    assert judge(exactly("here", "this", 1.0, relative=0.1), values)["verdict"] == "contradicted"


def test_outliers_do_not_move_the_interquartile_mean():
    values = np.arange(32.0)
    wild = values.copy()
    wild[:4], wild[-4:] = -1e9, 1e9
    assert interquartile_mean(wild) == interquartile_mean(values)


def test_the_interval_covers_the_truth_in_most_samples(rng):
    """95 % nominal; the percentile bootstrap of 32 covers a little less, and far more than 85 %."""
    covered = sum(
        low <= 0 <= high for low, high in (bootstrap_interval(rng.standard_t(3, 32)) for _ in range(100))
    )
    assert covered >= stats.binom(100, 0.92).ppf(1e-4)


@pytest.mark.parametrize("values", [[2.0], [2.0] * 32])
def test_values_that_agree_are_their_own_interval(values):
    assert judge(Statement("here", "this"), values)["interval"] == [2.0, 2.0]


def test_infinite_values_give_an_infinite_end_and_nothing_is_refused_but_emptiness():
    row = judge(Statement("here", "this", high=0.0), [-np.inf, -1.0])
    assert row["interval"] == [-np.inf, -1.0]
    with pytest.raises(ValueError, match="values must not be empty: here, this"):
        judge(Statement("here", "this"), [])
