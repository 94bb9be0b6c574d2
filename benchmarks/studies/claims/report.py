"""Tables made from the claims' result: on the terminal, and as Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from studies.claims.rows import VERDICTS
from studies.common.figures import machine_text
from studies.common.tables import markdown_table

COLORS = dict(zip(VERDICTS, ("green", "yellow", "red"), strict=True))


def expected_text(row: Mapping[str, Any]) -> str:
    """What was expected before the run: an exact value, a bound, or a range."""
    low, high = row["expected"]
    if row["exact"] is not None:
        return f"{row['exact']:.4g}"
    if row["says"] == "cell":
        return ""
    if low == -float("inf"):
        return f"≤ {high:.4g}"
    return f"≥ {low:.4g}" if high == float("inf") else f"{low:.4g} to {high:.4g}"


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row's condition, quantity, measured value, interval, expected value and verdict."""
    low, high = row["interval"]
    interval = "" if low == high else f"{low:.4g} to {high:.4g}"
    measured = (f"{row['value']:.4g}", interval, expected_text(row), row["verdict"])
    return [row["condition"], row["quantity"], *measured]


HEADS = ("condition", "quantity", "measured", "interval", "expected", "verdict")
ADVICE_HEADS = ("h. advice", "use", "chapter's", "row of g: measured (interval)")
SAYS = {"chapter": "the chapter's statements", "exact": "numbers of theory", "condition": "conditions left out"}


def show(console: Console, result: Mapping[str, Any]) -> None:
    """Print a table for each claim, and the advice."""
    for letter, claim in result["claims"].items():
        shown = Table(*HEADS, title=f"{letter}. {claim['title']}", title_justify="left")
        for row in result["rows"]:
            if row["claim"] == letter:
                *texts, verdict = cells(row)
                said = "chapter: " if row["says"] == "chapter" else ""
                shown.add_row(said + texts[0], *texts[1:], Text(verdict, COLORS.get(verdict, "")))
        console.print(shown)
    for entry in result.get("advice", ()):
        console.print(f"- {entry['rule']}: {entry['side']} ({entry['row']})", highlight=False)


def markdown(result: Mapping[str, Any]) -> str:
    """For the documentation: verdicts of each claim counted, what the chapter says row by row, the advice."""
    rows = result["rows"]
    counted = [
        [f"{letter}. {claim['title']}", *(counts(rows, letter, says) for says in SAYS)]
        for letter, claim in result["claims"].items()
    ]
    chapter = [[row["claim"], *cells(row)] for row in rows if row["says"] == "chapter"]
    advice = [[entry["rule"], entry["side"], entry["chapter"], entry["row"]] for entry in result.get("advice", ())]
    parts = [
        markdown_table(("claim", *SAYS.values()), counted),
        markdown_table(("claim", *HEADS), chapter),
        markdown_table(ADVICE_HEADS, advice) if advice else "",
        f"({machine_text(result)}.)",
    ]
    return "\n\n".join(filter(None, parts))


def counts(rows: Sequence[Mapping[str, Any]], claim: str, says: str) -> str:
    """How many statements of a claim and a kind have each verdict."""
    verdicts = [row["verdict"] for row in rows if (row["claim"], row["says"]) == (claim, says)]
    found = [f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in verdicts]
    return ", ".join(found)
