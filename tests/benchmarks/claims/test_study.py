"""The claims' command: what is written and when, the tables. The claims have tests of their own."""

import math

import pytest
from matplotlib.figure import Figure

from studies import reports
from studies.claims import report
from studies.claims import study as claims
from studies.claims.rows import Measuring, Statement, exactly, judge, judged
from studies.common import results
from studies.common.command_line import CONSOLE
from tests.benchmarks.runs import run_study

STATEMENTS = {
    "chapter": Statement("a policy", "cost", high=1.0, says="chapter"),
    "condition": Statement("without memory", "loss", low=0.5),
    "exact": exactly("uniform", "exploitability", 0.0, absolute=0.1),
}


class Module:
    """A claim that measures at once: three statements, one of each kind; the chapter's is contradicted."""

    STATEMENTS = STATEMENTS

    @staticmethod
    def measure(*, num_seeds, seed):
        assert (num_seeds, seed) == (4, 7)
        yield "cases", {"condition": [0.4, 0.6, 0.7, 0.8], "of no statement": [1.0]}
        yield "cases", {"chapter": [2.0] * num_seeds, "exact": [0.0, 0.05]}
        return {"drawn": seed}


class Interrupted(Module):
    """One that is interrupted after its first rows."""

    @staticmethod
    def measure(**_):
        yield "cases", {"condition": [0.4, 0.6]}
        raise KeyboardInterrupt


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the command with claims that measure at once; returns its status, JSON and text."""
    drawn = []

    def draw(claim):
        drawn.append((claim["figure"], [row["claim"] for row in claim["rows"]]))
        return Figure()

    claims_at_once = {letter: claims.Claim(f"claim {letter}", Module, draw) for letter in claims.CLAIMS}
    monkeypatch.setattr(claims, "CLAIMS", claims_at_once)
    entry = {"rule": "where it pays", "side": "policy-based", "chapter": "value-based"}
    advice = [entry | {"row": "cost: 2 (1 to 3)"}]
    monkeypatch.setattr(claims, "advice", lambda rows: advice if len(rows) == 3 else [])

    def run(*arguments):
        output = tmp_path / "claims.json"
        with CONSOLE.capture() as capture:
            status = run_study(claims.STUDY, *arguments, "--num-seeds", 4, "--seed", 7, "--output", output)
        written = output if output.exists() else results.partial_of(output)
        return status, results.read_json(written), capture.get(), drawn

    return run


def test_all_claims_are_measured_in_order_and_drawn(run, tmp_path):
    status, result, printed, drawn = run()
    assert status == 0
    assert [row["claim"] for row in result["rows"]] == [letter for letter in "abcdefg" for _ in range(3)]
    assert [row["condition"] for row in result["rows"][:3]] == [said.condition for said in STATEMENTS.values()]
    assert drawn == [({"drawn": 7}, [letter] * 3) for letter in "abcdefg"]
    names = {"claims.json", *(f"claims_{letter}.png" for letter in "abcdefg")}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert all(f"{letter}. claim {letter}" in printed for letter in "abcdefg")
    assert "where it pays: policy-based (cost: 2 (1 to 3))" in printed


def test_an_interrupted_run_keeps_all_rows_that_were_judged(run, monkeypatch, tmp_path):
    monkeypatch.setitem(claims.CLAIMS, "b", claims.CLAIMS["b"]._replace(module=Interrupted))
    status, result, printed, _ = run()
    assert status == 130
    assert list(result["claims"]) == ["a", "c", "d", "e"]
    assert sorted(row["claim"] for row in result["rows"]) == sorted([*"acde" * 3, "b"])
    assert "13 rows are in" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["claims.partial.json"]
    assert list(claims.figures(result)) == ["a", "c", "d", "e"]


def test_a_statement_that_is_not_measured_is_named():
    def nothing() -> Measuring:
        yield "cases", {}
        return {}

    with pytest.raises(ValueError, match="chapter"):
        judged(STATEMENTS, nothing())


@pytest.mark.parametrize(("asked", "measured"), [(("c",), "c"), (("h",), "g"), (("e", "b"), "be")])
def test_a_claim_alone(run, asked, measured):
    _, result, _, _ = run("--claim", *asked)
    assert list(result["claims"]) == list(measured)
    assert ("advice" in result) == ("g" in measured)


def test_rows_show_what_was_expected_and_the_verdict(run):
    _, result, printed, _ = run("--claim", "c")
    assert [report.cells(row) for row in result["rows"]] == [
        ["a policy", "cost", "2", "", "≤ 1", "contradicted"],
        ["without memory", "loss", "0.65", "0.4 to 0.8", "≥ 0.5", "open"],
        ["uniform", "exploitability", "0.025", "0 to 0.05", "0", "holds"],
    ]
    assert "chapter: a policy" in printed


def test_a_range_is_shown_by_both_ends():
    row = judge(Statement("here", "this", low=0.5, high=2.0), [1.0])
    assert report.expected_text(row) == "0.5 to 2"
    assert report.expected_text(row | {"expected": [-math.inf, 2.0]}) == "≤ 2"


def test_the_readmes_table_has_what_the_chapter_says_and_leaves_out(run):
    _, result, _, _ = run()
    text = report.markdown(result)
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == (2 + 7) + (2 + 7) + (2 + 1)
    assert "| a | a policy | cost | 2 |  | ≤ 1 | contradicted |" in lines
    assert sum(line.endswith("| 1 contradicted | 1 holds | 1 open |") for line in lines) == 7
    assert "| where it pays | policy-based | value-based | cost: 2 (1 to 3) |" in lines


def test_a_number_of_which_nothing_is_expected_is_shown_as_it_is(run, monkeypatch):
    cell = judge(Statement("a policy", "regret", says="cell"), [2.0])
    assert report.cells(cell) == ["a policy", "regret", "2", "", "", ""]
    only = Module()
    only.STATEMENTS = {"condition": Statement("a policy", "regret", says="cell")}
    monkeypatch.setitem(claims.CLAIMS, "c", claims.CLAIMS["c"]._replace(module=only))
    _, result, printed, _ = run("--claim", "c")
    assert "regret" in printed
    assert report.counts(result["rows"], "c", "cell") == ""


@pytest.mark.parametrize("letter", claims.CLAIMS)
def test_every_statement_is_one_of_a_kind_and_says_what_would_contradict_it(letter):
    """What is only shown says nothing."""
    statements = claims.CLAIMS[letter].module.STATEMENTS.values()
    assert len({said[:2] for said in statements}) == len(statements)
    for said in statements:
        assert isinstance(said, Statement)
        if said.says == "cell":
            assert (said.low, said.high, said.exact) == (-math.inf, math.inf, None)
        else:
            assert said.low <= said.high
            assert math.isfinite(said.low) or math.isfinite(said.high) or said.low == said.high


@pytest.mark.parametrize("letter", claims.CLAIMS)
def test_the_published_verdicts_are_those_of_the_statements_and_of_the_raw_values(letter):
    """All of a claim's statements are measured, in seeds or cases that the JSON keeps, and none is older."""
    module = claims.CLAIMS[letter].module
    result = results.read_json(reports.committed()["claims"])
    rows = [row for row in result["rows"] if row["claim"] == letter]
    statements = {(said.condition, said.quantity): said for said in module.STATEMENTS.values()}
    assert [(row["condition"], row["quantity"]) for row in rows] == list(statements)
    for row, said in zip(rows, statements.values(), strict=True):
        of_run = {"run": row["run"], "seed": row["seed"], "claim": letter}
        assert row == of_run | judge(said, row["values"], over=row["over"])
        assert len(row["values"]) >= {"cases": 1, "rounds": 8}.get(row["over"], 30)
