"""Claim b: what was said before, every exact number, the chapter's gaps, full covariance's cost, the figure."""

import claims_gaussian
import claims_gaussian_plots
import jax
import numpy as np
import pytest
from claims_rows import Statement
from scipy import stats

NUM_SEEDS = 8
GAPS = {0: 0.0, 0.5: 1.106, 0.9: 4.904, 0.99: 10.62}


@pytest.fixture(scope="module")
def small_run():
    """A run from few seeds, timed briefly; returns its rows by statement, and the figure's data."""
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        jax.numpy_dtype_promotion("standard"),  # optax needs it
        jax.debug_key_reuse(False),  # what is timed is the same call
    ):
        monkeypatch.setattr(claims_gaussian, "NUM_REPEATS", 2)
        result = claims_gaussian.measure(num_seeds=NUM_SEEDS, seed=0)
    assert not jax.config.jax_enable_x64
    return dict(zip(claims_gaussian.STATEMENTS, result["rows"], strict=True)), result["figure"]


def test_statements_are_there_before_the_run(small_run):
    statements = claims_gaussian.STATEMENTS
    assert all(isinstance(statement, Statement) for statement in statements.values())
    assert len({statement[:2] for statement in statements.values()}) == len(statements)
    assert all(statement.low > -np.inf or statement.high < np.inf for statement in statements.values())
    for name, row in small_run[0].items():
        assert row["expected"] == [statements[name].low, statements[name].high]


def test_every_exact_statement_holds(small_run):
    rows, _ = small_run
    exact = {name: row for name, row in rows.items() if row["says"] == "exact"}
    assert len(exact) == 24
    assert {name: row["interval"] for name, row in exact.items() if row["verdict"] != "holds"} == {}
    for name in ("score size", "covariance", "learned 0.9"):
        assert len(set(rows[name]["values"])) == NUM_SEEDS


def test_moments_have_the_spread_of_samples_not_of_exact_numbers(small_run):
    """Within 5 sigma of the exact values, and as far off as so many samples are."""
    rows, _ = small_run
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


def test_a_wrong_root_would_be_seen(key):
    """Sigma in the place of its root: the squared error of the covariance is many times the Wishart's."""
    key_pi, key_sample = jax.random.split(key)
    _, pi = claims_gaussian.random_gaussians(key_pi)
    epsilon = jax.random.normal(key_sample, (claims_gaussian.NUM_SAMPLES, 6))
    inverse, root = np.linalg.inv(pi.scale_tril), pi.scale_tril
    assert claims_gaussian.covariance_error(epsilon @ root.T @ inverse.T) < 1.5 * claims_gaussian.WISHART
    assert claims_gaussian.covariance_error(epsilon @ pi.covariance() @ inverse.T) > 10 * claims_gaussian.WISHART


def test_gaps_are_the_chapters_and_those_of_the_eigenvalues(small_run):
    rows, figure = small_run
    for correlation, chapter in GAPS.items():
        closed_form = -(5 * np.log(1 - correlation) + np.log(1 + 5 * correlation)) / 2
        assert closed_form == pytest.approx(chapter, rel=5e-4)
        np.testing.assert_allclose(rows[f"gap {correlation:g}"]["values"], closed_form, rtol=1e-9, atol=1e-12)
        assert rows[f"learned {correlation:g}"]["value"] == pytest.approx(closed_form, rel=0.05, abs=0.05)
    r = np.asarray(figure["curve"]["correlation"])
    np.testing.assert_allclose(figure["curve"]["gap"], -(5 * np.log(1 - r) + np.log(1 + 5 * r)) / 2, atol=1e-9)
    assert figure["plane"]["gap"] == pytest.approx(-np.log(1 - 0.9**2) / 2, abs=1e-4)


def test_learned_policies_never_beat_the_best_of_their_family():
    """Each objective is at most the optimum's; the start is far below it."""
    with jax.numpy_dtype_promotion("standard"):
        curvature = jax.numpy.asarray(claims_gaussian.equicorrelation(0.9), "float32")
        optimum, learned = jax.jit(claims_gaussian.learn)(curvature, jax.random.key(1))
    bandit = claims_gaussian.QuadraticBandit(optimum, curvature, jax.numpy.zeros(()))
    tau = claims_gaussian.TEMPERATURE
    for family, best in {"diagonal": bandit.best_diagonal(tau), "full": bandit.best_full(tau)}.items():
        pi = claims_gaussian.gaussian(learned[family])
        assert type(pi) is type(best)
        lost = claims_gaussian.objective(bandit, best) - claims_gaussian.objective(bandit, pi)
        assert -1e-5 < lost < 0.05 * tau
        np.testing.assert_allclose(pi.variance(), best.variance(), rtol=0.2)


def test_times_are_ratios_and_full_covariance_has_more_parameters(small_run):
    rows, _ = small_run
    for name in (
        "time 1",
        f"time {claims_gaussian.BATCH_SIZE}",
        "time loop",
        "time ahead",
        "full sample",
        "full log_prob",
    ):
        assert all(0.1 < value < 100 for value in rows[name]["values"])
        assert rows[name]["over"] == "seeds"
    assert 0 < rows["control"]["value"] < 1
    assert [rows[f"full {std}"]["value"] for std in ("shared", "per_state")] == [15, 15 * 65]


def test_the_figure_shows_the_gain_and_the_plane(small_run, tmp_path):
    rows, data = small_run
    claim = {"figure": data, "rows": list(rows.values())}
    figure = claims_gaussian_plots.draw(claim)
    gain, plane = figure.axes
    points = [container.lines[0].get_xydata()[0] for container in gain.containers]
    learned = [[correlation, rows[f"learned {correlation:g}"]["value"]] for correlation in GAPS]
    np.testing.assert_allclose(points, learned)
    assert len(plane.get_legend().get_texts()) == 2
    figure.savefig(tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="at least one learned gap"):
        claims_gaussian_plots.draw({"figure": data | {"learned": []}, "rows": []})


def test_an_ellipse_holds_its_mass():
    covariance = np.array([[2.0, -0.9], [-0.9, 0.5]])
    points = claims_gaussian_plots.ellipse(covariance)
    squared = np.einsum("ni,ij,nj->n", points, np.linalg.inv(covariance), points)
    np.testing.assert_allclose(squared, stats.chi2.ppf(claims_gaussian_plots.MASS, 2))
