"""Draw claim g: learning curves of the 2x2, and the table's differences with intervals. Reads the data alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.typing import LineStyleType

from studies.common.figures import COLORS, POLICY_COLOR, TEXT_SIZE, new_figure, unique

CURVE_COLORS = (COLORS[0], COLORS[0], POLICY_COLOR, POLICY_COLOR)  # value-based, policy-based
CURVE_LINES: tuple[LineStyleType, ...] = ("--", "-", "--", "-")  # on-policy, replay
VERDICT_COLORS = {"holds": COLORS[2], "open": COLORS[6], "contradicted": POLICY_COLOR}
LINEAR = 0.01  # differences below this are drawn on a linear scale
LOWEST = -1.0  # of the curves' axis


def draw(claim: Mapping[str, Any]) -> Figure:
    """The figure.

    Raises: ValueError: the claim holds no comparison.
    """
    data = claim["figure"]
    rows = compared(claim["rows"], data["comparisons"])
    if not rows:
        raise ValueError("claim: expected at least one row that compares")
    figure = new_figure(14, 12)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1, 1.3))[0]
    panels = left.subplots(len(data["environments"]), 1, sharex=True, squeeze=False)[:, 0]
    for index, (panel, name) in enumerate(zip(panels, data["environments"], strict=True)):
        draw_curves(panel, name, data, index)
    panels[-1].set_xlabel("environment steps", fontsize=TEXT_SIZE)
    handles = [
        Line2D([], [], color=color, linestyle=line, label=name)
        for name, color, line in zip(data["curves"], CURVE_COLORS, CURVE_LINES, strict=True)
    ]
    left.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=TEXT_SIZE, frameon=False)
    kinds = [
        [row for row in rows if (row["quantity"], row["neutral"]) == kind]
        for kind in unique((row["quantity"], row["neutral"]) for row in rows)
    ]
    panels = right.subplots(len(kinds), 1, squeeze=False, height_ratios=[len(kind) + 2.5 for kind in kinds])[:, 0]
    for panel, kind in zip(panels, kinds, strict=True):
        draw_comparisons(panel, kind)
    right.legend(handles=legend(), loc="outside upper center", ncols=5, fontsize=TEXT_SIZE, frameon=False)
    return figure


def compared(rows: Sequence[Mapping[str, Any]], comparisons: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows that compare two sides, with their neutral number."""
    neutral = {(c["condition"], c["quantity"]): c["neutral"] for c in comparisons}
    named = [(row, (row["condition"], row["quantity"])) for row in rows]
    return [{**row, "neutral": neutral[name]} for row, name in named if name in neutral]


def draw_curves(panel: Axes, name: str, data: Mapping[str, Any], index: int) -> None:
    """Medians with interquartile bands of one environment's learning curves."""
    for curves, color, line in zip(data["curves"].values(), CURVE_COLORS, CURVE_LINES, strict=True):
        low, middle, high = np.asarray(curves[index])
        panel.plot(data["steps"], middle, color=color, linestyle=line, linewidth=1.5)
        panel.fill_between(data["steps"], low, high, color=color, alpha=0.15, linewidth=0)
    panel.axhline(1, color="0.5", linewidth=0.8, linestyle=":")
    panel.axhline(0, color="0.5", linewidth=0.8, linestyle=":")
    panel.set_ylim(max(panel.get_ylim()[0], LOWEST), 1.05)
    panel.set_title(name, fontsize=TEXT_SIZE + 1)
    panel.set_ylabel("exact value of the acting policy\n(0 uniform, 1 best)", fontsize=TEXT_SIZE)
    panel.tick_params(labelsize=TEXT_SIZE - 1)


def draw_comparisons(panel: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """A point and its interval for each row; all rows have the same quantity and neutral number."""
    for place, row in enumerate(rows):
        low, high = row["interval"]
        color = VERDICT_COLORS[row["verdict"]]
        filled = color if row["says"] == "chapter" else "white"
        panel.plot([low, high], [place, place], color=color, linewidth=2)
        panel.plot(row["value"], place, "o", color=color, markerfacecolor=filled, markersize=6)
    neutral = rows[0]["neutral"]
    panel.axvline(neutral, color="0.3", linewidth=0.8)
    if neutral == 1.0:
        panel.set_xscale("log")
        kind = "ratio"
    else:
        panel.set_xscale("symlog", linthresh=LINEAR)
        kind = f"difference, linear below {LINEAR:g}"
    panel.set_title(f"{rows[0]['quantity']} ({kind})", fontsize=TEXT_SIZE, loc="right")
    panel.set_yticks(range(len(rows)), [label(row) for row in rows], fontsize=TEXT_SIZE - 1)
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.tick_params(axis="x", labelsize=TEXT_SIZE - 1)
    panel.grid(axis="x", color="0.9", linewidth=0.6)
    panel.set_axisbelow(True)


def label(row: Mapping[str, Any]) -> str:
    """The row's name in the figure, without the topic."""
    return row["condition"].partition(": ")[2]


def legend() -> list[Line2D]:
    """What the points mean."""
    kinds = [Line2D([], [], color=color, linewidth=2, label=verdict) for verdict, color in VERDICT_COLORS.items()]
    for name, filled in (("chapter's", "black"), ("a condition", "white")):
        kinds.append(Line2D([], [], color="black", marker="o", linestyle="", markerfacecolor=filled, label=name))
    return kinds
