"""Time per decision against regret: points, and the front that no other beats."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from studies.common.figures import (
    FLOOR_NOTE,
    MAX_COLUMNS,
    REGRET_FLOOR,
    Look,
    Rows,
    add_legend,
    machine_text,
    make_looks,
    make_panels,
    median_regret,
    style_of,
    title_of,
    unique,
)
from studies.common.labels import Label, place_labels

BATCH_SIZES = (1, 256, 4096)


def pareto_front(times: Sequence[float], regrets: Sequence[float]) -> list[int]:
    """Indices of the points that no other beats, fastest first.

    A point is beaten by one that is no slower and no worse, and better in one of the two. Of equal points the
    first is kept; points that are not finite are never on the front.
    """
    finite = [i for i in range(len(times)) if math.isfinite(times[i]) and math.isfinite(regrets[i])]
    front: list[int] = []
    for i in sorted(finite, key=lambda i: (times[i], regrets[i])):
        if not front or regrets[i] < regrets[front[-1]]:
            front.append(i)
    return front


def draw_pareto(rows: Rows, result: Mapping[str, Any], min_gain: float = 1.0) -> Figure:
    """Time per decision against regret: a row of panels a problem, a panel a batch size.

    Named are the policies and those on the front whose regret is `min_gain` times below that of the last named.
    """
    judged = [row for row in rows if math.isfinite(median_regret(row))]
    present = {row["batch_size"] for row in judged}
    batch_sizes = [size for size in BATCH_SIZES if size in present] or sorted(present)[:MAX_COLUMNS]
    problems = unique(row["problem"] for row in judged)
    looks = make_looks(rows)
    figure, panels = make_panels(len(problems) or 1, len(batch_sizes) or 1, 5.0)
    figure.suptitle(f"What a better action costs: {machine_text(result)}", fontsize=13)
    labels = []
    for axes, (problem, batch_size) in zip(panels, itertools.product(problems, batch_sizes), strict=False):
        axes.set(xscale="log", yscale="log", xlabel="time per decision")
        axes.set_title(f"{title_of(problem, result)}, batch of {batch_size:,}", fontsize=11)
        axes.xaxis.set_major_formatter(EngFormatter("s"))
        if axes in panels[:: len(batch_sizes)]:
            axes.set_ylabel("median regret / regret of a uniform action")
        shown = [row for row in judged if (row["problem"], row["batch_size"]) == (problem, batch_size)]
        labels.append((axes, _draw_points(axes, shown, looks, min_gain)))
    if not judged:
        panels[0].text(0.5, 0.5, "no regret in this result", transform=panels[0].transAxes, ha="center")
    edges = "; black edge: published settings" if any(row.get("setting") == "published" for row in judged) else ""
    on_front = "the Pareto front" + (f" at each gain of {min_gain:g} times" if min_gain > 1 else "")
    named = f"lower left is better; named: policies and {on_front}"
    add_legend(figure, panels, f"{FLOOR_NOTE}; {named}{edges}")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # labels are placed by their size in pixels, known only after the layout
    for axes, texts in labels:
        if texts:
            place_labels(axes, texts, canvas.get_renderer())
    return figure


def _draw_points(axes: Axes, rows: Rows, looks: Mapping[str, Look], min_gain: float) -> list[Label]:
    """One point a method and the front as a step line; returns the labels that are to be placed."""
    times = [row["time_per_decision_s"] for row in rows]
    regrets = [max(median_regret(row), REGRET_FLOOR) for row in rows]
    front = pareto_front(times, regrets)
    steps = np.repeat([times[i] for i in front], 2)[1:], np.repeat([regrets[i] for i in front], 2)[:-1]
    axes.plot(*steps, color="0.35", linewidth=1.2, label="Pareto front")
    named: list[int] = []
    for i in front:
        if not named or regrets[i] * min_gain <= regrets[named[-1]]:
            named.append(i)
    labels = []
    for i, row in enumerate(rows):
        look = looks[row["method"]]
        edge = "black" if row.get("setting") == "published" else "white"
        label = "" if edge == "black" else look.legend  # the legend shows the plain edge
        axes.plot(times[i], regrets[i], **style_of(look), markeredgecolor=edge, linestyle="", label=label)
        if i in named or row["family"] == "policy":
            labels.append(Label(times[i], regrets[i], row["method"]))
    axes.margins(0.1, 0.12)
    return labels
