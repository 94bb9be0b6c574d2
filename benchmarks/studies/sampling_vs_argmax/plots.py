"""The study's figures, drawn from its result alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator

from studies.common.figures import (
    LINES,
    MAX_COLUMNS,
    Rows,
    add_legend,
    machine_text,
    make_looks,
    make_panels,
    style_of,
    timed_rows,
    title_of,
    unique,
)
from studies.common.pareto import draw_pareto

MAX_LINES = 16


def figures(result: Mapping[str, Any]) -> dict[str, Figure]:
    """Time against regret, and time against batch size; none of a result without timed rows."""
    rows = timed_rows(result)
    return {"pareto": draw_pareto(rows, result), "scaling": draw_scaling(rows, result)} if rows else {}


def draw_scaling(rows: Rows, result: Mapping[str, Any]) -> Figure:
    """Time per decision against batch size: a panel a problem, a line a method."""
    methods = _representatives(rows)
    problems = unique(row["problem"] for row in rows)
    batch_sizes = sorted({row["batch_size"] for row in rows})
    looks = make_looks(rows)
    columns = min(len(problems), MAX_COLUMNS)
    figure, panels = make_panels(math.ceil(len(problems) / columns), columns, 5.2)
    figure.suptitle(f"What a larger batch saves: {machine_text(result)}", fontsize=13)
    for axes, problem in zip(panels, problems, strict=False):
        axes.set(xscale="log", yscale="log", xlabel="batch size")
        axes.set_title(title_of(problem, result), fontsize=11)
        axes.set_xticks(batch_sizes, [f"{size:,}" for size in batch_sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(EngFormatter("s"))
        if axes in panels[::columns]:
            axes.set_ylabel("time per decision")
        for method in methods:
            points = sorted(
                (row["batch_size"], row["time_per_decision_s"])
                for row in rows
                if (row["problem"], row["method"]) == (problem, method)
            )
            same = [other for other in methods if looks[other].color == looks[method].color]
            line = LINES[same.index(method) % len(LINES)]
            axes.plot(*np.reshape(points, (-1, 2)).T, **style_of(looks[method]), linestyle=line, label=method)
    for axes in panels[len(problems) :]:
        axes.set_visible(False)
    left_out = len(unique(row["method"] for row in rows)) - len(methods)
    between = "methods between the fastest and the slowest of their family"
    add_legend(figure, panels, f"not shown: {left_out} {between}" if left_out else "")
    return figure


def _representatives(rows: Rows) -> list[str]:
    """The methods to draw: all if they are few, else all policies and each family's fastest and slowest."""
    families: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        families.setdefault(row["family"], {}).setdefault(row["method"], []).append(row["time_per_decision_s"])
    if sum(map(len, families.values())) <= MAX_LINES:
        return [method for methods in families.values() for method in methods]
    chosen: list[str] = []
    for family, methods in families.items():
        ordered = sorted(methods, key=lambda method: float(np.median(methods[method])))
        chosen += methods if family == "policy" else unique((ordered[0], ordered[-1]))
    return chosen
