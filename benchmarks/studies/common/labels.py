"""Write labels beside the points of a figure where they hide nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.transforms import Bbox

from studies.common.figures import TEXT_SIZE

# Where a label's nearer edge may stand, in points from its point.
OFFSETS = tuple(itertools.product((-60, -40, -24, -9, 0, 9, 24, 40, 60), range(-90, 91, 6)))


class Label(NamedTuple):
    """A text that belongs to a point."""

    x: float
    y: float
    text: str


class Place(NamedTuple):
    """Where a label may stand: offset in points, which part of its width meets the leader (0 to 1), its box."""

    offset: tuple[int, int]
    side: float
    box: Bbox


def place_labels(axes: Axes, labels: Iterable[Label], renderer: RendererAgg) -> None:
    """Write each label near its point, where it best avoids other labels, points, the front and the edges."""
    front, *points = [axes.transData.transform(line.get_xydata()) for line in axes.lines]
    along_front = [np.linspace(start, end, 50) for start, end in itertools.pairwise(front)]
    on_front, on_points = np.concatenate([front, *along_front]), np.concatenate([front, *points])
    taken: list[Bbox] = []

    def cost(place: Place) -> float:
        box = place.box
        outside = not (axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max))
        hidden = 2 * box.padded(4).count_contains(on_points) + (box.count_contains(on_front) > 0)
        return 10 * outside + 5 * box.count_overlaps(taken) + hidden + math.hypot(*place.offset) / 25

    for label in sorted(labels, key=lambda label: (-label.y, label.x)):
        place = min(_places(axes, label, renderer), key=cost)
        taken.append(place.box)
        leader = {"arrowstyle": "-", "linewidth": 0.6, "color": "0.5", "shrinkA": 0, "relpos": (place.side, 0.5)}
        text: dict[str, Any] = {"fontsize": TEXT_SIZE, "textcoords": "offset points", "va": "center"}
        align = ("left", "center", "right")[round(2 * place.side)]
        axes.annotate(label.text, label[:2], place.offset, ha=align, arrowprops=leader, **text)


def _places(axes: Axes, label: Label, renderer: RendererAgg) -> list[Place]:
    """Where a label may stand, in pixels: its nearer edge at each of OFFSETS from its point."""
    text = axes.text(label.x, label.y, label.text, fontsize=TEXT_SIZE)
    width, height = text.get_window_extent(renderer).size
    text.remove()
    x, y = axes.transData.transform((label.x, label.y))
    scale = renderer.dpi / 72
    places = []
    for offset in OFFSETS:
        side = (1 - float(np.sign(offset[0]))) / 2
        corner = x + scale * offset[0] - side * width, y + scale * offset[1] - height / 2
        places.append(Place(offset, side, Bbox.from_bounds(*corner, width, height).padded(1)))
    return places
