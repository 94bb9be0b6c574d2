"""Draw the two figures of a benchmark result: `python benchmarks/plots.py RESULT.json [--output DIR]`.

Reads the JSON alone, so that a figure can be drawn anywhere and at any time from a committed result.
"""

import argparse
import itertools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from harness import read_json
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator
from matplotlib.transforms import Bbox

Rows = Sequence[Mapping[str, Any]]

BATCH_SIZES = (1, 256, 4096)
REGRET_FLOOR = 1e-6  # below this, float32 hardly tells two actions apart
FLOOR_NOTE = f"regrets below {REGRET_FLOOR:.0e} are drawn at {REGRET_FLOOR:.0e}"
MAX_LINES = 16
MAX_COLUMNS = 3
# Okabe and Ito (2008), safe for color-blind readers; their yellow is left out: too pale on white.
POLICY_COLOR = "#D55E00"
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#7F7F7F")
MARKERS = ("o", "s", "^", "v", "P", "X", "h", "<")  # one more than colors, so that no pair repeats before 56
LINES = ("-", "--", ":", "-.")
TEXT_SIZE = 9
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


class Look(NamedTuple):
    """How a method is drawn."""

    color: str
    marker: str
    legend: str


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


def plot_result(path: str | os.PathLike[str], output: str | os.PathLike[str] | None = None) -> list[Path]:
    """Write `<stem>_pareto.png` and `<stem>_scaling.png` beside a result, or into the folder `output`.

    Raises: ValueError: the file holds no timed row.
    """
    return write_figures(path, output, {"pareto": draw_pareto, "scaling": draw_scaling})


def write_figures(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str] | None,
    drawings: Mapping[str, Callable[[Rows, Mapping[str, Any]], Figure]],
) -> list[Path]:
    """Write `<stem>_<name>.png` for each drawing, of a result's timed rows; returns their paths."""
    path = Path(path)
    result = read_json(path)
    rows = [row for row in result.get("rows", ()) if as_number(row.get("time_per_decision_s")) > 0]
    if not rows:
        raise ValueError(f"{path.name}: expected rows with time_per_decision_s, got none")
    folder = path.parent if output is None else Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, draw in drawings.items():
        written.append(folder / f"{path.stem}_{name}.png")
        draw(rows, result).savefig(written[-1], dpi=150)
    return written


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
            _place_labels(axes, texts, canvas.get_renderer())
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


def make_panels(num_rows: int, num_columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of panels, row by row, each row `height` inches with a common vertical axis."""
    figure = Figure(figsize=(12, 1 + height * num_rows), layout="constrained")
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


def _place_labels(axes: Axes, labels: Iterable[Label], renderer: RendererAgg) -> None:
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
    """What the numbers were measured on, in a few words."""
    machine = result.get("machine", {})
    device = machine.get("device_kind") or "unknown device"
    cores = machine.get("usable_cores")
    name = f"{machine.get('cpu') or 'CPU'}, {cores} cores" if device == "cpu" else device
    return f"{name}, JAX {machine.get('versions', {}).get('jax') or '?'}"


def main(plot: Callable[..., list[Path]] = plot_result) -> None:
    """Parse the command line, draw, and name what was written."""
    parser = argparse.ArgumentParser(description="Draw the figures of a benchmark result.")
    parser.add_argument("result", type=Path, help="JSON written by a benchmark")
    parser.add_argument("--output", type=Path, help="folder for the figures (default: beside the JSON)")
    options = parser.parse_args()
    try:
        written = plot(options.result, options.output)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(*written, sep="\n")


if __name__ == "__main__":
    main()
