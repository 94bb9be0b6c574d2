"""Tables and sentences made from a result: on the terminal, and as Markdown for the README (see readme.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plots import machine_text
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

ARM = "six_joint_arm"


def answer(rows: Sequence[Mapping[str, Any]]) -> str:
    """One sentence: what sampling costs and loses on the arm, and what search costs to lose less."""
    arm = [row for row in rows if row["problem"] == ARM and row["skipped"] is None]
    if not arm:
        return "No row of the six-joint arm was measured, so regret cannot be weighed against time."
    batch_size = max(row["batch_size"] for row in arm)
    last = [row for row in arm if row["batch_size"] == batch_size and row.get("normalized_regret")]
    sample = next((row for row in last if row["method"] == "Gaussian sample"), None)
    searches = [row for row in last if row["family"] != "policy"]
    if sample is None or not searches:
        return (
            "The policy, every search, or their regret (batches above 1) was left out: the two cannot be compared."
        )
    lost = sample["normalized_regret"]["median"]
    better = [row for row in searches if row["normalized_regret"]["median"] < lost]
    start = (
        f"On the six-joint arm at batch {batch_size}, sampling the learned policy takes "
        f"{time_text(sample['time_per_decision_s'])} a decision at a median normalized regret of {lost:.2g}"
    )
    if not better:
        return f"{start}; no search that was measured loses less."
    cheapest = min(better, key=lambda row: row["time_per_decision_s"])
    best = min(better, key=lambda row: row["normalized_regret"]["median"])
    skipped = [row["method"] for row in rows if row["problem"] == ARM and row["batch_size"] == batch_size]
    skipped = [method for method in skipped if method not in {row["method"] for row in last}]
    left_out = f" Not run at this batch size, for their time: {', '.join(skipped)}." if skipped else ""
    return (
        f"{start}; the cheapest search that loses less is {_against(cheapest, sample)}, "
        f"and the best is {_against(best, sample)}.{left_out}"
    )


def _against(row: Mapping[str, Any], sample: Mapping[str, Any]) -> str:
    ratio = row["time_per_decision_s"] / sample["time_per_decision_s"]
    return (
        f"{row['method']}, {row['normalized_regret']['median']:.2g} in {time_text(row['time_per_decision_s'])} "
        f"({ratio:,.0f} times the time)"
    )


def show(console: Console, result: Mapping[str, Any]) -> None:
    """Print a table for each problem and batch size, the speed goals, and the answer."""
    for problem in dict.fromkeys(row["problem"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["problem"] == problem]
        for batch_size in dict.fromkeys(row["batch_size"] for row in rows):
            console.print(_table(problem, batch_size, [r for r in rows if r["batch_size"] == batch_size]))
    console.print(
        "time: per decision, median; x sample: over the Gaussian sample's; GEMM: fraction of the machine's rate;\n"
        "regret: median, normalized (1 is a uniform action's); out: actions outside the box"
    )
    if result["speed"]:
        console.print(_speed_table(result["speed"]))
    skipped = {row["skipped"] for row in result["rows"]} - {None}
    if skipped:
        console.print(f"skipped rows: {'; '.join(sorted(skipped))}")
    gemm = result["gemm"]
    console.print(
        f"GEMM rate {gemm['rate_flops'] / 1e9:.0f} GFLOP/s: the median of {len(gemm['samples'])} samples through "
        f"the run, {min(gemm['samples']) / 1e9:.0f} to {max(gemm['samples']) / 1e9:.0f}"
    )
    console.print(result["answer"], style="bold")


def _table(problem: str, batch_size: int, rows: Sequence[Mapping[str, Any]]) -> Table:
    heads = ("method", "time", "p99", "x sample", "compile", "evals+grads", "FLOP", "GEMM")
    heads += ("regret", "p90", "p99", "out") if problem == ARM else ()
    table = new_table(f"{problem}, batch {batch_size}", heads)
    for row in rows:
        table.add_row(*_cells(row, with_regret=problem == ARM))
    return table


def _cells(row: Mapping[str, Any], with_regret: bool) -> list[str]:
    if row["skipped"] is not None:
        return [row["method"], "skipped"]
    ratio = row["ratio_to_policy_sample"]
    cells = [
        row["method"],
        time_text(row["time_per_decision_s"]),
        time_text(row["time_per_decision_p99_s"]),
        "" if ratio is None else f"{ratio:,.2f}" if ratio < 10 else f"{ratio:,.0f}",
        f"{row['compile_time_s']:.2f} s",
        f"{row['num_evaluations']:,}" + (f"+{row['num_gradients']:,}" if row["num_gradients"] else ""),
        f"{row['flops_per_decision']:.0e}",
        f"{row['fraction_of_gemm']:.3f}",
    ]
    lost = row["normalized_regret"]
    if with_regret:
        cells += [f"{lost[k]:.1e}" for k in ("median", "p90", "p99")] if lost else [""] * 3
        cells.append("" if row["bound_violations"] is None else str(row["bound_violations"]))
    return cells


def _speed_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = new_table("speed goals", ("what", "measured", "goal", "met"))
    for row in rows:
        sign = ">=" if row["at_least"] else "<="
        table.add_row(
            row["what"], f"{row['measured']:.2f}", f"{sign} {row['goal']}", "yes" if row["met"] else "no"
        )
    return table


def new_table(title: str, heads: Sequence[str]) -> Table:
    """An empty table for the terminal, its first column to the left and the others to the right."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if number else "left", no_wrap=number > 0)
    return table


def as_markdown(table: Table) -> str:
    """A table of the terminal as Markdown, without its title and colors."""
    heads = [str(column.header) for column in table.columns]
    columns = [[Text.from_markup(str(cell)).plain for cell in column.cells] for column in table.columns]
    return markdown_table(heads, list(zip(*columns, strict=True)))


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, columns mostly of numbers to the right."""
    filled = [[row[i] for row in rows if row[i]] for i in range(1, len(heads))]
    numbers = [sum(cell[0] in "0123456789<-≤≥" for cell in cells) for cells in filled]
    ruler = ["---", *("--:" if 2 * n > len(cells) else "---" for n, cells in zip(numbers, filled, strict=True))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, ruler, *rows))


def time_text(time_s: float) -> str:
    """A time in the unit that suits it, three digits."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if time_s >= scale:
            return f"{time_s / scale:.3g} {unit}"
    return f"{time_s / 1e-9:.3g} ns"


def markdown(result: Mapping[str, Any]) -> str:
    """The README's tables: the arm's methods by batch size, the speed goals, the machine, and the answer."""
    rows = [row for row in result["rows"] if row["problem"] == ARM]
    sizes = list(dict.fromkeys(row["batch_size"] for row in rows))
    heads = (
        "method",
        "evaluations + gradients",
        *(f"batch {size}" for size in sizes),
        "median regret",
        "p99 regret",
    )
    methods = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = {row["batch_size"]: row for row in rows if row["method"] == method}
        some = next(row for row in own.values() if row["skipped"] is None)
        times = [time_text(own[s]["time_per_decision_s"]) if own[s]["skipped"] is None else "-" for s in sizes]
        lost = some["normalized_regret"]
        regrets = [f"{lost['median']:.1e}", f"{lost['p99']:.1e}"] if lost else ["", ""]
        cells = [method, f"{some['num_evaluations']:,} + {some['num_gradients']:,}", *times, *regrets]
        methods.append(cells)
    goals = [
        (row["what"], f"{row['measured']:.2f}", f"{'≥' if row['at_least'] else '≤'} {row['goal']}")
        for row in result["speed"]
    ]
    tables = markdown_table(heads, methods), markdown_table(("speed goal", "measured", "goal"), goals)
    return "\n\n".join([*tables, f"{result['answer']} ({machine_text(result)}.)"])
