"""Tables and sentences made from the study's result: on the terminal, and as Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from studies.argmax.deadlines import DEADLINES_S, NUM_DIMS, checked_rows, deadlines, label, regret_text
from studies.common.acting.tasks import ARM
from studies.common.figures import machine_text, title_of, unique
from studies.common.tables import markdown_table, new_table, time_text

NOTHING = "No maximizer was both timed and judged in six dimensions, so none can be recommended."
SUCCESS = ("0.1", "0.01", "0.001", "0.0001")
HEADS = (
    *("method", "setting", "budget", "cost", "time", "p99", "GEMM"),
    *("median", "p90", "p99", "upper", "success", "out"),
)
LEGEND = f"""\
budget, cost: forward evaluations, a gradient counts as 3; time: per decision, median and 99th percentile;
GEMM: fraction of the machine's rate, above 1 where Hessians of ReLU critics count that are zero, never computed;
median to p99: regret over distinct states and several keys, normalized (1 is a uniform action's);
upper: the median against a certified upper bound;
success: percent of states with a regret of at most 1e-1, 1e-2, 1e-3, 1e-4; out: actions outside the box.
Deadlines are for whole calls, on problems in {NUM_DIMS} dimensions."""
PEER_HEADS = (
    *("method", "peer", "problem", "batch", "time", "peer's", "times faster", "goal", "met"),
    *("regret", "peer's"),
)


def show(console: Console, result: Mapping[str, Any]) -> None:
    """Print a table for each problem and batch size, the peers, the best within each deadline, the sentences."""
    rows = checked_rows(result)
    for problem, batch_size in unique((row["problem"], row["batch_size"]) for row in rows):
        own = [row for row in rows if (row["problem"], row["batch_size"]) == (problem, batch_size)]
        console.print(_table(f"{title_of(problem, result)}, batch {batch_size:,}", own))
    if skipped := unique(row["skipped"] for row in rows if row.get("skipped")):
        console.print(f"skipped rows: {'; '.join(skipped)}")
    if result.get("peers"):
        table = new_table("against other libraries", PEER_HEADS)
        for peer in result["peers"]:
            table.add_row(*_peer_cells(peer, result))
        console.print(table)
    entries = deadlines(result)
    for batch_size in unique(entry["batch_size"] for entry in entries):
        console.print(_best_table([e for e in entries if e["batch_size"] == batch_size], batch_size, result))
    console.print(LEGEND, highlight=False)
    console.print("\n".join(entry["sentence"] for entry in entries) or NOTHING, style="bold")


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows by time, those that were skipped last."""
    table = new_table(title, HEADS)
    measured = [row for row in rows if not row.get("skipped")]
    for row in sorted(measured, key=lambda row: row["time_per_decision_s"]):
        table.add_row(*_cells(row))
    for row in rows:
        if row.get("skipped"):
            table.add_row(_name(row), row["setting"], _count(row.get("budget")), "", "skipped")
    return table


def _name(row: Mapping[str, Any]) -> str:
    """A row's method without the budget, which has its own column."""
    return row["method"].removesuffix(f" @ {row.get('budget')}")


def _cells(row: Mapping[str, Any]) -> list[str]:
    regret, upper = row.get("normalized_regret") or {}, row.get("normalized_regret_upper") or {}
    success, gemm = row.get("success") or {}, row.get("fraction_of_gemm")
    return [
        _name(row),
        row["setting"],
        _count(row.get("budget")),
        _count(row.get("cost")),
        time_text(row["time_per_decision_s"]),
        time_text(row["time_per_decision_p99_s"]),
        "" if gemm is None else f"{gemm:.2f}",
        *(_short(regret.get(name)) for name in ("median", "p90", "p99")),
        _short(upper.get("median")),
        " ".join(f"{100 * success[level]:.0f}" for level in SUCCESS if success.get(level) is not None),
        _count(row.get("bound_violations")),
    ]


def _count(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _short(regret: float | None) -> str:
    return "" if regret is None else regret_text(regret).replace("below ", "<")


def _peer_cells(peer: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    return [
        peer["method"],
        peer["peer"],
        title_of(peer["problem"], result),
        f"{peer['batch_size']:,}",
        time_text(peer["time_per_decision_s"]),
        time_text(peer["peer_time_per_decision_s"]),
        f"{peer['speedup']:.2g}" if peer["speedup"] < 10 else f"{peer['speedup']:,.0f}",
        f"{peer['goal']:g}",
        "yes" if peer["met"] else "no",
        _short(peer["normalized_regret_median"]),
        _short(peer["peer_normalized_regret_median"]),
    ]


def _best_table(entries: Sequence[Mapping[str, Any]], batch_size: int, result: Mapping[str, Any]) -> Table:
    """The best row of each problem within each deadline."""
    heads = ("a call within", *(time_text(entry["deadline_s"]) for entry in entries))
    table = new_table(f"best search on each problem, batch {batch_size:,}", heads)
    for column in table.columns:
        column.no_wrap = False
    for problem in unique(problem for entry in entries for problem in entry["best_by_problem"]):
        best = [entry["best_by_problem"].get(problem) for entry in entries]
        cells = (
            "-" if one is None else f"{one['method']}\n{_short(one['regret_by_problem'][problem])}" for one in best
        )
        table.add_row(title_of(problem, result), *cells)
    return table


def markdown(result: Mapping[str, Any]) -> str:
    """For the documentation: which maximizer at which deadline, a table, and sentences for the smallest batch."""
    entries = deadlines(result)
    if not entries:
        return NOTHING
    found = {(entry["deadline_s"], entry["batch_size"]): entry for entry in entries}
    sizes = unique(entry["batch_size"] for entry in entries)
    advice = [(time_text(limit), *(_advice_cell(found[limit, size]) for size in sizes)) for limit in DEADLINES_S]
    parts = [
        markdown_table(("a call within", *(f"batch {size:,}" for size in sizes)), advice),
        "Median normalized regret on the six-joint arm / on the worst problem.",
    ]
    if result.get("peers"):
        parts.append(markdown_table(PEER_HEADS, [_peer_cells(peer, result) for peer in result["peers"]]))
    parts.append("\n".join(f"- {entry['sentence']}" for entry in entries if entry["batch_size"] == sizes[0]))
    return "\n\n".join([*parts, f"({machine_text(result)}.)"])


def advice_rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """For the README: the search to use for one decision within each deadline."""
    entries = [entry for entry in deadlines(result) if entry["batch_size"] == 1]
    return [(f"one decision within {time_text(entry['deadline_s'])}", _advice_cell(entry)) for entry in entries]


def _advice_cell(entry: Mapping[str, Any]) -> str:
    """The recommended method, its regret on the arm and on the worst problem; else the arm's own best."""
    regrets = entry["regret_by_problem"]
    if regrets is not None:
        on_arm = _short(regrets[ARM]) if ARM in regrets else "-"
        return f"{label(entry)}: {on_arm} / {_short(max(regrets.values()))}"
    own = entry["best_by_problem"].get(ARM)
    return "-" if own is None else f"arm only: {label(own)}: {_short(own['regret_by_problem'][ARM])}"
