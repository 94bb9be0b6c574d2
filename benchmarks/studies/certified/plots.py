"""Draw the gap of each certified search against time, from the study's result alone.

A curve that ends in a filled dot is a proof; one that ends in an open ring at the time limit
is an interval, its width written beside it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.typing import LineStyleType

from studies.common.figures import COLORS, TEXT_SIZE, new_figure

MAX_COLUMNS = 2
LABEL_RATIO, LABEL_ROOM = 1.5, 3.5  # between labels of a panel, and beside the last point
LINES: dict[str, LineStyleType] = {"best": "-", "random": "--", "whole box": "-"}


def figures(result: Mapping[str, Any]) -> dict[str, Figure]:
    """The gap against time; none of a result without rows."""
    return {"gap": draw_result(result)} if result.get("rows") else {}


def draw_result(result: Mapping[str, Any]) -> Figure:
    """The figure, a panel for each critic.

    Raises: ValueError: the result holds no row.
    """
    rows = result["rows"]
    if not rows:
        raise ValueError("result: expected at least one row")
    critics = list(dict.fromkeys(row["critic"] for row in rows))
    widths = sorted({row["half_width"] for row in rows})
    colors = {width: COLORS[i % len(COLORS)] for i, width in enumerate(widths)}
    num_columns = min(MAX_COLUMNS, len(critics))
    num_rows = -(-len(critics) // num_columns)
    figure = new_figure(4.8 * num_columns, 3.3 * num_rows + 0.9)
    axes = list(figure.subplots(num_rows, num_columns, squeeze=False, sharex=True, sharey=True).flat)
    for panel, critic in zip(axes, critics, strict=False):
        draw(
            panel,
            [row for row in rows if row["critic"] == critic],
            rows,
            colors,
            result["runs"][-1]["settings"]["gap"],
        )
        panel.set_title(critic.replace("_", " "), fontsize=TEXT_SIZE + 1)
    for panel in axes[len(critics) :]:
        panel.set_visible(False)
    figure.supxlabel("time without compilation, s", fontsize=TEXT_SIZE)
    figure.supylabel("(upper bound - value) / (maximum - mean) in the box", fontsize=TEXT_SIZE)
    figure.legend(
        handles=legend(rows, colors), loc="outside upper center", ncols=3, fontsize=TEXT_SIZE, frameon=False
    )
    return figure


def draw(panel: Axes, rows: list, all_rows: list, colors: dict, gap: float) -> None:
    """The curves of one critic."""
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.axhline(gap, color="0.6", linewidth=1, linestyle=":")
    for row in rows:
        times, gaps = (np.asarray([point[name] for point in row["checkpoints"]]) for name in ("time_s", "gap"))
        color = colors[row["half_width"]]
        panel.step(times, gaps, LINES[row["center"]], where="post", color=color, linewidth=1.5)
        fill = color if row["closed"] else "white"
        panel.plot(times[-1], gaps[-1], "o", color=color, markerfacecolor=fill, markersize=6)
    lowest = 0.0
    for row in sorted((row for row in rows if not row["closed"]), key=lambda row: row["checkpoints"][-1]["gap"]):
        last = row["checkpoints"][-1]
        lowest = max(last["gap"], LABEL_RATIO * lowest)  # labels of like gaps stand above one another
        color = colors[row["half_width"]]
        panel.text(
            1.15 * last["time_s"], lowest, f"{last['gap']:.2g}", color=color, fontsize=TEXT_SIZE - 1, va="center"
        )
    panel.set_xlim(right=LABEL_ROOM * max(row["checkpoints"][-1]["time_s"] for row in all_rows))
    panel.grid(which="major", color="0.9")
    panel.tick_params(labelsize=TEXT_SIZE - 1)


def legend(rows: list, colors: dict) -> list[Line2D]:
    """Box sizes by color, centers by line, ends by marker."""
    sizes = [Line2D([], [], color=color, label=f"half width {width:g}") for width, color in colors.items()]
    names = {"best": "around the best action known", "random": "around random actions"}
    shown = [center for center in names if any(row["center"] == center for row in rows)]
    centers = [Line2D([], [], color="0.3", linestyle=LINES[center], label=names[center]) for center in shown]
    ends = [
        Line2D([], [], color="0.3", marker="o", linestyle="", label="closed: a proof"),
        Line2D([], [], color="0.3", marker="o", linestyle="", markerfacecolor="white", label="open: an interval"),
        Line2D([], [], color="0.6", linestyle=":", label="gap aimed at"),
    ]
    return [*sizes, *centers, *ends]
