"""Which maximizer is recommended within a deadline, by made-up rows, and the tables that say it."""

import io

import pytest
from rich.console import Console

from studies.argmax import report as argmax_report
from studies.argmax.deadlines import DEADLINES_S
from studies.common.acting.tasks import ARM
from tests.benchmarks.argmax.made_results import make_result, make_row


def advise(rows, deadline_s=1e-3, batch_size=1):
    entries = argmax_report.deadlines(make_result(rows))
    return next(e for e in entries if (e["deadline_s"], e["batch_size"]) == (deadline_s, batch_size))


def test_the_lowest_mean_of_log_regrets_wins_among_those_that_fit_everywhere():
    rows = [
        make_row(ARM, "steady", time_s=4e-4, regret=1e-3),
        make_row("rastrigin_6", "steady", time_s=5e-4, regret=3e-2),
        make_row(ARM, "uneven", time_s=4e-4, regret=1e-2),
        make_row("rastrigin_6", "uneven", time_s=4e-4, regret=2e-2),
        make_row(ARM, "too slow on one", time_s=4e-4, regret=1e-6),
        make_row("rastrigin_6", "too slow on one", time_s=4e-3, regret=1e-6),
    ]
    entry = advise(rows)
    assert (entry["method"], entry["setting"], entry["budget"]) == ("steady", "tuned", 1024)
    assert (entry["time_per_call_s"], entry["time_per_call_p99_s"]) == (5e-4, pytest.approx(6e-4))
    assert entry["regret_by_problem"] == {ARM: 1e-3, "rastrigin_6": 3e-2}
    assert entry["best_by_problem"][ARM]["method"] == "too slow on one"
    assert entry["sentence"] == (
        "Within 1 ms at batch 1: use steady (tuned): median regret 1.0e-3 on the arm, at worst 0.03 "
        "(0.03 to 0.045 by key; Rastrigin, of 2 problems); "
        "a call takes 500 µs (99th percentile of at most 50: 600 µs)."
    )
    assert advise(rows, 5e-3)["method"] == "too slow on one"
    assert advise(rows, 1e-4)["method"] is None
    assert "no search fits." in advise(rows, 1e-4)["sentence"]


@pytest.mark.parametrize(
    "flaw",
    [
        {"skipped": "a call predicted to take over 10 s", "time_per_call_s": None, "normalized_regret": None},
        {"bound_violations": 1},
        {"time_per_call_s": 1.01e-3},
        {"normalized_regret": None},
        {"num_dims": 3},
        {"family": "policy, best of N"},
    ],
)
def test_what_cannot_be_recommended(flaw):
    rows = [make_row(ARM, "good", regret=0.2), make_row(ARM, "flawed", regret=1e-5, **flaw)]
    assert advise(rows)["method"] == "good"


def test_the_whole_call_counts_not_the_decision():
    rows = [make_row(ARM, "large batch", 4096, time_s=4e-3), make_row(ARM, "small batch", 256, time_s=9e-4)]
    assert advise(rows, 1e-3, 4096)["method"] is None
    assert advise(rows, 5e-3, 4096)["method"] == "large batch"
    assert advise(rows, 1e-3, 256)["method"] == "small batch"


def test_a_problem_left_out_counts_as_a_uniform_action():
    rows = [
        make_row(ARM, "everywhere", regret=1e-2),
        make_row("rastrigin_6", "everywhere", regret=1e-2),
        make_row(ARM, "on the arm only", regret=1.1e-4),
    ]
    assert advise(rows)["method"] == "everywhere"
    rows[2] = make_row(ARM, "on the arm only", regret=0.9e-4)
    assert "on the arm, not known on Rastrigin" in advise(rows)["sentence"]


def test_of_regrets_below_the_floor_the_faster_wins():
    rows = [make_row(ARM, "slow", time_s=2e-4, regret=-1e-9), make_row(ARM, "fast", time_s=1e-4, regret=9e-7)]
    entry = advise(rows)
    assert entry["method"] == entry["best_by_problem"][ARM]["method"] == "fast"
    assert "median regret below 1e-6 on the arm;" in entry["sentence"]


def test_policies_are_chosen_apart_where_they_exist():
    policy = {"setting": "policy", "family": "policy", "budget": None}
    rows = [
        make_row(ARM, "search", regret=0.3),
        make_row("rastrigin_6", "search", regret=0.2),
        make_row(ARM, "Gaussian mean", time_s=2e-5, regret=0.1, **policy),
        make_row(ARM, "Gaussian sample", time_s=1e-5, regret=0.15, **policy),
    ]
    entry = advise(rows)
    assert (entry["method"], entry["policy"]["method"]) == ("search", "Gaussian mean")
    assert entry["sentence"].startswith(
        "Within 1 ms at batch 1: use search (tuned): median regret 0.3 on the arm, "
    )
    assert "the worst of 2 problems" in entry["sentence"]
    assert entry["sentence"].endswith(
        "With a trained policy: Gaussian mean, median regret 0.1 on the arm in 20 µs."
    )
    slow = [row | {"time_per_call_s": 1.0} if row["setting"] == "policy" else row for row in rows]
    assert advise(slow)["sentence"].endswith("With a trained policy: nothing fits.")


def test_where_nothing_fits_everywhere_the_arms_best_is_named():
    rows = [make_row(ARM, "Sobol", regret=0.2), make_row("critic_2x64", "Sobol", time_s=1.0)]
    entry = advise(rows)
    assert entry["method"] is entry["regret_by_problem"] is None
    assert (
        "no search fits on every problem; on the arm alone use Sobol (tuned): median regret 0.2."
        in entry["sentence"]
    )
    assert "arm only: Sobol (tuned): 0.2" in argmax_report.markdown(make_result(rows))
    assert advise([*rows[1:], make_row("critic_2x64", "other")])["method"] == "other"


def test_markdown_tables_parse_and_one_decision_has_its_sentences():
    result = make_result()
    lines = argmax_report.markdown(result).splitlines()
    tables = [block.splitlines() for block in "\n".join(lines).split("\n\n") if block.startswith("|")]
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
        assert set(table[1]) <= set("|-: ")
    assert tables[0][0] == "| a call within | batch 1 | batch 256 | batch 4,096 |"
    assert [len(table) for table in tables] == [2 + len(DEADLINES_S), 2 + len(result["peers"])]
    assert [line[2:] for line in lines if line.startswith("- ")] == [
        entry["sentence"] for entry in argmax_report.deadlines(result) if entry["batch_size"] == 1
    ]


def test_the_terminal_shows_every_row_in_118_columns():
    result = make_result([row for row in make_result()["rows"] if row["num_dims"] == 6])
    text = io.StringIO()
    argmax_report.show(Console(file=text, width=118), result)
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 118
    assert "…" not in text.getvalue(), "a cell was cut"
    assert "\n grid  " in text.getvalue(), "the budget has a column of its own"
    measured = [row for row in result["rows"] if not row["skipped"]]
    assert sum(" tuned " in line or " paper " in line or " policy " in line for line in lines) >= len(measured)
    assert "skipped rows: a call predicted to take over 10 s" in text.getvalue()
    assert "scipy.optimize.brute" in text.getvalue()


@pytest.mark.parametrize("left_out", ["rows", "peers", "regrets", "all but one"])
def test_partial_results_say_what_is_missing(left_out):
    result = make_result([make_row(ARM, "one"), make_row(ARM, "two")])
    result.pop("peers")
    if left_out == "rows":
        result["rows"] = []
    if left_out == "regrets":
        result["rows"] = [row | {"normalized_regret": None, "success": None} for row in result["rows"]]
    if left_out == "all but one":
        result = {"rows": result["rows"][:1]}
    text = io.StringIO()
    argmax_report.show(Console(file=text, width=118), result)
    for said in (argmax_report.markdown(result), text.getvalue()):
        assert ("so none can be recommended" in said) == (left_out in ("rows", "regrets"))


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ([], "result: expected a mapping"),
        ({"rows": None}, "list of rows"),
        ({"rows": [make_row(ARM, "x", time_per_call_s=None)]}, r"rows\[0\] \(x\): expected time_per_call_s"),
        ({"rows": [make_row(ARM, "x", family=None)]}, "expected family"),
    ],
)
def test_malformed_results_are_refused_by_place(result, message):
    with pytest.raises(ValueError, match=message):
        argmax_report.markdown(result)
