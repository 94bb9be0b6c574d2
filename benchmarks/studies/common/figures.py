"""What the studies' figures share: colors, panels, legends, and how rows are read for them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]
REGRET_FLOOR = 1e-6  # below this, float32 hardly tells two actions apart
FLOOR_NOTE = f"regrets below {REGRET_FLOOR:.0e} are drawn at {REGRET_FLOOR:.0e}"
MAX_COLUMNS = 3
# Okabe and Ito (2008), safe for color-blind readers; their yellow is left out: too pale on white.
POLICY_COLOR = "#D55E00"
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#7F7F7F")
MARKERS = ("o", "s", "^", "v", "P", "X", "h", "<")  # one more than colors, so that no pair repeats before 56
LINES = ("-", "--", ":", "-.")
TEXT_SIZE = 9


class Look(NamedTuple):
    """How a method is drawn."""

    color: str
    marker: str
    legend: str


def make_looks(rows: Rows) -> dict[str, Look]:
    """A color and marker a family, in the order of the rows; for policies by what they give."""
    families = unique(row["family"] for row in rows if row["family"] != "policy")
    others = {
        family: Look(color, marker, family)
        for family, color, marker in zip(families, itertools.cycle(COLORS), itertools.cycle(MARKERS), strict=False)
    }
    mean = Look(POLICY_COLOR, "D", "policy, mean action")
    sample = Look(POLICY_COLOR, "*", "policy, sampled action")
    return {row["method"]: others.get(row["family"], mean if "mean" in row["method"] else sample) for row in rows}


def style_of(look: Look) -> dict[str, Any]:
    """A look as keyword arguments of `Axes.plot`."""
    size = {"*": 14, "D": 7}.get(look.marker, 8)
    return {"color": look.color, "marker": look.marker, "markersize": size, "linewidth": 1.6}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, of that many inches, that draws without a display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def two_panels(width: float, height: float, ratios: tuple[float, float] = (1, 1)) -> tuple[Figure, Axes, Axes]:
    """A figure of two panels side by side, whose widths have these ratios."""
    figure = new_figure(width, height)
    left, right = figure.subplots(1, 2, width_ratios=ratios)
    return figure, left, right


def make_panels(num_rows: int, num_columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of panels, row by row, each row `height` inches with a common vertical axis."""
    figure = new_figure(12, 1 + height * num_rows)
    panels = list(figure.subplots(num_rows, num_columns, sharey="row", squeeze=False).flat)
    for axes in panels:
        axes.grid(color="0.92")
        axes.set_axisbelow(True)
    return figure, panels


def add_legend(figure: Figure, panels: Iterable[Axes], note: str) -> None:
    """One legend below all panels, each label once, with a note as its title."""
    handles: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    text: dict[str, Any] = {"fontsize": TEXT_SIZE, "title": note, "title_fontsize": TEXT_SIZE}
    shape: dict[str, Any] = {"ncol": 4, "frameon": False, "handlelength": 3.5}
    if handles:
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", **text, **shape)


def timed_rows(result: Mapping[str, Any]) -> Rows:
    """The rows of a result that were timed."""
    return [row for row in result.get("rows", ()) if as_number(row.get("time_per_decision_s")) > 0]


def median_regret(row: Mapping[str, Any]) -> float:
    """Median normalized regret; NaN where the row has none."""
    return as_number((row.get("normalized_regret") or {}).get("median"))


def as_number(value: Any) -> float:
    """The value, NaN for None."""
    return math.nan if value is None else float(value)


def unique(values: Iterable[Any]) -> list[Any]:
    """The values, each once, in the order in which they come first."""
    return list(dict.fromkeys(values))


def title_of(problem: str, result: Mapping[str, Any]) -> str:
    """A problem's title if the result gives one, else its name."""
    return result.get("problems", {}).get(problem, {}).get("title") or problem.replace("_", " ")


def machine_text(result: Mapping[str, Any]) -> str:
    """What the numbers were measured on, in a few words; all runs of a result are of one machine."""
    machine = (result.get("runs") or [{}])[-1]
    device = machine.get("device_kind") or "unknown device"
    cores = machine.get("usable_cores")
    name = f"{machine.get('cpu') or 'CPU'}, {cores} cores" if device == "cpu" else device
    return f"{name}, JAX {machine.get('versions', {}).get('jax') or '?'}"
