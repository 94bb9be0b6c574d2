"""Every claim of the textbook chapter "Why learn policies directly?", measured with its conditions.

Each claim has a folder, whose `measure` says what it expects, its STATEMENTS, before it measures, and whose
`plots` draws its figure.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from rich.console import Console

from studies.claims import actions, aliasing, argmax, comparison, games, gaussian, report, smoothness
from studies.claims.advice import advice
from studies.claims.rows import judged
from studies.common.command_line import check_output
from studies.common.results import Results
from studies.common.study import Study


class Claim(NamedTuple):
    """A claim in a few words; its folder's `measure`, with STATEMENTS and measure(num_seeds, seed); its figure."""

    title: str
    module: Any
    draw: Callable[[Mapping[str, Any]], Figure]


def claim_of(title: str, package: Any) -> Claim:
    """The claim that a folder is about."""
    return Claim(title, package.measure, package.plots.draw)


CLAIMS: dict[str, Claim] = {
    "a": claim_of("argmax over R^6 at every timestep is impractical", argmax),
    "b": claim_of("a Gaussian policy samples trivially", gaussian),
    "c": claim_of("stochastic policies can be optimal: rock-paper-scissors", games),
    "d": claim_of("aliased states ask for stochastic policies", aliasing),
    "e": claim_of("small changes of Q flip a greedy policy, not a softmax one", smoothness),
    "f": claim_of("policies handle large action sets", actions),
    "g": claim_of("value-based against policy-based, cell by cell", comparison),
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
        check_output(self.output)

    def letters(self) -> list[str]:
        """The claims to measure, in order."""
        wanted = {"g" if letter == ADVICE else letter for letter in self.claim} or set(CLAIMS)
        return [letter for letter in CLAIMS if letter in wanted]


def run(options: Options, results: Results, console: Console) -> None:
    """Measure what the options ask for: claims without times side by side (they mostly compile), then the others.

    Rows are written as they are judged, and in the order of the statements when all are there.
    """
    lock, claims = threading.Lock(), {}

    def record(letter: str, rows: list[dict[str, Any]]) -> None:
        with lock:
            results.add(*({"claim": letter} | row for row in rows))

    def measure(letter: str) -> list[dict[str, Any]]:
        claim, start = CLAIMS[letter], time.perf_counter()
        measuring = claim.module.measure(num_seeds=options.num_seeds, seed=options.seed)
        of = judged(claim.module.STATEMENTS, measuring, lambda rows: record(letter, rows))
        wall_time_s = time.perf_counter() - start
        claims[letter] = {"title": claim.title, "figure": of["figure"], "wall_time_s": wall_time_s}
        with lock:
            results.put("claims", dict(sorted(claims.items())))
            console.print(f"{letter}. {claim.title}: {wall_time_s:.0f} s", style="dim")
        return [{"claim": letter} | row for row in of["rows"]]

    letters = options.letters()
    pool = concurrent.futures.ThreadPoolExecutor(2)
    try:
        side_by_side = list(pool.map(measure, [letter for letter in letters if letter in UNTIMED]))
        alone = [measure(letter) for letter in letters if letter not in UNTIMED]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    rows = sorted((row for of in (*side_by_side, *alone) for row in of), key=lambda row: row["claim"])
    results.replace(lambda row: True, rows)
    if "g" in letters:
        results.put("advice", advice([row for row in rows if row["claim"] == "g"]))


def figures(result: Mapping[str, Any]) -> dict[str, Figure]:
    """A figure for each claim that was measured whole."""
    return {
        letter: CLAIMS[letter].draw(claim | {"rows": [row for row in result["rows"] if row["claim"] == letter]})
        for letter, claim in result.get("claims", {}).items()
    }


STUDY = Study("claims", Options, run, report.show, report.markdown, figures)
