"""The figures of a made-up result of the argmax benchmark: points, theory, empty results."""

import math

import numpy as np
import pytest
from matplotlib.lines import Line2D

from studies.argmax import plots as argmax_plots
from studies.common import figures, pareto
from tests.benchmarks.argmax.made_results import FAMILIES, make_result, make_row


@pytest.fixture(scope="module")
def result():
    return make_result()


@pytest.fixture(scope="module")
def rows(result):
    return [row for row in result["rows"] if not row["skipped"]]


def points_of(line: Line2D) -> dict[float, float]:
    """What a line shows: x -> y."""
    return dict(np.asarray(line.get_xydata()).tolist())


def test_the_pareto_figure_shows_the_problems_timed_at_several_batch_sizes(rows, result):
    few = [row for row in rows if row["method"] in ("grid @ 64", "L-BFGS 16 starts @ 256", "Gaussian mean")]
    figure = argmax_plots.draw_main_pareto(few, result)
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 9
    assert titles[:2] == ["six-joint arm, batch of 1", "six-joint arm, batch of 256"]
    assert "L-BFGS @ 256" in {text.get_text() for text in figure.axes[0].texts}
    one_size = [row for row in few if row["problem"] == "rastrigin_6"]
    assert len(argmax_plots.draw_main_pareto(one_size, result).axes) == 1


def test_families_of_methods_are_told_apart(rows):
    styles = argmax_plots.line_styles(rows)
    assert set(styles) == set(FAMILIES)
    assert len({(style["color"], style["linestyle"]) for style in styles.values()}) == len(FAMILIES)
    looks = {(look.color, look.marker) for look in figures.make_looks(rows).values()}
    assert len(looks) == len(FAMILIES) + 2, "two for the policies"


def test_the_dimension_figure_has_a_panel_a_family_and_theory_through_the_measured_point(rows, result):
    figure = argmax_plots.draw_dimension(rows, result)
    assert [axes.get_title() for axes in figure.axes] == ["quadratics", "planted peaks"]
    for axes in figure.axes:
        lines = {str(line.get_label()): points_of(line) for line in axes.lines}
        is_quadratic = axes.get_title() == "quadratics"
        theories = {"theory, uniform search: N^(-1/n)"}
        theories |= {"theory, uniform search: N^(-2/n)" if is_quadratic else "theory, grid"}
        assert set(lines) == set(FAMILIES) | theories
        assert list(lines["grid"]) == [1, 2, 3, 4, 6, 8, 12, 24]
        for theory in theories:
            method = theory.removeprefix("theory, ").partition(":")[0]
            assert lines[theory][6] == pytest.approx(lines[method][6])
    assert max(lines["theory, grid"]) == 8, "1,024 evaluations give 2 points a dimension up to n = 10"


def test_problems_of_one_family_and_size_are_one_point(result):
    rows = [
        make_row(f"quadratic_{dims}", f"{dims}", regret=regret, num_dims=dims)
        for dims, regret in ((2, 1e-2), (4, 1e-1))
    ]
    rows.append(make_row("another", "4", regret=1e-3, num_dims=4))
    rows.append(make_row("another", "in one dimension alone", family="Adam", num_dims=4))
    problems = result["problems"] | {"another": {"family": "quadratics"}}
    (line,) = argmax_plots.draw_dimension(rows, {"problems": problems}).axes[0].lines
    assert points_of(line) == pytest.approx({2: 1e-2, 4: 1e-2})


@pytest.mark.parametrize("order", [1, 2])
def test_uniform_search_theory_against_sampling(order, rng):
    """The median over tries of the best of N uniform points around the center; both sides in units of n = 2."""

    def measured(num_dims):
        points = rng.uniform(-1, 1, (400, 512, num_dims))
        distance = ((points**2).sum(-1) ** (order / 2)).min(-1)
        return float(sorted(distance)[200]) / num_dims ** (order / 2)

    ratio = argmax_plots.uniform_search_theory(4, 512, order) / argmax_plots.uniform_search_theory(2, 512, order)
    # Of a median of 400, 5 sigma are some 20 % for the squared distance in two dimensions.
    assert measured(4) / measured(2) == pytest.approx(ratio, rel=0.25 if order == 2 else 0.13)


def test_grid_theory():
    assert argmax_plots.grid_theory(6, 729, 2) == pytest.approx(1.0)
    assert argmax_plots.grid_theory(3, 125, 1) == pytest.approx(0.5)
    assert math.isnan(argmax_plots.grid_theory(24, 1024, 2))


def test_the_anytime_figure_draws_the_best_tuned_setting_over_cost_and_time(rows, result):
    better = make_row("six_joint_arm", "other CEM", regret=1e-5, family="cross-entropy", budget=256, cost=250)
    figure = argmax_plots.draw_anytime([*rows, better], result)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) == 2 * 8
    cost, time = figure.axes[0], figure.axes[3]
    assert cost.get_title() == "six-joint arm"
    assert time.get_xlabel() == "time per decision, batch of 1"
    lines = {str(line.get_label()): points_of(line) for line in cost.lines}
    assert set(lines) == set(FAMILIES)
    assert lines["cross-entropy"][250] == pytest.approx(1e-5)
    assert {line.get_label() for line in time.lines} - set(FAMILIES) == {
        "policy, mean action",
        "policy, sampled action",
    }


def test_the_front_is_named_at_each_gain():
    own = [make_row("x", f"grid {i}", time_s=1e-5 * 2**i, regret=1.5**-i) for i in range(5)]
    figure = pareto.draw_pareto(own, {}, min_gain=2.0)
    assert {text.get_text() for text in figure.axes[0].texts} == {"grid 0", "grid 2", "grid 4"}


@pytest.mark.parametrize(
    "rows", [[make_row("x", "one", regret=-1e-9)], [make_row("x", "one", normalized_regret=None)]]
)
def test_figures_come_out_of_little(rows):
    figures = argmax_plots.figures({"rows": rows})
    assert list(figures) == ["pareto", "dimension", "anytime"]
    assert all(figure.axes for figure in figures.values())


def test_what_is_missing_is_said():
    rows = [make_row("x", "one", setting="published", budget=None)]
    for draw in (argmax_plots.draw_dimension, argmax_plots.draw_anytime):
        assert "in this result" in draw(rows, {}).axes[0].texts[0].get_text()
    assert argmax_plots.figures({"rows": []}) == {}
    with pytest.raises(ValueError, match=r"rows\[0\] \(one\): expected cost"):
        argmax_plots.figures({"rows": [make_row("x", "one", cost=None)]})
