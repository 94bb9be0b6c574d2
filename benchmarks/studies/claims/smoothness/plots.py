"""Draw claim e: total variation against the change of the logits, and what one update changes in training.

Reads the claim's part of the JSON alone.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from studies.common.figures import COLORS, MARKERS, POLICY_COLOR, TEXT_SIZE, two_panels

# What one update changes -> label, color, line: how one acts is the line, what is learned the color.
CURVES = {
    "greedy": ("greedy on Q", COLORS[0], "-"),
    "softmax": ("softmax of Q, as random as the policy", COLORS[0], "--"),
    "mode": ("PPO policy's most probable action", POLICY_COLOR, "-"),
    "policy": ("PPO policy", POLICY_COLOR, "--"),
}

OFFSETS = ((-25, 22), (-25, 32), (-95, -14))  # of the labels of the three temperatures, in points


def draw(claim: Mapping[str, Any]) -> Figure:
    """The figure of two panels.

    Raises: ValueError: the claim holds no training.
    """
    data = claim["figure"]
    if not data["training"]["update"]:
        raise ValueError("claim: expected at least one round of training")
    figure, *panels = two_panels(11, 4.6)
    draw_bound(panels[0], data["bound"])
    draw_training(panels[1], data["training"])
    for panel in panels:
        panel.tick_params(labelsize=TEXT_SIZE - 1)
        panel.grid(True, color="0.9", linewidth=0.6)
        panel.set_axisbelow(True)
    return figure


def draw_bound(panel: Axes, data: Mapping[str, Any]) -> None:
    """Random pairs below the bound, the chapter's flip on it, and greedy above."""
    distances = np.geomspace(0.004, 25, 300)
    panel.plot(distances, np.tanh(distances / 2), color="black", linewidth=1.2, label="bound tanh(|z' - z| / 2)")
    panel.plot(distances, np.ones_like(distances), color=COLORS[0], label="greedy, when the best action changes")
    for i, pairs in enumerate(data["pairs"]):
        panel.plot(
            pairs["distance"],
            pairs["total_variation"],
            MARKERS[i],
            color=COLORS[i + 1],
            markersize=2.5,
            alpha=0.6,
            label=f"softmax, random pairs of {pairs['num_actions']} actions",
        )
    flip = data["flip"]
    panel.plot(
        flip["distance"],
        flip["total_variation"],
        "*",
        color=POLICY_COLOR,
        markersize=11,
        label="softmax, Q = 10.0 and 10.1 swapped",
    )
    for temperature, x, y, offset in zip(*flip.values(), OFFSETS, strict=True):
        panel.annotate(
            f"temperature {temperature:.4g}: TV {y:.3g}",
            (x, y),
            offset,
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=TEXT_SIZE - 1,
            arrowprops={"arrowstyle": "-", "color": "0.5", "linewidth": 0.7, "shrinkB": 5},
        )
    panel.set(xscale="log", xlim=(distances[0], distances[-1]), ylim=(-0.02, 1.05))
    panel.set_xlabel("largest change of a logit, |z' - z|", fontsize=TEXT_SIZE)
    panel.set_ylabel("total variation of the two policies", fontsize=TEXT_SIZE)
    panel.set_title("a change of the logits: greedy jumps, softmax is bounded", fontsize=TEXT_SIZE + 1)
    panel.legend(fontsize=TEXT_SIZE - 2, loc="center left", frameon=False)


def draw_training(panel: Axes, data: Mapping[str, Any]) -> None:
    """Medians over seeds with interquartile bands, each point a round's mean."""
    for name, (label, color, line) in CURVES.items():
        low, middle, high = data["quartiles"][name]
        panel.fill_between(data["update"], low, high, color=color, alpha=0.15, linewidth=0)
        panel.plot(data["update"], middle, line, color=color, linewidth=1.4, label=label)
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g} %"))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.set_xlabel("update (minibatch)", fontsize=TEXT_SIZE)
    panel.set_ylabel("total variation in one update, mean of states", fontsize=TEXT_SIZE)
    panel.set_title("training: median and quartiles of seeds", fontsize=TEXT_SIZE + 1)
    panel.legend(fontsize=TEXT_SIZE - 1, frameon=False)
