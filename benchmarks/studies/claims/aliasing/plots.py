"""Draw claim d: what each class of policies is worth in the aliased gridworld, and the short corridor.

Reads the claim's part of the JSON alone.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studies.common.figures import COLORS, MARKERS, POLICY_COLOR, TEXT_SIZE, new_figure

ACTOR = "actor-critic"
HEIGHT, SEED_HEIGHT = 0.27, 0.1  # of a class's mark, and of the spread of its seeds
MARGIN = 1.2  # from the lowest value to the axis' left end


def draw(claim: Mapping[str, Any]) -> Figure:
    """The figure: a panel for each discount, and one of the corridor.

    Raises: ValueError: the claim holds no class.
    """
    data = claim["figure"]
    discounts = list(dict.fromkeys(entry["discount"] for entry in data["classes"]))
    if not discounts:
        raise ValueError("claim: expected at least one class")
    figure = new_figure(13, 4.8)
    panels = figure.subplots(1, len(discounts) + 1, width_ratios=[1] * len(discounts) + [0.8])
    for panel, discount in zip(panels, discounts, strict=False):
        classes = [entry for entry in data["classes"] if entry["discount"] == discount]
        draw_classes(panel, classes, data["into the skull"] if discount == 1 else None)
        panel.set_title(f"aliased gridworld, discount {discount:g}", fontsize=TEXT_SIZE + 1)
    for panel in panels[1:-1]:
        panel.set_yticklabels([])
    draw_corridor(panels[-1], data["corridor"])
    figure.legend(
        handles=legend(data["classes"]), loc="outside upper center", ncols=4, fontsize=TEXT_SIZE, frameon=False
    )
    return figure


def draw_classes(panel: Axes, classes: Sequence[Mapping[str, Any]], into_skull: float | None) -> None:
    """Exact values as bars from the left, what was learned as points below them."""
    rng = np.random.default_rng(0)
    learned = [value for entry in classes if entry["learned"] for value in entry["learned"]["values"]]
    exact = [entry["exact"] for entry in classes if math.isfinite(entry["exact"])]
    panel.set_xlim(MARGIN * min(*exact, *learned), 0)
    for i, entry in enumerate(classes):
        draw_exact(panel, i, entry["exact"])
        if entry["learned"] is not None:
            draw_learned(panel, i + 0.32, entry["learned"], rng)
    if into_skull is not None:
        draw_mark(panel, len(classes) - 1, into_skull, f"{into_skull:.4g}, into the skull")
    panel.set_yticks(range(len(classes)), [entry["class"] for entry in classes], fontsize=TEXT_SIZE)
    panel.set_ylim(len(classes) - 0.3, -0.6)
    panel.set_xlabel("expected return of an episode", fontsize=TEXT_SIZE)
    panel.tick_params(axis="x", labelsize=TEXT_SIZE - 1)
    panel.grid(axis="x", color="0.92")
    panel.set_axisbelow(True)


def draw_exact(panel: Axes, i: int, value: float) -> None:
    """A class's exact value: a mark with its number; minus infinity in words."""
    if math.isinf(value):
        left, _ = panel.get_xlim()
        text = "$-\\infty$: from two of five cells it never arrives"
        panel.annotate(
            text,
            (left, i - 0.32),
            (0.95 * left, i - 0.32),
            arrowprops={"arrowstyle": "->", "linewidth": 1.5},
            va="center",
            fontsize=TEXT_SIZE - 1,
        )
        return
    draw_mark(panel, i, value, f"{value:.4g}")


def draw_mark(panel: Axes, i: int, value: float, text: str) -> None:
    """An exact value of the class i, and a text left of it."""
    panel.plot([value] * 2, [i - HEIGHT, i + 0.05], color="black", linewidth=2.5)
    panel.annotate(
        text,
        (value, i - 0.1),
        (-4, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=TEXT_SIZE - 1,
    )


def draw_learned(panel: Axes, height: float, learned: Mapping[str, Any], rng: np.random.Generator) -> None:
    """Each seed's value, faint, and their interquartile mean with its interval."""
    color, marker = look(learned["learner"])
    values = np.asarray(learned["values"])
    spread = height + rng.uniform(-SEED_HEIGHT, SEED_HEIGHT, values.size)
    panel.plot(values, spread, ".", color=color, alpha=0.35, markersize=4, markeredgewidth=0)
    middle, (low, high) = learned["value"], learned["interval"]
    panel.errorbar(
        middle,
        height,
        xerr=[[max(middle - low, 0)], [max(high - middle, 0)]],
        fmt=marker,
        color=color,
        markersize=5,
        capsize=3,
    )
    panel.annotate(
        f"{middle:.4g}",
        (low, height),
        (-6, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        color=color,
        fontsize=TEXT_SIZE - 1,
    )


def draw_corridor(panel: Axes, corridor: Mapping[str, Any]) -> None:
    """The value against the probability of right."""
    panel.plot(corridor["p"], corridor["value"], color="0.3", linewidth=1.5)
    places = ((8, 0, "left"), (-8, 0, "right"), (0, 8, "center"))
    names = ("0.1-greedy, left", "0.1-greedy, right", "best")
    for (p, value), (x, y, side), name in zip(corridor["points"], places, names, strict=True):
        panel.plot(p, value, "o", color=COLORS[0] if name != "best" else POLICY_COLOR, markersize=6)
        panel.annotate(
            f"{name}\np = {p:.3g}: {value:.4g}",
            (p, value),
            (x, y),
            textcoords="offset points",
            ha=side,
            va="bottom" if y else "center",
            fontsize=TEXT_SIZE - 1,
        )
    panel.set_ylim(-125, 12)
    panel.set_xlim(0, 1)
    panel.set_title("short corridor, discount 1", fontsize=TEXT_SIZE + 1)
    panel.set_xlabel("probability of right", fontsize=TEXT_SIZE)
    panel.set_ylabel("expected return of an episode", fontsize=TEXT_SIZE)
    panel.tick_params(labelsize=TEXT_SIZE - 1)
    panel.grid(color="0.92")


def look(learner: str) -> tuple[str, str]:
    """A learner's color and marker."""
    if learner == ACTOR:
        return POLICY_COLOR, "D"
    remembers = "remembers" in learner
    return COLORS[2 if remembers else 0], MARKERS[2 if remembers else 0]


def legend(classes: Sequence[Mapping[str, Any]]) -> list[Line2D]:
    """What the marks mean."""
    names = dict.fromkeys(entry["learned"]["learner"] for entry in classes if entry["learned"] is not None)
    marks = [Line2D([], [], color="black", marker="|", linestyle="", markersize=11, markeredgewidth=2.5)]
    marks[0].set_label("exact")
    for name in names:
        color, marker = look(name)
        suffix = " (within 50 steps)" if name != ACTOR else ""
        marks.append(Line2D([], [], color=color, marker=marker, linestyle="", label=f"learned: {name}{suffix}"))
    return marks
