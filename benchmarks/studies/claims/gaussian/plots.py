"""Draw claim b: what full covariance gains where the reward couples the actions, and why, with two of them.

Reads the JSON's data alone.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.common.figures import COLORS, POLICY_COLOR, TEXT_SIZE, two_panels

LOOKS = {"diagonal": (COLORS[0], "o", "--"), "full": (POLICY_COLOR, "^", "-")}
MASS = 0.95  # of a Gaussian within its ellipse
HALF_WIDTH = 3.0  # of the plane, in standard deviations of the full Gaussian
TALL = 1.35  # so that the legend has room above the ellipses


def draw(claim: Mapping[str, Any]) -> Figure:
    """The figure: the gain against the equicorrelation of H; two coupled actions.

    Raises: ValueError: nothing was learned in this result.
    """
    data = claim["figure"]
    if not data["learned"]:
        raise ValueError("figure: expected at least one learned gap")
    figure, gain, plane = two_panels(9.4, 4.2, (1.15, 1))
    draw_gain(gain, data)
    draw_plane(plane, data["plane"])
    return figure


def draw_gain(panel: Axes, data: Mapping[str, Any]) -> None:
    """The exact gap between the best full and the best diagonal Gaussian, and those of learned ones."""
    panel.plot(data["curve"]["correlation"], data["curve"]["gap"], color="0.3", linewidth=1.5, label="exact")
    for i, point in enumerate(data["learned"]):
        errors = np.abs(np.asarray(point["interval"])[:, None] - point["value"])
        label = f"learned: mean of the middle half of {data['num_seeds']} seeds, 95 % interval" if i == 0 else None
        panel.errorbar(
            point["correlation"],
            point["value"],
            yerr=errors,
            color=POLICY_COLOR,
            marker="o",
            markersize=5,
            capsize=4,
            linestyle="",
            label=label,
        )
        panel.annotate(
            f"{round(point['value'], 2) + 0:.2f}",  # + 0 makes -0 a 0
            (point["correlation"], point["value"]),
            (-7, 6),
            textcoords="offset points",
            ha="right" if point["correlation"] > 0 else "left",
            fontsize=TEXT_SIZE,
        )
    panel.set_title(f"What full covariance gains, {data['num_dims']} actions", fontsize=TEXT_SIZE + 1)
    panel.set_xlabel("equicorrelation of the reward's matrix H", fontsize=TEXT_SIZE)
    panel.set_ylabel("gain in reward + τ · entropy, in units of τ", fontsize=TEXT_SIZE)
    panel.set(xlim=(-0.03, 1.03), ylim=(-0.4, 1.08 * max(data["curve"]["gap"])))
    panel.legend(loc="upper left", fontsize=TEXT_SIZE, frameon=False)
    panel.tick_params(labelsize=TEXT_SIZE)
    panel.spines[["top", "right"]].set_visible(False)


def draw_plane(panel: Axes, plane: Mapping[str, Any]) -> None:
    """Contours of the reward, and samples and ellipses of the best Gaussian of each family."""
    covariances = {name: np.asarray(matrix) for name, matrix in plane["covariance"].items()}
    half = HALF_WIDTH * float(np.sqrt(covariances["full"][0, 0]))
    across, along = np.linspace(-half, half, 101), np.linspace(-half, TALL * half, 131)
    points = np.stack(np.meshgrid(across, along), axis=-1)
    reward = -np.einsum("...i,ij,...j->...", points, np.asarray(plane["curvature"]), points)
    levels = reward.min() * np.linspace(0.9, 0.0, 12) ** 2
    panel.contour(across, along, reward, levels=levels, colors="0.75", linewidths=0.7, linestyles="-")
    for name, covariance in covariances.items():
        color, marker, line = LOOKS[name]
        samples = np.asarray(plane["samples"][name])
        panel.plot(*samples.T, marker, color=color, markersize=2.5, alpha=0.55)
        label = f"{name} covariance, {MASS:.0%} of its actions"
        panel.plot(*ellipse(covariance).T, line, color=color, linewidth=1.8, label=label)
    title = f"Two actions, correlation {plane['correlation']:g}: gain {plane['gap']:.2f} τ"
    panel.set_title(title, fontsize=TEXT_SIZE + 1)
    panel.set_xlabel("action 1, less the optimum", fontsize=TEXT_SIZE)
    panel.set_ylabel("action 2, less the optimum", fontsize=TEXT_SIZE)
    panel.set(xlim=(-half, half), ylim=(-half, TALL * half), aspect="equal")
    panel.legend(loc="upper right", fontsize=TEXT_SIZE, framealpha=1, edgecolor="none")
    panel.tick_params(labelsize=TEXT_SIZE)


def ellipse(covariance: np.ndarray) -> np.ndarray:
    """Points around the ellipse that holds `MASS` of a Gaussian at 0, `[101, 2]`."""
    angles_rad = np.linspace(0, 2 * np.pi, 101)
    radius = np.sqrt(-2 * np.log(1 - MASS))  # of the squared radius, exponential in two dimensions
    return radius * np.stack([np.cos(angles_rad), np.sin(angles_rad)], axis=-1) @ np.linalg.cholesky(covariance).T
