"""Draw claim c, the paths of strategies; reads the claim's part of the JSON alone.

A panel for each dynamics; the corners are the pure strategies, a path darkens as it goes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studies.common.figures import COLORS, POLICY_COLOR, TEXT_SIZE, new_figure

CORNERS = np.array([[0.0, 0.0], [0.5, 3**0.5 / 2], [1.0, 0.0]])  # rock, paper, scissors
LABELS = (
    ("rock", (0, -6), "center", "top"),
    ("paper", (0, 4), "center", "bottom"),
    ("scissors", (0, -6), "center", "top"),
)
TIME = LinearSegmentedColormap.from_list("time", ["#BBD9EC", COLORS[0], "#002A45"])
GAMES = {"plain": "rock-paper-scissors", "biased": "rock against scissors counts twice"}
MAX_COLUMNS = 4


def draw(claim: Mapping[str, Any]) -> Figure:
    """The figure, a panel for each path.

    Raises: ValueError: the claim holds no path.
    """
    paths = claim["figure"]["paths"]
    if not paths:
        raise ValueError("claim: expected at least one path")
    num_columns = min(MAX_COLUMNS, len(paths))
    num_rows = -(-len(paths) // num_columns)
    figure = new_figure(2.9 * num_columns, 3.15 * num_rows + 0.5)
    panels = list(figure.subplots(num_rows, num_columns, squeeze=False).flat)
    for panel, path in zip(panels, paths, strict=False):
        draw_path(panel, path)
    for panel in panels[len(paths) :]:
        panel.set_visible(False)
    figure.legend(handles=legend(), loc="outside upper center", ncols=5, fontsize=TEXT_SIZE, frameon=False)
    return figure


def draw_path(panel: Axes, path: Mapping[str, Any]) -> None:
    """One dynamics on the simplex."""
    points, averages = (np.asarray(path[name]) @ CORNERS for name in ("strategies", "averages"))
    panel.fill(*CORNERS.T, facecolor="0.97", edgecolor="0.5", linewidth=1)
    segments = np.stack([points[:-1], points[1:]], axis=1)
    colors = TIME(np.linspace(0, 1, len(segments)))
    panel.add_collection(LineCollection(list(segments), colors=colors, linewidths=1))
    panel.plot(*averages.T, color=POLICY_COLOR, linewidth=1, alpha=0.9)
    panel.plot(*(np.asarray(path["nash"]) @ CORNERS), "*", color="black", markersize=9, zorder=3)
    panel.plot(*points[0], "o", color=TIME(0.5), markerfacecolor="white", markersize=6, zorder=3)
    panel.plot(*points[-1], "o", color=TIME(1.0), markersize=4, zorder=4)
    for (name, offset, across, along), corner in zip(LABELS, CORNERS, strict=True):
        panel.annotate(
            name, corner, offset, textcoords="offset points", ha=across, va=along, fontsize=TEXT_SIZE - 1
        )
    panel.set_title(f"{path['title']}\n{GAMES[path['game']]}", fontsize=TEXT_SIZE)
    lost = f"exploitability after {path['num_steps']:,} steps\n"
    lost += f"last {path['exploitability']:.2g}, average {path['average_exploitability']:.2g}"
    panel.text(0.5, -0.2, lost, ha="center", va="top", fontsize=TEXT_SIZE - 1)
    panel.set_xlim(-0.12, 1.12)
    panel.set_ylim(-0.4, 1.0)
    panel.set_aspect("equal")
    panel.set_axis_off()


def legend() -> list[Line2D]:
    """What the marks mean."""
    return [
        Line2D([], [], color=COLORS[0], label="strategy, darker with time"),
        Line2D([], [], color=POLICY_COLOR, label="average strategy"),
        Line2D([], [], color=TIME(0.5), marker="o", linestyle="", markerfacecolor="white", label="start"),
        Line2D([], [], color=TIME(1.0), marker="o", linestyle="", label="last"),
        Line2D([], [], color="black", marker="*", linestyle="", markersize=9, label="Nash equilibrium"),
    ]
