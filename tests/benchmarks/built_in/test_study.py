"""The benchmark of critics with a built-in maximum: rows judged under the arm's own Q, options, a small run."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pgjax
from studies.built_in import fitting
from studies.built_in import study as built_in
from studies.common import results
from studies.common.acting import learned, tasks
from studies.common.command_line import CONSOLE
from tests.benchmarks.runs import run_study

pytestmark = pytest.mark.deep  # it runs the study

CRITICS = ("quadratic", "control points", "factored, 11 bins")
SEARCHES = ("Sobol 128", "CEM 2x64/6")  # which compile fast
WAYS = (*CRITICS, *(f"plain, {search}" for search in SEARCHES))
SIZES = (1, 64)
SMALL: dict[str, Any] = {
    "NUM_REGRET_STATES": 64,
    "NUM_FIT_STATES": 64,
    "NUM_FIT_ACTIONS": 4,
    "TRAINING_BATCH": 64,
    "LEARNING_RATE": 0.03,
    "SEARCHES": SEARCHES,
    "LIMITS": {"min_time_s": 1e-3, "max_time_s": 2e-3, "min_repetitions": 1},
}


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """The result of a small run, the actions it judged, where it was written and what was printed."""
    output = tmp_path_factory.mktemp("run") / "small.json"
    judged = []

    def regret(task, actions, scale):
        judged.append((task, actions, scale))
        return judge(task, actions, scale)

    def make_critics(*arguments):
        """All but one of the two that differ in the number of bins alone."""
        return {name: critic for name, critic in make_all(*arguments).items() if name in (*CRITICS, "plain")}

    make_all, judge = built_in.make_critics, built_in.regret
    arguments = ("--steps", "400", "--hidden-sizes", "8", "--batch-sizes", *SIZES, "--output", output)
    with pytest.MonkeyPatch.context() as monkeypatch, CONSOLE.capture() as capture:
        for name, value in (SMALL | {"regret": regret, "make_critics": make_critics}).items():
            for module in (built_in, fitting):
                monkeypatch.setattr(module, name, value, raising=False)
        monkeypatch.setattr(learned, "TRAINING_TARGETS", 4096)
        assert run_study(built_in.STUDY, *arguments) == 0
    return results.read_json(output), judged, output, capture.get()


def test_there_is_a_row_for_each_way_to_act_and_a_time_for_each_batch_size(small_run):
    result, _, _, _ = small_run
    assert tuple(row["method"] for row in result["rows"]) == WAYS
    timed = [(row["method"], row["batch_size"]) for row in result["times"]]
    assert timed == [(way, size) for size in SIZES for way in (built_in.FORWARD, *WAYS)]
    for row in result["times"]:
        assert row["time_per_decision_s"] * row["batch_size"] == pytest.approx(np.median(row["times_s"]), rel=1e-3)
        forward = next(r for r in result["times"] if r["batch_size"] == row["batch_size"])
        ratio = row["time_per_decision_s"] / forward["time_per_decision_s"]
        assert row["ratio_to_forward"] == pytest.approx(ratio)


def test_regret_is_that_of_the_arms_own_q(small_run):
    """In float64, with the maximum 0; and better than the uniform actions that it is measured by."""
    result, judged, _, _ = small_run
    arm = pgjax.problems.six_joint_arm(jax.random.key(0), 1)
    values = jax.jit(jax.vmap(arm.objective))
    for row, (task, actions, scale) in zip(result["rows"], judged, strict=True):
        with jax.enable_x64(True):
            lost = -np.asarray(
                values(np.asarray(task.states[:64], np.float64), np.asarray(actions[0], np.float64))
            )
        for given, expected in (("regret", lost), ("normalized_regret", lost / scale)):
            assert row[given]["median"] == pytest.approx(np.median(expected), rel=1e-9)
            assert row[given]["p90"] == pytest.approx(np.percentile(expected, 90), rel=1e-9)
        assert (row["regret_states"], row["bound_violations"]) == (64, 0)
        assert 0 < row["normalized_regret"]["median"] < (2 if row["method"] == "quadratic" else 0.9)
    assert len({row["regret"]["median"] for row in result["rows"]}) == len(WAYS)


def test_fits_are_the_same_for_both_searches_and_of_plausible_quality(small_run):
    rows = {row["method"]: row for row in small_run[0]["rows"]}
    first, second = (rows[way] for way in WAYS[-2:])
    assert (first["critic"], first["r_squared_mixture"]) == (second["critic"], second["r_squared_mixture"])
    for row in rows.values():
        assert -1 < row["r_squared_uniform"] < row["r_squared_mixture"] < 1
        assert row["r_squared_mixture"] > (-0.5 if row["method"] == "quadratic" else 0.05)
        assert row["fit_time_s"] > 0
    assert rows["factored, 11 bins"]["num_parameters"] == (12 + 1) * 8 + (8 + 1) * 6 * 11


def test_a_run_writes_json_and_shows_a_row_a_way(small_run):
    result, _, output, printed = small_run
    assert [path.name for path in output.parent.iterdir()] == ["small.json"]
    table = built_in.table(result)
    assert [column.header for column in table.columns][-4:] == ["us, 1", "us, 64", "x V, 1", "x V, 64"]
    assert list(table.columns[0].cells) == [built_in.FORWARD, *WAYS]
    assert all(way in printed for way in WAYS)
    assert "wrote" in printed


@pytest.fixture(scope="module")
def task():
    return tasks.make_task("six_joint_arm", 64, jax.random.key(1))


def test_critics_have_one_torso_and_differ_in_their_heads(task):
    critics = fitting.make_critics(task.box, (8, 4))
    assert set(critics) == {*CRITICS, "factored, 2 bins", "plain"}
    assert {critic.hidden_sizes for critic in critics.values()} == {(8, 4)}
    assert (critics["factored, 2 bins"].num_bins, critics["factored, 11 bins"].num_bins) == (2, 11)


def test_the_quality_of_a_fit_is_one_for_the_arm_itself_and_less_with_an_error(task, monkeypatch, key):
    for name in ("NUM_FIT_STATES", "NUM_FIT_ACTIONS"):
        monkeypatch.setattr(fitting, name, SMALL[name])

    class Arm:
        def apply(self, params, state, action):
            return task.objective((), state, action) + params

    for error, expected in ((0.0, 1.0), (1.0, None)):
        quality = fitting.fit_quality(Arm(), jnp.float32(error), task, jax.random.clone(key))
        for r_squared in quality.values():
            assert r_squared == pytest.approx(1.0, abs=1e-6) if expected else r_squared < 0.99


def test_actions_near_a_solution_are_near_and_in_the_box(task, key):
    solutions = jnp.asarray(task.problem.best_action, jnp.float32)
    near = fitting.near_solution(key, solutions, task.box)
    low, high = (bound.astype(np.float32) for bound in (task.box.low, task.box.high))
    assert np.all((np.asarray(near) >= low) & (np.asarray(near) <= high))
    assert 0.8 * fitting.NEAR_STD_RAD < np.std(near - solutions) < 1.1 * fitting.NEAR_STD_RAD


def test_an_overestimate_is_the_critics_value_less_the_true_one(task):
    """Of a critic that adds .5 to the arm's Q for half of the scale: 1."""

    class Critic:
        def apply(self, params, state, action):
            return params + task.objective(task.params, state, action)

    way = built_in.Decider("above", Critic(), jnp.float32(0.5), lambda *_: None)
    actions = jnp.zeros((len(task.states), 6))
    assert built_in.overestimate(way, task, actions, np.full(64, 0.5)) == pytest.approx(1, abs=1e-5)
