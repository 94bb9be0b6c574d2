"""The benchmark script: options, a small run as a user starts it, the committed result behind the README."""

import json

import pytest

from studies.common import results
from studies.common.acting import learned
from studies.common.acting.tasks import PROBLEMS
from studies.common.acting.ways import METHODS, POLICY_ROWS, SEARCHES
from studies.common.command_line import CONSOLE
from studies.common.provenance import BENCHMARKS
from studies.sampling_vs_argmax import report
from studies.sampling_vs_argmax import study as sampling_vs_argmax
from tests.benchmarks.runs import run_study

RESULT = BENCHMARKS / "results" / "sampling_vs_argmax_cpu.json"


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """The methods of a small run with hardly trained policies, its result and its output."""
    output = tmp_path_factory.mktemp("run") / "small.json"
    methods = ("Gaussian sample", "Gaussian mean", "categorical sample", "Sobol 128", "CEM 2x64/6")
    arguments = ("--problem", PROBLEMS[0], "--batch-sizes", "1", "64", "--methods", *methods, "--output", output)
    with pytest.MonkeyPatch.context() as monkeypatch, CONSOLE.capture() as capture:
        monkeypatch.setattr(sampling_vs_argmax, "TRAINING_STEPS", 200)
        monkeypatch.setattr(sampling_vs_argmax, "LIMITS", {"min_time_s": 1e-3, "max_time_s": 0.01})
        monkeypatch.setattr(learned, "TRAINING_TARGETS", 4096)
        assert run_study(sampling_vs_argmax.STUDY, *arguments) == 0
    return methods, output, capture.get()


def test_a_run_has_a_row_for_each_method_and_batch_size(small_run):
    methods, output, _ = small_run
    rows = results.read_json(output)["rows"]
    assert [(row["method"], row["batch_size"]) for row in rows] == [(m, b) for b in (1, 64) for m in methods]
    for row in rows:
        assert row["time_per_decision_s"] > 0
        assert row["bound_violations"] == 0
        assert 0 <= row["normalized_regret"]["median"] <= row["normalized_regret"]["p99"]
        assert row["num_evaluations"] == {"Sobol 128": 129, "CEM 2x64/6": 131}.get(row["method"], 0)
        expected_flops = 290 * row["num_evaluations"] if row["family"] != "policy" else None
        assert expected_flops in (None, row["flops_per_decision"])
    searched = {row["method"]: row["normalized_regret"]["median"] for row in rows}
    assert searched["CEM 2x64/6"] < searched["Gaussian sample"] < 1  # a uniform action's is 1


def test_a_run_writes_json_and_two_figures_and_says_so(small_run):
    _, output, text = small_run
    names = {path.name for path in output.parent.iterdir()}
    assert names == {"small.json", "small_pareto.png", "small_scaling.png"}
    (run,) = json.loads(output.read_text())["runs"]
    assert run["settings"]["seed"] == run["seed"] == 0
    answer = results.read_json(output)["answer"]
    assert " ".join(answer.split()) in " ".join(text.split())
    assert "small_pareto.png" in text


def test_the_answer_weighs_the_cheapest_and_the_best_search_against_the_policy():
    def row(method, family, time_s, regret):
        return {
            "problem": PROBLEMS[0], "method": method, "family": family, "batch_size": 8, "skipped": None,
            "time_per_decision_s": time_s, "normalized_regret": {"median": regret},
        }  # fmt: skip

    rows = [
        row("Gaussian sample", "policy", 1e-6, 0.3),
        row("fast but worse", "grid", 2e-6, 0.4),
        row("cheap", "grid", 4e-6, 0.2),
        row("best", "grid", 1e-3, 0.001),
    ]
    answer = report.answer(rows)
    assert "1 µs a decision" in answer
    assert "cheap, 0.2 in 4 µs (4 times the time)" in answer
    assert "best, 0.001 in 1 ms (1,000 times the time)" in answer
    assert "fast but worse" not in answer
    assert "no search that was measured loses less" in report.answer(rows[:2])
    assert "cannot" in report.answer(rows[1:])


def test_the_committed_result_is_whole():
    result = results.read_json(RESULT)
    assert {row["problem"] for row in result["rows"]} == set(PROBLEMS)
    by_default = {*POLICY_ROWS, *(search.name for search in SEARCHES if search.default != "none")}
    assert by_default <= {row["method"] for row in result["rows"]} <= set(METHODS)
    assert {row["batch_size"] for row in result["rows"]} == {1, 256, 4096}
    assert all(row["bound_violations"] in (0, None) for row in result["rows"])
    assert [run["git_dirty"] for run in result["runs"]] == [False]
