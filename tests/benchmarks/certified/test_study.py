"""The benchmark of certified maxima: certificates that hold, proofs that are ones, options, a run as a user's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pgjax import problems
from studies.certified import plots as certified_plots
from studies.certified import search
from studies.certified import study as certified
from studies.common import results
from studies.common.command_line import CONSOLE
from tests.benchmarks.runs import run_study

CRITIC = "relu_2x32_late"
GAP = 5e-3
SMALL = (
    *("--critics", CRITIC, "--half-widths", "0.03", "1", "--time-limit-s", "0.5", "--gap", str(GAP)),
    *("--boxes-per-step", "256"),
)


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """The result of a small run, where it was written and what was printed."""
    output = tmp_path_factory.mktemp("run") / "small.json"
    with pytest.MonkeyPatch.context() as monkeypatch, CONSOLE.capture() as capture:
        monkeypatch.setattr(search, "CAPACITY", 1 << 14)
        assert run_study(certified.STUDY, *SMALL, "--output", output) == 0
    return results.read_json(output), output, capture.get()


@pytest.fixture(scope="module")
def values():
    """Q of actions `[K, N]` in the first state, compiled."""
    critic, state = problems.load_critic(CRITIC), problems.load_brackets(CRITIC).states[0]
    return jax.jit(jax.vmap(lambda action: critic.module.apply(critic.params, state, action)))


def test_rows_are_the_boxes_asked_for(small_run):
    result, _, _ = small_run
    rows = {(row["half_width"], row["center"]): row for row in result["rows"]}
    assert list(rows) == [(0.03, "best"), (0.03, "random"), (1.0, "whole box")]
    best = problems.load_brackets(CRITIC).best_action[0]
    for (half_width, _), row in rows.items():
        low, high = np.asarray(row["low"]), np.asarray(row["high"])
        assert np.all((low >= -1) & (high <= 1) & (high - low <= 2 * half_width + 1e-12))
        assert row["critic"] == CRITIC
        assert 0 < row["range"] <= 1.2 * row["range_of_whole_box"]
    near = rows[0.03, "best"]
    assert np.all((near["low"] <= best) & (best <= near["high"]))
    assert not np.array_equal(near["low"], rows[0.03, "random"]["low"])


def test_no_action_of_a_box_is_above_its_certificate(small_run, values, rng):
    result, _, _ = small_run
    for row in result["rows"]:
        low, high = (np.asarray(row[name], np.float32) for name in ("low", "high"))
        actions = rng.uniform(low, high, (1 << 15, len(low)))
        on_faces = np.where(rng.uniform(size=actions.shape) < 0.5, actions, rng.choice([low, high], len(actions)))
        highest = max(np.max(values(jnp.asarray(some, jnp.float32))) for some in (actions, on_faces))
        last = row["checkpoints"][-1]
        assert last["upper_bound"] >= highest - 1e-5
        assert last["value"] >= highest - 0.02 * row["range"]  # and the search is better than sampling


def test_certificates_agree_with_the_stored_brackets(small_run):
    """The maximum known is in the box around it and in the whole box, and its own upper bound holds there."""
    result, _, _ = small_run
    brackets = problems.load_brackets(CRITIC)
    for row in result["rows"]:
        for point in row["checkpoints"]:
            assert point["value"] <= brackets.upper_bound[0] + 1e-6
            if row["center"] != "random":
                assert point["upper_bound"] >= brackets.maximum[0] - 1e-6


def test_checkpoints_improve_and_their_numbers_fit_together(small_run):
    result, _, _ = small_run
    for row in result["rows"]:
        times, values, uppers, gaps, boxes = (
            np.asarray([point[name] for point in row["checkpoints"]])
            for name in ("time_s", "value", "upper_bound", "gap", "num_boxes")
        )
        assert np.all(uppers >= values)
        np.testing.assert_allclose(gaps * row["range"], uppers - values, rtol=1e-6, atol=1e-9)
        assert np.all(np.diff(times) > 0)
        assert np.all(np.diff(values) >= 0)
        assert np.all(np.diff(uppers) <= 0)
        assert np.all(np.diff(boxes) >= 0)
        assert row["boxes_per_s"] == pytest.approx(boxes[-1] / times[-1])


def test_what_is_closed_is_proven_and_what_is_open_took_its_time(small_run):
    result, _, _ = small_run
    assert result["runs"][0]["settings"]["gap"] == GAP
    for row in result["rows"]:
        last = row["checkpoints"][-1]
        assert row["closed"] == (last["gap"] <= GAP * 1.001)
        assert row["closed"] or last["time_s"] >= result["runs"][0]["settings"]["time_limit_s"]
        assert row["lost_bound"] <= last["upper_bound"] + 1e-9
    closed = {row["center"]: row["closed"] for row in result["rows"]}
    assert closed["random"]  # few of its units switch
    assert not closed["whole box"]


def test_a_run_shows_a_row_a_box_and_writes_a_figure(small_run):
    result, output, printed = small_run
    assert {path.name for path in output.parent.iterdir()} == {"small.json", "small_gap.png"}
    assert (output.parent / "small_gap.png").read_bytes().startswith(b"\x89PNG")
    table = certified.table(result)
    assert table.row_count == len(result["rows"]) == 3
    num_closed = sum(row["closed"] for row in result["rows"])
    assert (printed.count(" closed"), printed.count(" open")) == (num_closed, 3 - num_closed)
    assert "small_gap.png" in printed


def test_the_figure_has_a_panel_a_critic(small_run, tmp_path):
    result, _, _ = small_run
    others = [row | {"critic": name} for name in ("tanh_2x64_late", "another") for row in result["rows"]]
    output = tmp_path / "three.json"
    results.write_json(output, result | {"rows": result["rows"] + others})
    figure = certified_plots.draw_result(results.read_json(output))
    titles = [panel.get_title() for panel in figure.axes if panel.get_visible()]
    assert titles == ["relu 2x32 late", "tanh 2x64 late", "another"]
    open_ends = [row["checkpoints"][-1]["gap"] for row in result["rows"] if not row["closed"]]
    assert {text.get_text() for text in figure.axes[0].texts} == {f"{gap:.2g}" for gap in open_ends}
    with pytest.raises(ValueError, match="at least one row"):
        certified_plots.draw_result(result | {"rows": []})
