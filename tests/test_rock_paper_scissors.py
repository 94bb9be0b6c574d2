"""The benchmark of rock-paper-scissors: its verdicts, its rows' fields, options, a run as a user's, its figure."""

import sys

import harness
import jax
import numpy as np
import pytest
import rock_paper_scissors
import rock_paper_scissors_plots


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["rock_paper_scissors.py", *map(str, arguments)])
    return rock_paper_scissors.main()


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """The result of a small run, where it was written and what was printed."""
    output = tmp_path_factory.mktemp("run") / "small.json"
    with pytest.MonkeyPatch.context() as monkeypatch, rock_paper_scissors.CONSOLE.capture() as capture:
        arguments = ("--num-starts", 2, "--num-seeds", 4, "--output", output)
        assert run_main(monkeypatch, *arguments) == 0
    assert not jax.config.jax_enable_x64
    return harness.read_json(output), output, capture.get()


def test_every_statement_holds(small_run):
    result, _, _ = small_run
    assert result["claim"] == "c"
    assert [row for row in result["rows"] if row["verdict"] != "holds"] == []


def test_rows_hold_what_a_reader_needs(small_run):
    result, _, _ = small_run
    names = [(row["condition"], row["quantity"]) for row in result["rows"]]
    assert len(set(names)) == len(names)
    for row in result["rows"]:
        low, high = row["interval"]
        assert low - 1e-9 <= row["value"] <= high + 1e-9
        assert row["bounds"][0] <= row["bounds"][1]
        assert row["exact"] is None or row["bounds"][0] <= row["exact"] <= row["bounds"][1]
    known = {row["quantity"]: row["value"] for row in result["rows"] if "(.5, .3, .2)" in row["condition"]}
    np.testing.assert_allclose(list(known.values()), [3.211, 5.387, 0.85, 0.005], rtol=0.01)
    rates = [row for row in result["rows"] if row["quantity"] == "largest stable rate"]
    assert len(rates) == 9
    for row in rates:
        assert row["value"] == pytest.approx(row["exact"], rel=0.03)
        assert row["interval"][0] < row["interval"][1]


@pytest.mark.parametrize(
    ("values", "expected", "verdict"),
    [
        ([1.0, 1.1], {"exact": 1.05, "tolerance": 0.06}, "holds"),
        ([1.0, 1.2], {"exact": 1.05, "tolerance": 0.06}, "fails"),
        ([1.0, 2.0], {"at_least": 1.0}, "holds"),
        ([0.9, 2.0], {"at_least": 1.0}, "fails"),
        ([0.0, 0.2], {"at_most": 0.1}, "fails"),
        ([np.nan, 0.2], {"at_most": 1.0}, "fails"),
    ],
)
def test_a_verdict_is_about_the_whole_interval(values, expected, verdict):
    assert rock_paper_scissors.make_row("", "", values, **expected)["verdict"] == verdict


def test_a_run_shows_every_row_and_writes_a_figure(small_run):
    result, output, printed = small_run
    assert {path.name for path in output.parent.iterdir()} == {"small.json", "small_paths.png"}
    assert (output.parent / "small_paths.png").read_bytes().startswith(b"\x89PNG")
    assert printed.count("holds") == len(result["rows"])
    figure = rock_paper_scissors_plots.draw_result(result)
    titles = [panel.get_title() for panel in figure.axes if panel.get_visible()]
    assert [title.split("\n")[0] for title in titles] == [path["title"] for path in result["paths"]]
    with pytest.raises(ValueError, match="at least one path"):
        rock_paper_scissors_plots.draw_result({"paths": []})


def test_paths_stay_in_the_simplex_and_end_where_they_should(small_run):
    result, _, _ = small_run
    paths = {path["title"]: path for path in result["paths"]}
    for path in paths.values():
        np.testing.assert_allclose(np.sum(path["strategies"], axis=1), 1, atol=2e-4)
    assert paths["softmax policy gradient"]["exploitability"] > 0.5
    assert paths["Hedge"]["exploitability"] > 0.2
    assert paths["optimistic Hedge"]["exploitability"] < 0.01
    assert paths["moving magnet .2"]["exploitability"] < 0.01
    assert paths["magnetic mirror descent .2"]["exploitability"] == pytest.approx(0.065, abs=1e-3)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--num-starts", "1"), ("--num-seeds", "0"), ("--seed", "-1"), ("--output", "result.txt")],
)
def test_bad_options_are_refused_by_name_before_anything_runs(option, value, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rock_paper_scissors, "run", lambda options: pytest.fail("it ran"))
    assert run_main(monkeypatch, option, value) == 2
    assert option in capsys.readouterr().err
