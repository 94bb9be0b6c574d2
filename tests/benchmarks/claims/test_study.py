"""The claims' command: options, what is written, the table for the README. The claims have tests of their own."""

import math
import sys

import pytest
import readme
from matplotlib.figure import Figure
from studies.claims import plots as claims_plots
from studies.claims import study as claims
from studies.claims.rows import Statement, exactly, judge
from studies.common import results

from tests.benchmarks.runs import run_main

STATEMENTS = {
    "chapter": Statement("a policy", "cost", high=1.0, says="chapter"),
    "condition": Statement("without memory", "loss", low=0.5),
    "exact": exactly("uniform", "exploitability", 0.0, absolute=0.1),
}


def measure(*, num_seeds, seed):
    """Three rows, one of each kind; the chapter's is contradicted."""
    assert (num_seeds, seed) == (4, 7)
    values = {"chapter": [2.0] * num_seeds, "condition": [0.4, 0.6, 0.7, 0.8], "exact": [0.0, 0.05]}
    rows = [judge(STATEMENTS[name], values[name], over="cases") for name in STATEMENTS]
    return {"rows": rows, "figure": {"drawn": seed}}


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the command with claims that measure at once; returns its status, JSON and text."""
    monkeypatch.setattr(claims, "CLAIMS", {letter: (f"claim {letter}", measure) for letter in claims.CLAIMS})
    entry = {"rule": "where it pays", "side": "policy-based", "chapter": "value-based"}
    advice = [entry | {"row": "cost: 2 (1 to 3)"}]
    monkeypatch.setattr(claims.claims_advice, "advice", lambda rows: advice if len(rows) == 3 else [])
    drawn = []

    def draw(claim):
        drawn.append((claim["figure"], [row["claim"] for row in claim["rows"]]))
        return Figure()

    monkeypatch.setattr(claims_plots, "DRAW", dict.fromkeys(claims.CLAIMS, draw))

    def run(*arguments):
        output = tmp_path / "claims.json"
        with claims.CONSOLE.capture() as capture:
            status = run_main(claims, *arguments, "--num-seeds", 4, "--seed", 7, "--output", output)
        return status, results.read_json(output), capture.get(), drawn

    return run


def test_all_claims_are_measured_in_order_and_drawn(run, tmp_path):
    status, result, printed, drawn = run()
    assert status == 0
    assert [row["claim"] for row in result["rows"]] == [letter for letter in "abcdefg" for _ in range(3)]
    assert drawn == [({"drawn": 7}, [letter] * 3) for letter in "abcdefg"]
    names = {"claims.json", *(f"claims_{letter}.png" for letter in "abcdefg")}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert all(f"{letter}. claim {letter}" in printed for letter in "abcdefg")
    assert "where it pays: policy-based (cost: 2 (1 to 3))" in printed


def test_an_interrupted_run_keeps_the_claims_that_it_has_measured(run, monkeypatch, tmp_path):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setitem(claims.CLAIMS, "b", ("claim b", interrupted))
    status, result, printed, drawn = run()
    assert status == 130
    assert list(result["claims"]) == ["a", "c", "d", "e"]
    assert [letters[0] for _, letters in drawn] == ["a", "c", "d", "e"]
    assert len(result["rows"]) == 12
    assert "what was being measured is lost; wrote" in printed.replace("\n", " ")
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".png"}


@pytest.mark.parametrize(("asked", "measured"), [(("c",), "c"), (("h",), "g"), (("e", "b"), "be")])
def test_a_claim_alone(run, asked, measured):
    _, result, _, _ = run("--claim", *asked)
    assert list(result["claims"]) == list(measured)
    assert ("advice" in result) == ("g" in measured)


def test_rows_show_what_was_expected_and_the_verdict(run):
    _, result, printed, _ = run("--claim", "c")
    assert [claims.cells(row) for row in result["rows"]] == [
        ["a policy", "cost", "2", "", "≤ 1", "contradicted"],
        ["without memory", "loss", "0.65", "0.4 to 0.8", "≥ 0.5", "open"],
        ["uniform", "exploitability", "0.025", "0 to 0.05", "0", "holds"],
    ]
    assert "chapter: a policy" in printed


def test_a_range_is_shown_by_both_ends():
    row = judge(Statement("here", "this", low=0.5, high=2.0), [1.0])
    assert claims.expected_text(row) == "0.5 to 2"
    assert claims.expected_text(row | {"expected": [-math.inf, 2.0]}) == "≤ 2"


def test_the_readmes_table_has_what_the_chapter_says_and_leaves_out(run):
    _, result, _, _ = run()
    text = claims.markdown(result)
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == (2 + 7) + (2 + 7) + (2 + 1)
    assert "| a | a policy | cost | 2 |  | ≤ 1 | contradicted |" in lines
    assert sum(line.endswith("| 1 contradicted | 1 holds | 1 open |") for line in lines) == 7
    assert "| where it pays | policy-based | value-based | cost: 2 (1 to 3) |" in lines


@pytest.mark.parametrize(
    ("option", "value"),
    [("--claim", "z"), ("--num-seeds", "1"), ("--seed", "-1"), ("--output", "result.txt")],
)
def test_bad_options_are_refused_by_name_before_anything_runs(option, value, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(claims, "run", lambda options: pytest.fail("it ran"))
    assert run_main(claims, option, value) == 2
    assert option in capsys.readouterr().err


def test_a_number_of_which_nothing_is_expected_is_shown_as_it_is(run, monkeypatch):
    cell = judge(Statement("a policy", "regret", says="cell"), [2.0])
    assert claims.cells(cell) == ["a policy", "regret", "2", "", "", ""]
    monkeypatch.setattr(claims, "CLAIMS", {"c": ("claim c", lambda **_: {"rows": [cell], "figure": {}})})
    _, result, printed, _ = run("--claim", "c")
    assert "regret" in printed
    assert claims.counts(result["rows"], "c", "cell") == ""


@pytest.mark.parametrize("letter", claims.CLAIMS)
def test_every_statement_says_what_would_contradict_it_and_what_is_only_shown_says_nothing(letter):
    for said in sys.modules[claims.CLAIMS[letter][1].__module__].STATEMENTS.values():
        if said.says == "cell":
            assert (said.low, said.high, said.exact) == (-math.inf, math.inf, None)
        else:
            assert said.low <= said.high
            assert math.isfinite(said.low) or math.isfinite(said.high) or said.low == said.high


def test_every_claim_has_a_figure():
    assert list(claims_plots.DRAW) == list(claims.CLAIMS)


@pytest.mark.parametrize("letter", claims.CLAIMS)
def test_the_published_verdicts_are_those_of_the_statements_and_of_the_raw_values(letter):
    """All of a claim's statements are measured, in seeds or cases that the JSON keeps, and none is older."""
    module = sys.modules[claims.CLAIMS[letter][1].__module__]
    result = results.read_json(readme.RESULTS / "claims_cpu.json")
    rows = [row for row in result["rows"] if row["claim"] == letter]
    statements = {(said.condition, said.quantity): said for said in module.STATEMENTS.values()}
    assert [(row["condition"], row["quantity"]) for row in rows] == list(statements)
    for row, said in zip(rows, statements.values(), strict=True):
        assert row == {"claim": letter} | judge(said, row["values"], over=row["over"])
        assert len(row["values"]) >= {"cases": 1, "rounds": 8}.get(row["over"], 30)
