"""Draw claim a: regret against evaluations on a quadratic, and regret against time on a six-joint arm.

Reads the JSON's data alone.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from studies.common.figures import COLORS, MARKERS, POLICY_COLOR, REGRET_FLOOR, TEXT_SIZE, two_panels

# The ways out that the chapter names are circles and squares; what it leaves out is a triangle.
CEM_COLOR = POLICY_COLOR
NAMED_BY_CHAPTER = ("grid", "random")


def draw(claim: Mapping[str, Any]) -> Figure:
    """The figure: the quadratic, the arm.

    Raises: ValueError: no random search in this result.
    """
    data = claim["figure"]
    if not data["random"]:
        raise ValueError("figure: expected at least one line of random search")
    figure, quadratic, arm = two_panels(11.0, 4.8, (1.25, 1))
    draw_quadratic(quadratic, data)
    draw_arm(arm, data["arm"])
    for panel in (quadratic, arm):
        panel.tick_params(labelsize=TEXT_SIZE)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(color="0.93")
        panel.set_axisbelow(True)
    return figure


def draw_quadratic(panel: Axes, data: Mapping[str, Any]) -> None:
    """Random search in each dimension with theory's line; in six dimensions the grid and CEM."""
    for i, line in enumerate(data["random"]):
        color, marker = COLORS[i % len(COLORS)], MARKERS[0]
        count, num_dims = line["num_evaluations"], line["num_dims"]
        panel.plot(count, line["expected"], color=color, linewidth=1.2, label="theory" if i == 0 else None)
        label = "random search, d dimensions" if i == 0 else None
        panel.plot(count, line["regret"], marker, color=color, markersize=4.5, label=label)
        panel.annotate(
            f"d = {num_dims}",
            (count[-1], line["regret"][-1]),
            (6, -8),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=TEXT_SIZE,
        )
    off, grid, cem, fine = (data[name] for name in ("off_center", "grid", "cem", "fine_grid"))
    in_six: dict[str, Any] = {"linewidth": 1.0, "markersize": 6}
    color = COLORS[[line["num_dims"] for line in data["random"]].index(6) % len(COLORS)]
    panel.plot(*xy(off), "o:", color=color, markerfacecolor="white", label="d = 6, optimum anywhere", **in_six)
    panel.plot(*xy(grid), "s--", color="black", label="d = 6, grid of 3 and 5 points a side", **in_six)
    shown = f"d = 6, grid of 11: {fine['num_evaluations']:,} (by formula)"
    panel.plot(*xy(fine), "s", color="black", markerfacecolor="white", markersize=6, label=shown)
    panel.plot(*xy(cem), "^-", color=CEM_COLOR, label="d = 6, CEM, 2, 4 and 8 iterations of 64", **in_six)
    panel.set(xscale="log", yscale="log")
    low, high = panel.get_ylim()
    panel.set_ylim(low / 400, high)  # room for the legend
    panel.set_title("Quadratic: -|a - a*|² in [-1, 1]^d", fontsize=TEXT_SIZE + 1)
    panel.set_xlabel("evaluations of Q for a decision", fontsize=TEXT_SIZE)
    panel.set_ylabel("mean regret of the best sample", fontsize=TEXT_SIZE)
    panel.legend(loc="lower left", fontsize=TEXT_SIZE - 1, frameon=False)


def draw_arm(panel: Axes, arm: Mapping[str, Any]) -> None:
    """Each search's time for a decision and what it loses; the control step, a policy's sample, what is enough."""
    panel.set(xscale="log", yscale="log")
    step, sample = arm["control_step_s"], arm["sample_time_s"]
    times = [search["time_s"] for search in (*arm["searches"], arm["critic"])]
    panel.set_xlim(min(sample, *times) / 2, 2 * max(step, *times))
    panel.set_ylim(REGRET_FLOOR / 3, 1.0)
    by_regret = sorted(arm["searches"], key=lambda search: search["regret"], reverse=True)
    for search, higher in zip(by_regret, (None, *by_regret), strict=False):
        named = search["name"].startswith(NAMED_BY_CHAPTER)
        color, marker = (COLORS[0], "o") if named else (CEM_COLOR, "^")
        below = higher is not None and is_near(search, higher)
        mark(panel, search, color, marker, search["name"], (-6, -4) if below else (6, 4))
    mark(panel, arm["critic"], COLORS[2], "D", f"{arm['critic']['name']}\non a neural critic", (-6, -14))
    panel.axhline(arm["good_regret"], color="0.6", linewidth=0.8, linestyle="--")
    for time_s, text, side in ((sample, "sample of a policy", 1), (step, "control step", -1)):
        panel.axvline(time_s, color="0.3", linewidth=1, linestyle=":")
        panel.annotate(
            text,
            (time_s, 0.8),
            (4 * side, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="top",
            fontsize=TEXT_SIZE,
            color="0.3",
        )
    panel.xaxis.set_major_formatter(EngFormatter("s"))
    panel.set_title("Six-joint arm, batch of 1: circles are the chapter's ways", fontsize=TEXT_SIZE + 1)
    panel.set_xlabel("time per decision", fontsize=TEXT_SIZE)
    floor = f"(drawn at {REGRET_FLOOR:g} where below)"
    panel.set_ylabel(f"median regret / regret of a uniform action\n{floor}", fontsize=TEXT_SIZE)


def is_near(search: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the names of two searches would meet."""
    apart = (abs(np.log10(search[name] / other[name])) for name in ("time_s", "regret"))
    return all(distance < limit for distance, limit in zip(apart, (1.0, 0.5), strict=True))


def mark(panel: Axes, search: Mapping[str, Any], color: str, marker: str, text: str, offset: Any) -> None:
    """A search with its name beside it, offset in points; to the left where that is to the left."""
    place = (search["time_s"], max(search["regret"], REGRET_FLOOR))
    panel.plot(*place, marker, color=color, markersize=6)
    side = "left" if offset[0] > 0 else "right"
    panel.annotate(
        text, place, offset, textcoords="offset points", ha=side, va="center", color=color, fontsize=TEXT_SIZE
    )


def xy(line: Mapping[str, Any]) -> tuple[Any, Any]:
    """Evaluations and regrets."""
    return line["num_evaluations"], line["regret"]
