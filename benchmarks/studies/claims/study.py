"""Every claim of the textbook chapter "Why learn policies directly?", measured with its conditions.

    python benchmarks/claims.py [--claim c] [--num-seeds 32] [--output results/claims.json]

Each claim is a module, `claims_<name>.py`, that says what it expects before it measures. Prints a table for each
claim: condition, measured value with interval, exact value, verdict; writes a JSON with the raw values of every
seed, anew after each claim, and a figure for each claim beside it.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import claims_actions
import claims_advice
import claims_aliasing
import claims_argmax
import claims_comparison
import claims_games
import claims_gaussian
import claims_plots
import claims_smoothness
import command_line
import harness
import report
import tyro
from claims_rows import VERDICTS
from plots import machine_text
from rich.console import Console
from rich.table import Table
from rich.text import Text

CONSOLE = Console(width=150)
COLORS = dict(zip(VERDICTS, ("green", "yellow", "red"), strict=True))
# Letter -> the claim in a few words, and its measurement.
CLAIMS: dict[str, tuple[str, Callable[..., dict[str, Any]]]] = {
    "a": ("argmax over R^6 at every timestep is impractical", claims_argmax.measure),
    "b": ("a Gaussian policy samples trivially", claims_gaussian.measure),
    "c": ("stochastic policies can be optimal: rock-paper-scissors", claims_games.measure),
    "d": ("aliased states ask for stochastic policies", claims_aliasing.measure),
    "e": ("small changes of Q flip a greedy policy, not a softmax one", claims_smoothness.measure),
    "f": ("policies handle large action sets", claims_actions.measure),
    "g": ("value-based against policy-based, cell by cell", claims_comparison.measure),
}
UNTIMED = "cde"  # no times among their measurements
ADVICE = "h"  # made from g's rows


@dataclasses.dataclass(frozen=True)
class Options:
    """The chapter's claims, measured."""

    claim: tuple[str, ...] = ()
    """Claims to measure, of a b c d e f g h (h, the advice, is made from g); default all."""
    num_seeds: int = 32
    """Independent runs behind every interval of learning or sampling."""
    seed: int = 0
    """Of all random numbers."""
    output: Path = Path("results/claims.json")
    """The JSON to write; the figures lie beside it."""

    def check(self) -> None:
        """Raise ValueError, naming the option, for what cannot be run."""
        for letter in self.claim:
            if letter not in (*CLAIMS, ADVICE):
                raise ValueError(f"--claim: expected some of {', '.join((*CLAIMS, ADVICE))}; got {letter!r}")
        if self.num_seeds < 2:
            raise ValueError(f"--num-seeds: expected at least 2, for an interval; got {self.num_seeds}")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"--seed: expected 0 to 2^31 - 1; got {self.seed}")
        command_line.check_output(self.output)

    def letters(self) -> list[str]:
        """The claims to measure, in order."""
        wanted = {"g" if letter == ADVICE else letter for letter in self.claim} or set(CLAIMS)
        return [letter for letter in CLAIMS if letter in wanted]


def measure_all(options: Options) -> Iterator[tuple[str, dict[str, Any]]]:
    """Letters and measurements: claims without times side by side (they mostly compile), then the others alone."""

    def measure(letter: str) -> tuple[str, dict[str, Any]]:
        title, measure = CLAIMS[letter]
        begin = time.perf_counter()
        measured = measure(num_seeds=options.num_seeds, seed=options.seed)
        return letter, measured | {"title": title, "wall_time_s": time.perf_counter() - begin}

    letters = options.letters()
    pool = concurrent.futures.ThreadPoolExecutor(2)
    try:
        side_by_side = pool.map(measure, [letter for letter in letters if letter in UNTIMED])
        alone = map(measure, [letter for letter in letters if letter not in UNTIMED])
        for letter, measured in itertools.chain(side_by_side, alone):
            text = f"{letter}. {measured['title']}: {measured['wall_time_s']:.0f} s"
            CONSOLE.print(text, style="dim", highlight=False)
            yield letter, measured
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def run(options: Options) -> dict[str, Any]:
    """Measure what the options ask for; after each claim the JSON is written, with all that is measured so far."""
    start, done = time.perf_counter(), {}
    run_of = {
        "machine": harness.machine_record(),
        "settings": dataclasses.asdict(options) | {"output": options.output.name},
    }
    for letter, measured in measure_all(options):
        done[letter] = measured
        result = run_of | gathered(dict(sorted(done.items()))) | {"wall_time_s": time.perf_counter() - start}
        harness.write_json(options.output, result)
    return result


def gathered(measured: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The measurements by letter as a result's parts: claims with their figures' data, rows, advice."""
    named = {
        letter: {name: of[name] for name in ("title", "figure", "wall_time_s")} for letter, of in measured.items()
    }
    rows = [{"claim": letter} | row for letter, of in measured.items() for row in of["rows"]]
    advised = (
        {"advice": claims_advice.advice([row for row in rows if row["claim"] == "g"])} if "g" in named else {}
    )
    return {"claims": named, "rows": rows} | advised


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
    """The README's part: the verdicts of each claim counted, what the chapter says row by row, and the advice."""
    rows = result["rows"]
    counted = [
        [f"{letter}. {claim['title']}", *(counts(rows, letter, says) for says in SAYS)]
        for letter, claim in result["claims"].items()
    ]
    chapter = [[row["claim"], *cells(row)] for row in rows if row["says"] == "chapter"]
    advice = [[entry["rule"], entry["side"], entry["chapter"], entry["row"]] for entry in result.get("advice", ())]
    parts = [
        report.markdown_table(("claim", *SAYS.values()), counted),
        report.markdown_table(("claim", *HEADS), chapter),
        report.markdown_table(ADVICE_HEADS, advice) if advice else "",
        f"({machine_text(result)}.)",
    ]
    return "\n\n".join(filter(None, parts))


def counts(rows: Sequence[Mapping[str, Any]], claim: str, says: str) -> str:
    """How many statements of a claim and a kind have each verdict."""
    verdicts = [row["verdict"] for row in rows if (row["claim"], row["says"]) == (claim, says)]
    found = [f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in verdicts]
    return ", ".join(found)


def main() -> int:
    """Run from the command line."""
    return command_line.run_and_write(tyro.cli(Options), run, show, CONSOLE, claims_plots.plot_result)


if __name__ == "__main__":
    sys.exit(main())
