"""Claim b: what was said before, every exact number, the chapter's gaps, full covariance's cost, the figure."""

import jax
import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from scipy import stats

from studies.claims.gaussian import measure as claims_gaussian
from studies.claims.gaussian import plots as claims_gaussian_plots
from tests.benchmarks.runs import judged_run

pytestmark = pytest.mark.deep  # it runs the study

NUM_SEEDS = 8
GAPS = {0: 0.0, 0.5: 1.106, 0.9: 4.904, 0.99: 10.62}


@pytest.fixture(scope="module")
def small_run():
    """A run from few seeds, timed briefly: its rows by statement, the figure's data, the learned policies."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        learned, learn_all = [], claims_gaussian.learn_all

        def noted(keys):
            learned.append(learn_all(keys))
            return learned[0]

        monkeypatch.setattr(claims_gaussian, "learn_all", noted)
        monkeypatch.setattr(claims_gaussian, "NUM_REPEATS", 2)
        rows, figure = judged_run(claims_gaussian, num_seeds=NUM_SEEDS, seed=0)
    return rows, figure, learned[0]


def test_statements_are_there_before_the_run(small_run):
    statements = claims_gaussian.STATEMENTS
    for name, row in small_run[0].items():
        assert row["expected"] == [statements[name].low, statements[name].high]


def test_every_exact_statement_holds(small_run):
    rows, *_ = small_run
    exact = {name: row for name, row in rows.items() if row["says"] == "exact"}
    assert len(exact) == 24
    assert {name: row["interval"] for name, row in exact.items() if row["verdict"] != "holds"} == {}
    for name in ("score size", "covariance", "learned 0.9"):
        assert len(set(rows[name]["values"])) == NUM_SEEDS


def test_moments_have_the_spread_of_samples_not_of_exact_numbers(small_run):
    """Within 5 sigma of the exact values, and as far off as so many samples are."""
    rows, *_ = small_run
    num_samples = claims_gaussian.NUM_SAMPLES
    for name, exact, sigma in (
        ("score mean", 0, 1 / np.sqrt(12 * num_samples)),
        ("fisher mean", 1, np.sqrt(2 / (6 * num_samples))),  # of chi-squared numbers
        ("fisher log_std", 2, np.sqrt(56 / (6 * num_samples))),  # of (z^2 - 1)^2, whose variance is 56
        ("score size", 12, np.sqrt(2 * 12 / claims_gaussian.NUM_GROUPS)),
        ("covariance", 42, np.sqrt(2 * 2 * 42 / claims_gaussian.NUM_GROUPS)),  # twice chi-squared of 21
        ("covariance root", 42, np.sqrt(2 * 2 * 42 / claims_gaussian.NUM_GROUPS)),
    ):
        deviations = (np.asarray(rows[name]["values"]) - exact) / sigma
        assert np.all(np.abs(deviations) < 5), name
        assert stats.chi2.sf(np.sum(deviations**2), NUM_SEEDS) > 1e-4, name
        assert stats.chi2.cdf(np.sum(deviations**2), NUM_SEEDS) > 1e-4, name


def test_a_wrong_root_would_be_seen(rng):
    """Sigma in the place of its root: the squared error of the covariance is many times the Wishart's."""
    root = np.tril(rng.uniform(0.5, 1.5, (6, 6)))
    inverse, epsilon = np.linalg.inv(root), rng.standard_normal((claims_gaussian.NUM_SAMPLES, 6))
    error = jax.jit(claims_gaussian.covariance_error)
    assert error(epsilon @ root.T @ inverse.T) == pytest.approx(claims_gaussian.WISHART, rel=0.25)
    assert error(epsilon @ (root @ root.T) @ inverse.T) > 10 * claims_gaussian.WISHART


def test_gaps_are_the_chapters_and_those_of_the_eigenvalues(small_run):
    rows, figure, _ = small_run
    for correlation, chapter in GAPS.items():
        closed_form = -(5 * np.log(1 - correlation) + np.log(1 + 5 * correlation)) / 2
        assert closed_form == pytest.approx(chapter, rel=5e-4)
        np.testing.assert_allclose(rows[f"gap {correlation:g}"]["values"], closed_form, rtol=1e-9, atol=1e-12)
        assert rows[f"learned {correlation:g}"]["value"] == pytest.approx(closed_form, rel=0.05, abs=0.05)
    r = np.asarray(figure["curve"]["correlation"])
    np.testing.assert_allclose(figure["curve"]["gap"], -(5 * np.log(1 - r) + np.log(1 + 5 * r)) / 2, atol=1e-9)
    assert figure["plane"]["gap"] == pytest.approx(-np.log(1 - 0.9**2) / 2, abs=1e-4)


def test_learned_policies_are_a_little_below_the_best_of_their_family(small_run):
    """For every correlation and seed, in float64, by NumPy's own covariances."""
    optimum, params = small_run[2]
    tau = claims_gaussian.TEMPERATURE
    for i, (correlation, gap) in enumerate(GAPS.items()):
        curvature = np.full((6, 6), correlation) + (1 - correlation) * np.eye(6)
        for family, best in {
            "diagonal": tau / 2 * np.diag(1 / np.diag(curvature)),
            "full": tau / 2 * np.linalg.inv(curvature),
        }.items():
            for seed in range(NUM_SEEDS):
                learned = jax.tree.map(
                    lambda x, i=i, seed=seed: np.asarray(x[i, seed], np.float64), params[family]
                )
                root = np.diag(np.exp(learned["log_std"]))
                if family == "full":
                    root[np.tril_indices(6, -1)] = learned["below"]
                lost = objective(curvature, 0.0, best) - objective(
                    curvature, learned["mean"] - optimum[i, seed], root @ root.T
                )
                assert 0 < lost < 0.05 * max(gap, 1) * tau


def objective(curvature, shift, covariance):
    """Expected reward + tau * entropy, less the entropy's constant."""
    reward = -np.sum(curvature * (covariance + np.multiply.outer(shift, shift)))
    return reward + claims_gaussian.TEMPERATURE * np.linalg.slogdet(covariance)[1] / 2


def test_times_are_ratios_and_full_covariance_has_more_parameters(small_run):
    rows, *_ = small_run
    for name in (
        "time 1",
        f"time {claims_gaussian.BATCH_SIZE}",
        "time loop",
        "time ahead",
        "full sample",
        "full log_prob",
    ):
        assert all(0.1 < value < 100 for value in rows[name]["values"])
        assert rows[name]["over"] == "rounds"
    assert 0 < rows["control"]["value"] < 1
    assert [rows[f"full {std}"]["value"] for std in ("shared", "per_state")] == [15, 15 * 65]


def test_the_figure_shows_the_gain_and_the_plane(small_run, tmp_path):
    rows, data, _ = small_run
    claim = {"figure": data, "rows": list(rows.values())}
    figure = claims_gaussian_plots.draw(claim)
    gain, plane = figure.axes
    bars = [container for container in gain.containers if isinstance(container, ErrorbarContainer)]
    points = [np.asarray(container.lines[0].get_xydata())[0] for container in bars]
    learned = [[correlation, rows[f"learned {correlation:g}"]["value"]] for correlation in GAPS]
    np.testing.assert_allclose(points, learned)
    named = plane.get_legend()
    assert named is not None
    assert len(named.get_texts()) == 2
    figure.savefig(tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="at least one learned gap"):
        claims_gaussian_plots.draw({"figure": data | {"learned": []}, "rows": []})


def test_an_ellipse_holds_its_mass():
    covariance = np.array([[2.0, -0.9], [-0.9, 0.5]])
    points = claims_gaussian_plots.ellipse(covariance)
    squared = np.einsum("ni,ij,nj->n", points, np.linalg.inv(covariance), points)
    np.testing.assert_allclose(squared, stats.chi2.ppf(claims_gaussian_plots.MASS, 2))
