"""Tables and the sentence made from the study's result: on the terminal, and as Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from studies.common.acting.tasks import ARM
from studies.common.figures import machine_text, median_regret
from studies.common.pareto import pareto_front
from studies.common.tables import markdown_table, new_table, time_text


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
    if result.get("speed"):
        console.print(_speed_table(result["speed"]))
    skipped = {row["skipped"] for row in result["rows"]} - {None}
    if skipped:
        console.print(f"skipped rows: {'; '.join(sorted(skipped))}")
    if gemm := result.get("gemm"):
        low, rate, high = (
            value / 1e9 for value in (min(gemm["samples"]), gemm["rate_flops"], max(gemm["samples"]))
        )
        console.print(
            f"GEMM rate {rate:.0f} GFLOP/s: the median of {len(gemm['samples'])} samples through the run, "
            f"{low:.0f} to {high:.0f}"
        )
    console.print(result.get("answer") or answer(result["rows"]), style="bold")


def _table(problem: str, batch_size: int, rows: Sequence[Mapping[str, Any]]) -> Table:
    heads = ["method", "time", "p99", "x sample", "compile", "evals+grads", "FLOP", "GEMM"]
    heads += ["regret", "p90", "p99", "out"] if problem == ARM else []
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


def markdown(result: Mapping[str, Any]) -> str:
    """For the documentation: the arm's methods by batch size, the speed goals, the machine, and the answer."""
    goals = [
        (row["what"], f"{row['measured']:.2f}", f"{'≥' if row['at_least'] else '≤'} {row['goal']}")
        for row in result.get("speed", ())
    ]
    tables = methods_table(result), markdown_table(("speed goal", "measured", "goal"), goals)
    return "\n\n".join([*tables, f"{result['answer']} ({machine_text(result)}.)"])


def short_markdown(result: Mapping[str, Any], max_rows: int = 10) -> str:
    """For the README: policies, and the methods that no other beats in time and regret, alone or in a batch."""
    arm = [row for row in result["rows"] if row["problem"] == ARM and row["skipped"] is None]
    chosen = [row["method"] for row in arm if row["family"] == "policy"]
    for size in dict.fromkeys(row["batch_size"] for row in arm):
        own = [row for row in arm if row["batch_size"] == size and row["normalized_regret"]]
        front = pareto_front([row["time_per_decision_s"] for row in own], [median_regret(row) for row in own])
        chosen += [own[i]["method"] for i in front]
    shown = methods_table(result, list(dict.fromkeys(chosen))[:max_rows])
    return f"{shown}\n\n{result['answer']} ({machine_text(result)}.)"


def methods_table(result: Mapping[str, Any], methods: Sequence[str] | None = None) -> str:
    """The arm's methods, all or some, in the order in which they ran: times by batch size, regrets."""
    rows = [row for row in result["rows"] if row["problem"] == ARM and (not methods or row["method"] in methods)]
    sizes = list(dict.fromkeys(row["batch_size"] for row in rows))
    heads = ("method", "evaluations + gradients", *(f"batch {size:,}" for size in sizes))
    heads += ("median regret", "p99 regret")
    cells = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = {row["batch_size"]: row for row in rows if row["method"] == method}
        some = next(row for row in own.values() if row["skipped"] is None)
        times = [time_text(own[s]["time_per_decision_s"]) if own[s]["skipped"] is None else "-" for s in sizes]
        lost = some["normalized_regret"]
        regrets = [f"{lost['median']:.1e}", f"{lost['p99']:.1e}"] if lost else ["", ""]
        cells.append([method, f"{some['num_evaluations']:,} + {some['num_gradients']:,}", *times, *regrets])
    return markdown_table(heads, cells)
