"""Claim c: statements before the run, known numbers, what is contradicted and what mends it, the figure."""

import jax
import numpy as np
import pytest

from studies.claims.games import measure as claims_games
from studies.claims.games import plots as claims_games_plots
from tests.benchmarks.runs import judged_run

pytestmark = pytest.mark.deep  # it runs the study


@pytest.fixture(scope="module")
def small_run():
    """A run from few starts; returns its rows by statement, and the figure's data."""
    return judged_run(claims_games, num_seeds=4, seed=0)


def test_the_rest_holds_but_not_that_plain_policy_gradient_finds_the_equilibrium(small_run):
    rows, _ = small_run
    assert {name for name, row in rows.items() if row["verdict"] == "open"} <= {
        "average",
        "entropy",
    }  # near a corner
    contradicted = {name for name, row in rows.items() if row["verdict"] == "contradicted"}
    assert contradicted == {"plain", "plain sampled"}
    for name in contradicted:
        assert rows[name]["verdict"] == "contradicted"
        assert rows[name]["says"] == "chapter"
        assert rows[name]["over"] == "seeds"
        assert len(set(rows[name]["values"])) == 4


def test_known_numbers(small_run):
    rows, _ = small_run
    known = [rows[name]["value"] for name in ("level start", "level end", "known worst", "known average")]
    np.testing.assert_allclose(known, [3.211, 5.387, 0.85, 0.005], rtol=0.01)
    theta = np.log(claims_games.START)
    assert known[0] == pytest.approx(np.sum(np.exp(np.mean(theta) - theta)))
    gains = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) @ claims_games.START
    assert np.max(gains) == pytest.approx(claims_games.START_LOSES)


def test_near_a_corner_time_is_the_inverse_of_a_probability():
    """Paper's 1 / p falls by about the learning rate a step: 1,000 of its 10,000 after 10,000 steps of .1."""
    dynamics = claims_games.games.softmax_policy_gradient(learning_rate=claims_games.RATE)
    with jax.enable_x64(True):
        payoff = claims_games.games.rock_paper_scissors()
        outcome = jax.jit(lambda x: claims_games.games.play(dynamics, payoff, x, num_steps=10_000))(
            claims_games.CORNER
        )
        assert 1 / float(outcome.strategy[1]) == pytest.approx(9000, rel=0.02)


def test_stable_rates_are_bracketed(small_run):
    rows, _ = small_run
    rates = {name: row for name, row in rows.items() if row["quantity"] == "largest stable rate"}
    assert len(rates) == 9
    for row in rates.values():
        assert row["value"] == pytest.approx(row["exact"], rel=0.03)
        assert row["interval"][0] < row["interval"][1]
    # The spectral radius of a step of Hedge with entropy is 1 where eta is 2 tau / (tau^2 + 1/3).
    eta, tau = rates["Hedge + entropy 0.1"]["exact"], 0.1
    assert abs(complex(1 - eta * tau, eta / np.sqrt(3))) == pytest.approx(1)


def test_paths_stay_in_the_simplex_and_end_where_they_should(small_run):
    _, figure = small_run
    paths = {path["title"]: path for path in figure["paths"]}
    for path in paths.values():
        np.testing.assert_allclose(np.sum(path["strategies"], axis=1), 1, atol=2e-4)
    assert paths["softmax policy gradient"]["exploitability"] > 0.5
    assert paths["Hedge"]["exploitability"] > 0.2
    assert paths["optimistic Hedge"]["exploitability"] < 0.01
    assert paths["moving magnet .2"]["exploitability"] < 0.01
    assert paths["magnetic mirror descent .2"]["exploitability"] == pytest.approx(0.065, abs=1e-3)


def test_the_figure_has_a_panel_for_each_path(small_run, tmp_path):
    rows, data = small_run
    figure = claims_games_plots.draw({"figure": data, "rows": list(rows.values())})
    titles = [panel.get_title() for panel in figure.axes if panel.get_visible()]
    assert [title.split("\n")[0] for title in titles] == [path["title"] for path in data["paths"]]
    figure.savefig(tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="at least one path"):
        claims_games_plots.draw({"figure": {"paths": []}, "rows": []})
