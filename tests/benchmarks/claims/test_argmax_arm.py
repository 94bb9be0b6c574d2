"""Claim a on the arm: its targets, what a decision loses by hand, which search is chosen, what is timed."""

import logging
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pgjax.problems.arm import tool_pose
from studies.claims.argmax import arm
from tests.benchmarks.claims.argmax_trials import TIMES_S, ZOOM, quadratic_trial, rising

pytestmark = pytest.mark.deep  # it runs the study


def test_targets_of_the_arm_can_be_reached_and_those_to_choose_on_are_others(monkeypatch):
    """Their poses against kinematics by NumPy, and the best of 5^6 actions by hand."""
    monkeypatch.setattr(arm, "NUM_TARGETS", 1)
    monkeypatch.setattr(arm, "NUM_TUNING", 2)
    trial = arm.arm_trial(jax.random.key(0), jax.random.key(1), 2)
    task = trial.task
    assert (trial.report.tolist(), trial.tuning.tolist()) == ([0, 1], [2, 3])
    assert len(np.unique(np.asarray(task.states), axis=0)) == 4
    angles = np.stack(np.meshgrid(*[np.linspace(-math.pi, math.pi, 5)] * 6, indexing="ij"), -1).reshape(-1, 6)
    poses, states = tool_pose(angles, "ur5e"), np.asarray(task.states, np.float64)
    errors = (poses[None] - states[:, None]) ** 2
    weighted = errors[..., :3].sum(-1) + 0.1 / 2 * errors[..., 3:].sum(-1)
    with jax.debug_key_reuse(False):
        lost = arm.lost_by(trial, arm.act_of(task, arm.GRID), trial.tuning, jax.random.key(0))
    uniform = tool_pose(np.random.default_rng(0).uniform(-math.pi, math.pi, (5000, 6)), "ur5e")
    squares = (uniform[None] - states[:, None]) ** 2
    of_uniform = (squares[..., :3].sum(-1) + 0.1 / 2 * squares[..., 3:].sum(-1)).mean(1)
    np.testing.assert_allclose(trial.scale, of_uniform, rtol=0.12)  # 5 sigma of 1,024
    np.testing.assert_allclose(lost, (weighted.min(axis=1) / trial.scale)[trial.tuning], rtol=1e-3)
    assert task.problem is not None
    assert task.problem.maximum.tolist() == [0.0] * 4


def test_the_critics_halves_have_known_maxima():
    trial = arm.critic_trial()
    problem = trial.task.problem
    assert problem is not None
    assert len(trial.report) == len(trial.tuning) == 32
    assert sorted([*trial.report, *trial.tuning]) == list(range(64))
    assert len(np.unique(np.asarray(trial.task.states), axis=0)) == 64
    with jax.enable_x64(True):
        states, best = (jnp.asarray(x, np.float64) for x in (trial.task.states[:32], problem.best_action))
        values = jax.vmap(trial.task.objective, (None, 0, 0))(trial.task.params, states, best)
    np.testing.assert_allclose(values, problem.maximum[:32], rtol=1e-6)


TARGETS = np.array([[0.5, 0.0], [-0.5, 0.05], [0.0, -0.05], [0.25, 0.0], [-0.25, 0.0], [0.0, 0.0]])
HIGH = np.array([1.0, 0.1])


@pytest.fixture
def quadratic():
    """A maximum of 1,000, where float32 would hide a regret of 1e-5; four states to report on, two others."""
    return quadratic_trial(TARGETS, HIGH, 4, maximum=1000.0)


def off_by(*shift, seen=None):
    """A way to act that misses the target by so much, and notes its keys."""

    def act(params, key, state):
        assert params == 1000
        if seen is not None:
            seen.append(jax.random.key_data(jax.random.clone(key)).tolist())
        return SimpleNamespace(action=np.asarray(state) + np.asarray(shift, np.float32))

    return act


def place(*action):
    """A way to act that does the same everywhere."""
    return lambda params, key, state: SimpleNamespace(action=np.asarray(action, np.float32))


def test_a_trial_has_the_regret_of_uniform_actions_as_its_scale(quadratic):
    """|s|^2 plus a third of the squared half widths, in the mean of 1,024 actions."""
    assert (quadratic.report.tolist(), quadratic.tuning.tolist()) == ([0, 1, 2, 3], [4, 5])
    expected = np.sum(TARGETS**2, axis=1) + np.sum(HIGH**2) / 3
    np.testing.assert_allclose(quadratic.scale, expected, rtol=0.15)


def test_what_is_lost_is_rescored_in_float64_under_a_key_for_each_state(quadratic, key):
    seen: list[list[int]] = []
    for index in (quadratic.report, quadratic.tuning):
        lost = arm.lost_by(quadratic, off_by(3e-3, -4e-3, seen=seen), index, jax.random.clone(key))
        assert lost.dtype == np.float64
        np.testing.assert_allclose(lost, 25e-6 / quadratic.scale[index], rtol=1e-3)
    assert len({tuple(data) for data in seen[:4]}) == 4


def test_an_action_outside_the_box_loses_everything(quadratic, key):
    """The box's bound itself, in the action's own dtype, is inside; what is not a number is not."""
    found = []
    for action in ([1.0, 0.1], [-1.0, -0.1], [1.0001, 0.0], [0.0, -0.1001], [math.nan, 0.0]):
        found.append(arm.lost_by(quadratic, place(*action), quadratic.report, jax.random.clone(key)))
    assert np.all(np.isfinite(found[:2]))
    assert np.all(np.isposinf(found[2:]))
    assert float(np.float32(0.1)) > 0.1
    with jax.debug_key_reuse(False):
        outside = place(2.0, 0.0)
        times = {"in": np.array([2.0]), "out": np.array([1.0])}
        chosen = arm.choose(quadratic, {"in": off_by(0.2, 0.0), "out": outside}, times, key)
    assert chosen == "in"


def test_the_fastest_good_search_is_chosen_and_else_the_best(quadratic, key):
    """Good on the states to choose on; what is lost on those to report on, or another round's time, has no say."""
    acts = {"exact": off_by(0, 0), "good": off_by(0.01, 0), "poor": off_by(0.1, 0), "bad": off_by(0.2, 0)}
    of_rounds = {"exact": [3.0, 0.0], "good": [2.0, 9.0], "poor": [1.0, 1.0], "bad": [0.5, 0.5]}
    times = {name: np.array(times_s) for name, times_s in of_rounds.items()}

    def good_where_reported(params, key, state):
        reported = np.any(np.all(np.asarray(state) == np.asarray(TARGETS[:4], np.float32), axis=1))
        return SimpleNamespace(action=np.asarray(state) + np.float32(0.0 if reported else 0.06))

    with jax.debug_key_reuse(False):
        assert arm.choose(quadratic, acts, times, key) == "good"
        assert arm.choose(quadratic, acts, times | {"exact": np.array([1.9])}, key) == "exact"
        assert arm.choose(quadratic, {name: acts[name] for name in ("bad", "poor")}, times, key) == "poor"
        acts["elsewhere"], times["elsewhere"] = good_where_reported, np.array([0.1])
        assert np.all(arm.lost_by(quadratic, good_where_reported, quadratic.report, key) < 1e-6)
        assert arm.choose(quadratic, acts, times, key) == "good"


def test_searches_have_names(quadratic, key):
    assert arm.search_named(arm.ADAM.name) is arm.ADAM
    assert len({search.name for search in arm.SEARCHES}) == len(arm.SEARCHES)
    lost = arm.lost_by(quadratic, arm.act_of(quadratic.task, ZOOM), quadratic.report, key)
    assert np.all(lost < 1e-3)


def test_a_batch_repeats_the_states_and_a_policy_samples_for_each(quadratic, key):
    assert arm.first_states(quadratic.task, 1).tolist() == quadratic.task.states[0].tolist()
    batch = arm.first_states(quadratic.task, 8)
    np.testing.assert_array_equal(batch, np.concatenate([quadratic.task.states, quadratic.task.states[:2]]))
    sample, (params, _, states) = arm.sample_call(quadratic.task, 8)
    actions = [np.asarray(sample(params, k, states)) for k in jax.random.split(key)]
    assert actions[0].shape == (8, 2)
    assert not np.any(actions[0] == actions[1])
    for batch_size, shape in ((1, (2,)), (8, (8, 2))):
        act, args = arm.call(arm.act_of(quadratic.task, ZOOM), quadratic.task, batch_size)
        assert jax.eval_shape(act, *args).action.shape == shape
        act, args = arm.sample_call(quadratic.task, batch_size)
        assert jax.eval_shape(act, *args).shape == shape


def test_what_was_compiled_side_by_side_is_not_compiled_again(caplog):
    """Unlike another function of the same kind; what other threads compile is not in this log."""
    calls = [(jax.jit(lambda x, n=n: jnp.sin(x) * n), (jnp.ones(7 + n),)) for n in range(4)]
    arm.compile_side_by_side(calls[:3])
    compiled = []
    for function, args in calls:
        caplog.clear()
        with caplog.at_level(logging.WARNING), jax.log_compiles():
            function(*args)
        compiled.append(any("XLA compilation" in record.getMessage() for record in caplog.records))
    assert compiled == [False, False, False, True]


def test_every_round_gives_each_call_a_time(monkeypatch):
    monkeypatch.setattr(arm, "time_interleaved", rising())
    times = arm.times_in_rounds(dict.fromkeys(("arm", "sample"), (None, ())), 4)
    assert list(times) == ["arm", "sample"]
    for name, of_rounds in times.items():
        np.testing.assert_allclose(of_rounds, TIMES_S[name] * np.array([1.1, 1.2, 1.3, 1.4]))
