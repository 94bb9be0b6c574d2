"""Draw claim f: time per decision against the number of actions. Reads the JSON's data alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from studies.common.figures import COLORS, LINES, MARKERS, POLICY_COLOR, TEXT_SIZE, new_figure, unique

# What chooses from values is blue; policies have colors of their own. Flat ways are solid.
VALUE_COLOR, POLICY_COLORS = COLORS[0], (POLICY_COLOR, *COLORS[1:])


def draw(claim: Mapping[str, Any]) -> Figure:
    """The figure, a panel for each batch size.

    Raises: ValueError: nothing was timed in this result.
    """
    lines = claim["figure"]["lines"]
    if not lines:
        raise ValueError("figure: expected at least one line of times")
    batch_sizes, looks = unique(line["batch_size"] for line in lines), make_looks(lines)
    figure = new_figure(4.6 * len(batch_sizes), 4.3)
    panels = figure.subplots(1, len(batch_sizes), squeeze=False, sharex=True)[0]
    for panel, batch_size in zip(panels, batch_sizes, strict=True):
        for line in lines:
            if line["batch_size"] == batch_size:
                draw_line(panel, line, looks[line["way"]])
        panel.set(xscale="log", yscale="log")
        panel.set_title(f"batch of {batch_size}", fontsize=TEXT_SIZE + 1)
        panel.set_xlabel("number of actions |A|", fontsize=TEXT_SIZE)
        panel.yaxis.set_major_formatter(EngFormatter("s"))
        panel.tick_params(labelsize=TEXT_SIZE)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(color="0.92")
        panel.set_axisbelow(True)
    panels[0].set_ylabel("time per decision, least to greatest of the rounds", fontsize=TEXT_SIZE)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=TEXT_SIZE, frameon=False)
    return figure


def make_looks(lines: Any) -> dict[str, dict[str, Any]]:
    """Color, marker and dashes of each way."""
    looks, colors = {}, iter(POLICY_COLORS)
    for marker, way in zip(MARKERS, unique(line["way"] for line in lines), strict=False):
        color = VALUE_COLOR if "argmax" in way else next(color for color in colors if color != VALUE_COLOR)
        looks[way] = {"color": color, "marker": marker, "linestyle": LINES[0] if "flat" in way else LINES[1]}
    return looks


def draw_line(panel: Axes, line: Mapping[str, Any], look: Mapping[str, Any]) -> None:
    """Medians over the rounds, and bars from the least to the greatest."""
    times = np.asarray(line["times_s"])
    median = np.median(times, axis=1)
    bars = np.abs(np.stack([times.min(axis=1), times.max(axis=1)]) - median)
    panel.errorbar(
        line["num_actions"], median, yerr=bars, **look, label=line["way"], linewidth=1.5, markersize=5, capsize=3
    )
