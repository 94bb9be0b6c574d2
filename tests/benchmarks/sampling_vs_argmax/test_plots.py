"""Pareto fronts by definition; both figures of complete and incomplete results."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from studies.common import figures, pareto
from studies.sampling_vs_argmax import plots

METHODS = {
    "Gaussian sample": ("policy", 1e-6, 0.5),
    "Gaussian mean": ("policy", 9e-7, 0.1),
    "grid 3^6": ("grid", 1e-4, 0.3),
    "Sobol 1024": ("random search", 5e-5, 0.02),
    "CEM 2x64": ("cross-entropy", 2e-5, 0.0),
}


def make_row(problem, method, batch_size, **changes):
    family, time_s, regret = METHODS.get(method, ("other", 1e-5, 0.1))
    row = {"problem": problem, "method": method, "family": family, "batch_size": batch_size, "skipped": None}
    statistics = {"median": regret, "p90": 2 * regret, "p99": 3 * regret}
    row |= {"time_per_decision_s": time_s + 1e-5 / batch_size, "normalized_regret": statistics}
    return row | changes


@pytest.fixture
def rows():
    sizes = (1, 256, 4096)
    arm = [make_row("six_joint_arm", method, size) for method in METHODS for size in sizes]
    critic = [
        make_row("critic_2x64", method, size, normalized_regret=None) for method in METHODS for size in sizes
    ]
    skipped = {
        "problem": "critic_2x64",
        "method": "grid 9^6",
        "family": "grid",
        "batch_size": 1,
        "skipped": "too long",
    }
    return [*arm, *critic, skipped]


def dominates(a, b):
    return all(a <= b) and any(a < b)


def test_pareto_front_of_known_points():
    times = [3.0, 1.0, 2.0, 2.0, 4.0, 1.0]
    regrets = [1.0, 5.0, 3.0, 4.0, 1.0, 5.0]
    assert pareto.pareto_front(times, regrets) == [1, 2, 0]


def test_pareto_front_leaves_out_what_is_not_finite():
    assert pareto.pareto_front([1.0, np.nan, 2.0, np.inf, 3.0], [np.nan, 0.0, 2.0, 0.0, 1.0]) == [2, 4]
    assert pareto.pareto_front([], []) == []


def test_pareto_front_by_its_definition(rng):
    points = rng.integers(0, 12, (60, 2)).astype(float)
    front = pareto.pareto_front(*points.T)
    for i, point in enumerate(points):
        beaten = any(dominates(other, point) for other in points)
        repeated = any((points[j] == point).all() for j in range(i))
        assert (i in front) == (not beaten and not repeated)
    assert sorted(front, key=lambda i: points[i, 0]) == front


def draw(rows):
    return plots.figures({"rows": rows})


def test_pareto_panels_hold_every_judged_method_and_name_the_front(rows):
    timed = [row for row in rows if not row["skipped"]]
    figure = pareto.draw_pareto(timed, {})
    assert [axes.get_title() for axes in figure.axes] == [
        f"six joint arm, batch of {size}" for size in ("1", "256", "4,096")
    ]
    for axes in figure.axes:
        front, *points = axes.lines
        assert len(points) == len(METHODS)
        assert np.min(np.asarray(front.get_ydata())) == figures.REGRET_FLOOR, "a regret of 0 is drawn at the floor"
        assert {text.get_text() for text in axes.texts} == {"Gaussian sample", "Gaussian mean", "CEM 2x64"}


def test_labels_do_not_overlap(rows):
    figure = pareto.draw_pareto([row for row in rows if not row["skipped"]], {})
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for axes in figure.axes:
        boxes = [Text.get_window_extent(text, canvas.get_renderer()) for text in axes.texts]
        assert all(box.count_overlaps(boxes) == 1 for box in boxes), "each overlaps itself alone"


@pytest.mark.parametrize("left_out", ["regrets", "batches", "panel"])
def test_figures_come_out_of_incomplete_results(rows, left_out):
    if left_out == "regrets":
        rows = [row | {"normalized_regret": None} for row in rows]
    if left_out == "batches":
        rows = [row | {"batch_size": 17} for row in rows if row["batch_size"] == 1]
    if left_out == "panel":
        rows.append(make_row("quadratic", "CEM 2x64", 256))
    assert {name: len(figure.axes) > 0 for name, figure in draw(rows).items()} == {"pareto": True, "scaling": True}


def test_a_result_without_times_has_no_figures(rows):
    assert draw([row for row in rows if row["skipped"]]) == {}


def test_scaling_shows_few_methods_whole_and_of_many_the_extremes(rows):
    timed = [row for row in rows if not row["skipped"]]
    figure = plots.draw_scaling(timed, {})
    assert [axes.get_title() for axes in figure.axes] == ["six joint arm", "critic 2x64"]
    assert {line.get_label() for line in figure.axes[0].lines} == set(METHODS)
    many = [
        make_row("critic_2x64", f"Sobol {i}", 256, family="random search", time_per_decision_s=1e-6 * i)
        for i in range(2, 20)
    ]
    figure = plots.draw_scaling(timed + many, {})
    shown = {line.get_label() for line in figure.axes[0].lines}
    assert shown == set(METHODS) - {"Sobol 1024"} | {"Sobol 2", "Sobol 1024"}
