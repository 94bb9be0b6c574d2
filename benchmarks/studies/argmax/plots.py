"""The study's figures, drawn from its result alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator

from studies.argmax.deadlines import NUM_DIMS, checked_rows
from studies.common.figures import (
    COLORS,
    FLOOR_NOTE,
    LINES,
    MAX_COLUMNS,
    REGRET_FLOOR,
    Rows,
    add_legend,
    machine_text,
    make_looks,
    make_panels,
    median_regret,
    style_of,
    timed_rows,
    title_of,
    unique,
)
from studies.common.pareto import draw_pareto

# The powers of the distance with which Q may fall near its maximum, by a word in a problem family's name: the
# maximum of a quadratic lies inside the box (2), in a corner (1) or, mostly, on a face, which is between.
ORDERS = {"quadratic": (1, 2), "peak": (1,)}
UNIFORM, GRID = "uniform search", "grid"


def figures(result: Mapping[str, Any]) -> dict[str, Figure]:
    """Time against regret; regret against dimensions; against cost. None of a result without timed rows.

    Raises: ValueError: a row lacks a field.
    """
    checked_rows(result)
    rows = timed_rows(result)
    drawings = {"pareto": draw_main_pareto, "dimension": draw_dimension, "anytime": draw_anytime}
    return {name: draw(rows, result) for name, draw in drawings.items()} if rows else {}


def draw_main_pareto(rows: Rows, result: Mapping[str, Any]) -> Figure:
    """`draw_pareto` of the problems that were timed at several batch sizes, or else of all."""
    sizes = Counter(problem for problem, _ in {(row["problem"], row["batch_size"]) for row in rows})
    main = [row for row in rows if sizes[row["problem"]] > 1] or rows
    return draw_pareto([{**row, "method": _short_name(row)} for row in main], result, min_gain=2.0)


def _short_name(row: Mapping[str, Any]) -> str:
    """Family and budget of a row made for a budget: it has one setting for it, and too long a name for a label."""
    return f"{row['family']} @ {row['budget']}" if row.get("budget") else row["method"]


def draw_dimension(rows: Rows, result: Mapping[str, Any]) -> Figure:
    """Regret against dimensions n at the budget with most rows: a panel a family of problems, a line a method.

    Red lines are what theory says of uniform search and of grids (see `uniform_search_theory`, `grid_theory`),
    each scaled to meet the measured point nearest to six dimensions: the course is theory's, the height is not.
    """
    budget, panel_rows = _sweep(rows, result)
    columns = min(max(len(panel_rows), 1), MAX_COLUMNS)
    figure, panels = make_panels(math.ceil(len(panel_rows) / columns) or 1, columns, 5.0)
    figure.suptitle(f"What dimensions cost, at a budget of {budget:,} evaluations", fontsize=13)
    styles = line_styles(rows)
    for axes, (family, own) in zip(panels, panel_rows.items(), strict=False):
        _prepare(axes, family.replace("_", " "), "dimensions n of the action")
        ticks = sorted({row["num_dims"] for row in own})
        axes.set_xticks(ticks, [str(n) for n in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        _draw_lines(axes, own, "num_dims", styles)
        _draw_theory(axes, own, next((orders for word, orders in ORDERS.items() if word in family), ()), budget)
    _finish(figure, panels, columns, len(panel_rows), "no sweep over dimensions in this result")
    return figure


def _sweep(rows: Rows, result: Mapping[str, Any]) -> tuple[int, dict[str, list[Mapping[str, Any]]]]:
    """The budget with most rows, and its rows by families of problems; each method at several dimensions."""
    families: dict[str, list[Mapping[str, Any]]] = {}
    for row in best_tuned(rows):
        family = result.get("problems", {}).get(row["problem"], {}).get("family") or row["problem"]
        families.setdefault(family, []).append(row)
    swept = {name: own for name, own in families.items() if len({row["num_dims"] for row in own}) > 1}
    counts = Counter(row["budget"] for own in swept.values() for row in own)
    budget = max(counts, key=lambda budget: (counts[budget], budget), default=0)
    chosen = {name: [row for row in own if row["budget"] == budget] for name, own in swept.items()}
    for name, own in chosen.items():
        sizes = Counter(method for method, _ in {(row["family"], row["num_dims"]) for row in own})
        chosen[name] = [row for row in own if sizes[row["family"]] > 1]
    return budget, {name: own for name, own in chosen.items() if own}


def draw_anytime(rows: Rows, result: Mapping[str, Any]) -> Figure:
    """Regret against cost, and below it against time: a column a six-dimensional problem, a line a method.

    A line joins the best tuned setting of each budget. Trained policies are points.
    """
    points = [row for row in best_tuned(rows) if row["num_dims"] == NUM_DIMS]
    policies = [row for row in _of_smallest_batch(rows) if row.get("setting") == "policy"]
    problems = unique(row["problem"] for row in points)
    columns = min(max(len(problems), 1), MAX_COLUMNS)
    figure, panels = make_panels(2 * math.ceil(len(problems) / columns) or 2, columns, 3.2)
    figure.suptitle(f"What more search gains: {machine_text(result)}", fontsize=13)
    styles, looks = line_styles(rows), make_looks(rows)
    for number, problem in enumerate(problems):
        above = panels[2 * columns * (number // columns) + number % columns]
        below = panels[2 * columns * (number // columns) + number % columns + columns]
        own = [row for row in points if row["problem"] == problem]
        _prepare(above, title_of(problem, result), "cost, evaluations (a gradient: 3)")
        _prepare(below, "", f"time per decision, batch of {own[0]['batch_size']:,}")
        below.xaxis.set_major_formatter(EngFormatter("s"))
        _draw_lines(above, own, "cost", styles)
        _draw_lines(below, own, "time_per_decision_s", styles)
        for row in policies:
            if row["problem"] == problem and math.isfinite(median_regret(row)):
                look = looks[row["method"]]
                point = row["time_per_decision_s"], max(median_regret(row), REGRET_FLOOR)
                below.plot(*point, **style_of(look), linestyle="", label=look.legend)
    _finish(figure, panels, columns, len(problems), "no tuned setting in this result")
    return figure


def best_tuned(rows: Rows) -> list[Mapping[str, Any]]:
    """The row with the lowest median regret for each problem, method family and budget, fixed settings apart."""
    best: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in _of_smallest_batch(rows):
        if row.get("budget") and math.isfinite(median_regret(row)):
            key = row["problem"], row["family"], row["budget"]
            best[key] = min(best.get(key, row), row, key=median_regret)
    return list(best.values())


def _of_smallest_batch(rows: Rows) -> Rows:
    """The rows of each problem's smallest batch: times of different batch sizes are not to be mixed."""
    smallest: dict[str, int] = {}
    for row in rows:
        smallest[row["problem"]] = min(smallest.get(row["problem"], row["batch_size"]), row["batch_size"])
    return [row for row in rows if row["batch_size"] == smallest[row["problem"]]]


def line_styles(rows: Rows) -> dict[str, dict[str, Any]]:
    """How each family's line is drawn; the stroke changes when the colors begin again."""
    by_method = make_looks(rows)
    looks = {row["family"]: by_method[row["method"]] for row in rows if row["family"] != "policy"}
    return {
        family: style_of(look)
        | {"linestyle": LINES[number // len(COLORS) % len(LINES)], "markersize": 6, "markeredgewidth": 0.5}
        for number, (family, look) in enumerate(looks.items())
    }


def uniform_search_theory(num_dims: int, budget: int, order: int) -> float:
    """Median regret of N uniform points where Q falls as distance^order, up to a factor without n.

    Half of all tries have no point nearer than r where N V_n r^n / 2^n = log 2 (V_n: volume of the unit ball):
    for large N the regret is r^order ~ N^(-order / n). A uniform action's grows as n^(order / 2).
    """
    log_volume = num_dims / 2 * math.log(math.pi) - math.lgamma(num_dims / 2 + 1)
    log_distance = (math.log(math.log(2) / budget) + num_dims * math.log(2) - log_volume) / num_dims
    return math.exp(order * (log_distance - math.log(num_dims) / 2))


def grid_theory(num_dims: int, budget: int, order: int) -> float:
    """Regret of the k^n-point grid, k = floor(N^(1/n)), up to a factor without n; NaN for k = 1.

    The mean squared distance to a uniform point is n h^2 / 12 with h = 2 / (k - 1), and a uniform action's regret
    grows as n^(order / 2): what remains is h^order.
    """
    num_points = math.floor(budget ** (1 / num_dims) + 1e-9)
    return math.nan if num_points < 2 else (2 / (num_points - 1)) ** order


def _draw_theory(axes: Axes, rows: Rows, orders: Sequence[int], budget: int) -> None:
    """The courses of theory, each through the measured point nearest to six dimensions."""
    dims = sorted({row["num_dims"] for row in rows})
    courses = [(UNIFORM, uniform_search_theory, order, LINES[-order], f": N^(-{order}/n)") for order in orders]
    if len(orders) == 1:  # else the maximum may lie on a face or in a corner, where grids have points
        courses.append((GRID, grid_theory, orders[0], "--", ""))
    for method, theory, order, stroke, rate in courses:
        measured = _regret_by("num_dims", [row for row in rows if row["family"] == method])
        if not measured:
            continue
        anchor = min(measured, key=lambda n: abs(n - NUM_DIMS))
        scale = measured[anchor] / theory(int(anchor), budget, order)
        course = [(n, scale * theory(n, budget, order)) for n in dims]
        shown = [point for point in course if point[1] >= REGRET_FLOOR]
        label = f"theory, {method}{rate}"
        axes.plot(*zip(*shown, strict=True), color="crimson", linewidth=1, linestyle=stroke, label=label)


def _draw_lines(axes: Axes, rows: Rows, field: str, styles: Mapping[str, Mapping[str, Any]]) -> None:
    """Median regret against a field, a line a method."""
    for family in unique(row["family"] for row in rows):
        points = _regret_by(field, [row for row in rows if row["family"] == family])
        axes.plot(list(points), list(points.values()), **styles[family], markeredgecolor="white", label=family)


def _regret_by(field: str, rows: Rows) -> dict[float, float]:
    """Median regret by a field's value, ascending; of rows that share it, the geometric mean."""
    logs: dict[float, list[float]] = {}
    for row in sorted(rows, key=lambda row: row[field]):
        logs.setdefault(row[field], []).append(math.log(max(median_regret(row), REGRET_FLOOR)))
    return {value: math.exp(sum(own) / len(own)) for value, own in logs.items()}


def _prepare(axes: Axes, title: str, what: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel=what)
    axes.set_title(title, fontsize=11)


def _finish(figure: Figure, panels: Sequence[Axes], columns: int, num_shown: int, missing: str) -> None:
    """Labels on the left, no empty panels, the legend; or what is missing."""
    if not num_shown:
        panels[0].text(0.5, 0.5, missing, transform=panels[0].transAxes, ha="center")
    for axes in panels[::columns]:
        axes.set_ylabel("median regret / regret\nof a uniform action")
    for axes in panels:
        axes.set_visible(bool(axes.lines) or not num_shown)
    add_legend(figure, panels, FLOOR_NOTE)
