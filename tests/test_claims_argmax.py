"""Claim a: statements before the run, theory and searches again by NumPy, decisions on the arm, the figure."""

import copy
import itertools
import logging
import math
from types import SimpleNamespace

import claims_argmax
import claims_argmax_arm as arm
import claims_argmax_plots
import harness
import jax
import jax.numpy as jnp
import methods
import numpy as np
import pytest
from claims_rows import Statement
from scipy import integrate, special

import pgjax
from pgjax import maximizers
from pgjax.problems.arm import tool_pose

NUM_SEEDS, NUM_STATES, CEM_STATES, DIMS = 4, 32, 512, (3, 6)
STATEMENTS = {  # of a run in these dimensions alone
    name: statement
    for name, statement in claims_argmax.STATEMENTS.items()
    if not name.startswith("slope") or int(name.split()[1]) in DIMS
}
ZOOM = next(search for search in arm.SEARCHES if search.name.startswith("zoom"))  # exact where Q is separable
SEARCH_TIMES_S = {arm.GRID.name: 1e-3, arm.RANDOM.name: 2e-3, ZOOM.name: 5e-3}  # the good one is slowest
TIMES_S = {"arm": 4e-3, "critic": 8e-3, "sample": 1e-3, "sample batch": 2e-3, "arm batch": 0.5}
EFFORT = {"num_targets": 4, "num_tuning": 16, "batch_size": 8, "num_rounds": 3, "num_critic_keys": 2}


def rising():
    """In the place of the clock: a time for each call by its name, each round by a tenth slower."""
    count = itertools.count(1)

    def timings(calls, **limits):
        assert limits == arm.LIMITS
        slower = 1 + next(count) / 10
        return {name: harness.Timing.of([slower * (SEARCH_TIMES_S | TIMES_S)[name]]) for name in calls}

    return timings


def quadratic_trial(targets, high, num_report, maximum=0.0):
    """maximum - |a - s|^2, |a_i| <= high_i; the maximum is a parameter. The first states are to report on."""

    def objective(params, state, action):
        return params.astype(action.dtype) - jnp.sum(jnp.square(action - state))

    states, box = jnp.asarray(targets, jnp.float32), pgjax.Box(-np.asarray(high), high)
    problem = pgjax.problems.Problem(states, None, box, np.full(len(targets), maximum), np.asarray(targets))
    task = methods.Task("quadratic", objective, jnp.float32(maximum), states, len(targets), box, problem, 0, 0)
    return arm.make_trial(task, num_report)


def in_the_place_of_the_arm(key, key_tuning, num_seeds):
    """Targets in six dimensions, which grids and random searches miss by more than is good enough."""
    num_targets = [num_seeds * EFFORT["num_targets"], EFFORT["num_tuning"]]
    drawn = [
        jax.random.uniform(k, (n, 6), minval=-1.0) for k, n in zip((key, key_tuning), num_targets, strict=True)
    ]
    return quadratic_trial(np.concatenate(drawn), np.ones(6), num_targets[0])


@pytest.fixture(scope="module")
def small_run():
    """A run from few seeds and states, its times made up; returns its rows by statement, and the figure's data."""
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        jax.debug_key_reuse(False),  # searches and rounds share their noise
    ):
        few = {d: draws._replace(num_states=8) for d, draws in claims_argmax.DRAWS.items() if d in DIMS}
        monkeypatch.setattr(claims_argmax, "DRAWS", few)
        monkeypatch.setattr(claims_argmax, "STATEMENTS", STATEMENTS)
        monkeypatch.setattr(claims_argmax, "GRIDS", dict.fromkeys(claims_argmax.GRIDS, NUM_STATES))
        monkeypatch.setattr(claims_argmax, "CEM_STATES", CEM_STATES)
        monkeypatch.setattr(arm, "SEARCHES", (arm.GRID, arm.RANDOM, ZOOM))
        monkeypatch.setattr(arm, "CRITIC_SEARCHES", (arm.RANDOM,))
        monkeypatch.setattr(arm, "arm_trial", in_the_place_of_the_arm)
        targets = np.random.default_rng(0).uniform(-1, 1, (8, 6))
        monkeypatch.setattr(arm, "critic_trial", lambda: quadratic_trial(targets, np.ones(6), 4))
        for name, value in EFFORT.items():
            monkeypatch.setattr(arm, name.upper(), value)
        monkeypatch.setattr(harness, "time_interleaved", rising())
        result = claims_argmax.measure(num_seeds=NUM_SEEDS, seed=3)
    assert not jax.config.jax_enable_x64
    return dict(zip(STATEMENTS, result["rows"], strict=True)), result["figure"]


def exact_moments(num_dims, num_samples, powers=(1, 2)):
    """Moments of the squared distance of the nearest of N uniform points to the center, while that is below 1.

    The ball's share of the box, up to the nearest point, has the distribution Beta(1, N).
    """
    scale = (2**num_dims / claims_argmax.ball_volume(num_dims)) ** (2 / num_dims)
    orders = 2 / num_dims * np.asarray(powers)
    of_share = special.gammaln(1 + orders) + special.gammaln(num_samples + 1)
    return scale ** np.asarray(powers) * np.exp(of_share - special.gammaln(num_samples + 1 + orders))


def assert_within_5_sigma(found, mean, square, count):
    """A mean of so many independent numbers against the exact one; `square` is the second moment."""
    assert abs(np.mean(found) - mean) < 5 * math.sqrt((square - mean**2) / count)


def test_statements_are_there_before_the_run(small_run):
    statements = claims_argmax.STATEMENTS
    assert all(isinstance(statement, Statement) for statement in statements.values())
    assert len({statement[:2] for statement in statements.values()}) == len(statements)
    assert all(statement.low > -np.inf or statement.high < np.inf for statement in statements.values())
    assert [name for name, statement in statements.items() if statement.says == "chapter"] == ["arm time"]
    assert arm.STATEMENTS.items() <= statements.items()
    for name, row in small_run[0].items():
        assert row["expected"] == [statements[name].low, statements[name].high]
        assert (row["condition"], row["quantity"]) == statements[name][:2]


def test_every_seed_and_every_case_is_in_the_rows(small_run):
    rows, _ = small_run
    cases = {"fine grid": 1} | dict.fromkeys(("critic same", "critic regret"), EFFORT["num_critic_keys"])
    cases |= {name: EFFORT["num_rounds"] for name in arm.STATEMENTS if "time" in name or "ratio" in name}
    assert {name: len(row["values"]) for name, row in rows.items() if row["over"] == "cases"} == cases
    for row in rows.values():
        if row["over"] == "seeds":
            assert len(set(row["values"])) == NUM_SEEDS


@pytest.mark.parametrize(
    ("num_dims", "volume"),
    [(1, 2), (2, math.pi), (3, 4 * math.pi / 3), (6, math.pi**3 / 6), (12, math.pi**6 / 720)],
)
def test_volumes_of_balls(num_dims, volume):
    assert claims_argmax.ball_volume(num_dims) == pytest.approx(volume)


def test_random_searchs_theory():
    """The chapter's numbers, the limit of the exact mean, the slope -2/d, 2^(d/2) times the samples for half."""
    assert claims_argmax.random_regret(6, 1e3) == pytest.approx(0.207, abs=5e-4)
    assert claims_argmax.random_regret(6, 1e4) == pytest.approx(0.0959, abs=5e-5)
    for d in claims_argmax.DRAWS:
        assert claims_argmax.random_regret(d, 1e7) == pytest.approx(exact_moments(d, 1e7)[0], rel=1e-6)
        rise = math.log(claims_argmax.random_regret(d, 1e5) / claims_argmax.random_regret(d, 1e4))
        assert rise / math.log(10) == pytest.approx(-2 / d)
        assert claims_argmax.STATEMENTS[f"slope {d}"].exact == -2 / d
        half = claims_argmax.random_regret(d, 1000) / 2
        assert claims_argmax.random_samples(d, half) == pytest.approx(1000 * 2 ** (d / 2))
    for n in (1000, 10_000):
        assert claims_argmax.STATEMENTS[f"random {n}"].exact == claims_argmax.random_regret(6, n)


def test_grids_theory():
    """1,771,561 evaluations for .0200, and the integral of the squared distance to the nearest point."""
    assert claims_argmax.grid_size(11) == 11**6 == 1_771_561
    assert claims_argmax.STATEMENTS["fine grid"].exact == 1_771_561
    assert claims_argmax.grid_regret(6, 11) == pytest.approx(0.0200)
    for num_points in (2, 3, 5, 11):
        points = np.linspace(-1, 1, num_points)
        kinks = (points[1:] + points[:-1]) / 2
        squared, _ = integrate.quad(lambda x: np.min((x - points) ** 2), -1, 1, points=kinks)  # noqa: B023
        assert claims_argmax.grid_regret(6, num_points) == pytest.approx(6 * squared / 2)


@pytest.mark.parametrize("num_dims", [1, 2])
def test_random_search_loses_what_is_exact_at_every_length(num_dims):
    num_states = 512
    draws = claims_argmax.Draws(num_states, 50 * num_dims, 0.05)
    found = claims_argmax.random_regrets(jax.random.key(num_dims), 0.0, NUM_SEEDS, num_dims, draws)
    assert found.shape == (NUM_SEEDS, len(claims_argmax.MULTIPLES))
    for multiple, of_seeds in zip(claims_argmax.MULTIPLES, np.asarray(found).T, strict=True):
        exact = exact_moments(num_dims, multiple * draws.num_samples)
        assert_within_5_sigma(of_seeds, *exact, NUM_SEEDS * num_states)


def test_random_search_far_from_the_center_loses_more(rng):
    """Against uniform points and optima of NumPy in two dimensions: near a side half the ball is missing."""
    num_states, num_samples = 1024, 20
    draws = claims_argmax.Draws(num_states, num_samples, 0.05)
    found = np.asarray(claims_argmax.random_regrets(jax.random.key(0), 1.0, NUM_SEEDS, 2, draws))
    for i, multiple in enumerate(claims_argmax.MULTIPLES):
        points = rng.uniform(-1, 1, (4000, multiple * num_samples, 2)).astype(np.float32)
        optima = rng.uniform(-1, 1, (4000, 1, 2)).astype(np.float32)
        nearest = np.min(np.sum((points - optima) ** 2, axis=-1), axis=1)
        sigma = nearest.std() * math.sqrt(1 / 4000 + 1 / (NUM_SEEDS * num_states))
        assert abs(found[:, i].mean() - nearest.mean()) < 5 * sigma
        assert found[:, i].mean() > 1.02 * exact_moments(2, multiple * num_samples)[0]


def test_a_grid_loses_the_rounding_of_each_coordinate():
    """Six squares of numbers uniform within half a step."""
    found, step = claims_argmax.grid_regrets(jax.random.key(1), NUM_SEEDS, 4, 256), 2 / 3
    mean, variance = 6 * step**2 / 12, 6 * step**4 / 180
    assert found.shape == (NUM_SEEDS,)
    assert_within_5_sigma(found, mean, variance + mean**2, NUM_SEEDS * 256)


def cross_entropy(rng, num_runs, min_std):
    """Squared distances of the best sample so far, `[8, num_runs]`: 64 samples, 6 elites, from the center."""
    optimum = rng.uniform(-0.5, 0.5, (num_runs, 1, 6))
    mean, std, best, lost_by_then = np.zeros((num_runs, 1, 6)), 0.5, np.full(num_runs, np.inf), []
    for _ in range(8):
        samples = np.clip(mean + std * rng.standard_normal((num_runs, 64, 6), dtype=np.float32), -1, 1)
        lost = np.sum((samples - optimum) ** 2, axis=-1)
        best = np.minimum(best, lost.min(axis=1))
        chosen = np.argpartition(lost, 6, axis=1)[:, :6]
        elites = np.take_along_axis(samples, chosen[:, :, None], axis=1)
        mean, std = elites.mean(axis=1, keepdims=True), np.maximum(elites.std(axis=1, keepdims=True), min_std)
        lost_by_then.append(best)
    return np.array(lost_by_then)


def test_the_cross_entropy_method_loses_what_it_loses_by_numpy(rng):
    """Means after 2, 4 and 8 iterations, and medians, which no tail moves; with a floor of the std too."""
    num_states, num_runs = CEM_STATES, 2000
    found = jax.tree.map(np.asarray, claims_argmax.cem_regrets(jax.random.key(0), NUM_SEEDS, num_states))
    plain, floored = (cross_entropy(rng, num_runs, floor) for floor in (1e-3, claims_argmax.CEM_FLOOR))
    for i, iterations in enumerate(claims_argmax.CEM_ITERATIONS):
        for name, lost in (("mean", plain[iterations - 1]), ("floor", floored[iterations - 1])):
            sigma = lost.std() * math.sqrt(1 / num_runs + 1 / (NUM_SEEDS * num_states))
            assert abs(found[name][:, i].mean() - lost.mean()) < 5 * sigma, (name, iterations)
        resampled = np.median(rng.choice(plain[iterations - 1], (200, num_states)), axis=1)
        sigma = resampled.std() * math.sqrt(1 / NUM_SEEDS + num_states / num_runs)
        assert abs(found["median"][:, i].mean() - resampled.mean()) < 5 * sigma, iterations
        value, tolerance = claims_argmax.CEM_REGRETS[iterations]
        sigma = plain[iterations - 1].std() / math.sqrt(num_runs)
        assert abs(plain[iterations - 1].mean() - value) < tolerance * value + 5 * sigma
    for iterations, chapter in ((2, 0.088), (4, 0.0102)):
        assert plain[iterations - 1].mean() == pytest.approx(chapter, rel=0.08)
    assert np.median(plain[-1]) < 3e-4 < plain[-1].mean() / 3, "the chapter's .0016 is a mean of a long tail"


def test_the_best_sample_is_the_best_so_far_and_no_mean(key):
    """Of made-up values after 1 to 8 steps; the last candidate of each step is its mean's."""
    of_steps = jnp.asarray([-9.0, -3.0, -4.0, -5.0, -1.0, -7.0, -2.0, -8.0])

    def step(key, objective, state):
        values = jnp.stack([of_steps[state] - 1, of_steps[state], jnp.float32(-0.5)])
        return state + jnp.int32(1), maximizers.Candidates(jnp.zeros((3, 6)), values, 3, 0)

    made_up = maximizers.Maximizer(lambda *_: (jnp.int32(0), None), step, lambda _: 3)
    assert claims_argmax.CEM_ITERATIONS == (2, 4, 8)
    assert claims_argmax.best_samples(made_up, key).tolist() == [3.0, 3.0, 1.0]


def test_slopes_are_those_of_power_laws():
    for d in claims_argmax.DRAWS:
        counts = np.array(claims_argmax.num_samples_of(d))
        np.testing.assert_array_equal(counts / counts[0], claims_argmax.MULTIPLES)
        regrets = np.array([[3.0], [0.1]]) * counts ** np.array([[-2 / d], [-1.0]])
        np.testing.assert_allclose(claims_argmax.slopes(d, regrets), [-2 / d, -1])
    assert [claims_argmax.num_samples_of(6)[i] for i in (0, -1)] == [1000, 10_000], "as two statements say"


def test_rows_of_the_quadratic_are_near_theory_and_agree_with_one_another(small_run):
    rows, figure = small_run
    for name, num_samples in (("random 1000", 1000), ("random 10000", 10_000)):
        assert_within_5_sigma(rows[name]["values"], *exact_moments(6, num_samples), NUM_SEEDS * 8)
    for k in claims_argmax.GRIDS:
        step = 2 / (k - 1)
        mean, variance = 6 * step**2 / 12, 6 * step**4 / 180
        assert_within_5_sigma(rows[f"grid {k}"]["values"], mean, variance + mean**2, NUM_SEEDS * NUM_STATES)
    for line in figure["random"]:
        rise = np.diff(np.log(line["regret"]))[[0, 1, 2]].sum() / math.log(8)  # not the fit, but near it
        assert rows[f"slope {line['num_dims']}"]["value"] == pytest.approx(rise, rel=0.2, abs=0.05)
    six = next(line for line in figure["random"] if line["num_dims"] == 6)
    assert six["num_evaluations"] == [1000, 2000, 4000, 8000, 10_000]
    for i, name in ((0, "random 1000"), (-1, "random 10000")):
        assert six["regret"][i] == pytest.approx(rows[name]["value"], rel=1e-6)
    np.testing.assert_allclose(
        six["expected"], [claims_argmax.random_regret(6, n) for n in six["num_evaluations"]]
    )
    assert 1.2 < rows["halving"]["value"] < 3.5
    off = figure["off_center"]["regret"][0] / claims_argmax.random_regret(6, 1000)
    assert rows["off center"]["value"] == pytest.approx(off)
    for name, counts, in_rows in (
        ("grid", [729, 15_625], ["grid 3", "grid 5"]),
        ("cem", [128, 256, 512], ["CEM 2", "CEM 4", "CEM 8"]),
    ):
        assert figure[name]["num_evaluations"] == counts
        assert figure[name]["regret"] == pytest.approx([rows[row]["value"] for row in in_rows], rel=1e-6)
    assert figure["fine_grid"] == {"num_evaluations": 1_771_561, "regret": pytest.approx(0.02)}
    assert rows["fine grid"]["verdict"] == "holds"
    again = [claims_argmax.random_samples(6, regret) / 512 for regret in rows["CEM 8"]["values"]]
    np.testing.assert_allclose(rows["CEM against random"]["values"], again, rtol=1e-5)
    assert rows["CEM floor"]["value"] < rows["CEM 8"]["value"]
    assert rows["CEM median"]["value"] < rows["CEM 8"]["value"] / 3


def test_lines_are_means_of_the_middle_half(rng):
    regrets = rng.exponential(size=(12, 2))
    expected = [np.sort(regrets[:, i])[3:9].mean() for i in range(2)]
    assert claims_argmax.line([1, 2], regrets) == {"num_evaluations": [1, 2], "regret": pytest.approx(expected)}


def test_times_and_ratios_are_put_together(small_run):
    """From the made-up clock: its first round is the searches', its second the critic's, and then all rounds."""
    rows, figure = small_run
    slower = 1 + np.arange(3, 3 + EFFORT["num_rounds"]) / 10
    size = EFFORT["batch_size"]
    expected = {
        "arm time": TIMES_S["arm"] * slower,
        "sample time": TIMES_S["sample"] * slower,
        "arm ratio": np.full(3, TIMES_S["arm"] / TIMES_S["sample"]),
        "batch time": TIMES_S["arm batch"] * slower / size,
        "batch ratio": np.full(3, TIMES_S["arm batch"] / TIMES_S["sample batch"]),
        "critic time": TIMES_S["critic"] * slower,
        "critic ratio": np.full(3, TIMES_S["critic"] / TIMES_S["sample"]),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(rows[name]["values"], values, err_msg=name)
    assert rows["arm time"]["verdict"] == "contradicted", "6 ms are less than a control step"
    assert rows["arm ratio"]["verdict"] == "holds"
    data = figure["arm"]
    assert data["chosen"] == ZOOM.name, "the only one that is good enough, though the slowest"
    assert {search["name"]: search["time_s"] for search in data["searches"]} == pytest.approx(
        {name: 1.1 * time_s for name, time_s in SEARCH_TIMES_S.items()}
    )
    assert data["sample_time_s"] == pytest.approx(np.median(expected["sample time"]))
    assert data["critic"]["time_s"] == pytest.approx(np.median(expected["critic time"]))
    assert (data["control_step_s"], data["good_regret"]) == (0.02, 0.01)


def test_regrets_on_the_arm_are_those_of_its_statements(small_run):
    """Rows and figure agree, and a search that is good enough loses little on other targets."""
    rows, figure = small_run
    lost = {search["name"]: search["regret"] for search in figure["arm"]["searches"]}
    for name, search in (("arm regret", ZOOM), ("arm grid", arm.GRID), ("arm random", arm.RANDOM)):
        assert lost[search.name] == pytest.approx(np.median(rows[name]["values"]))
    assert 0 <= lost[ZOOM.name] < 1e-3
    assert 0.01 < lost[arm.GRID.name] < 0.1
    assert 0.01 < lost[arm.RANDOM.name] < 0.2
    assert max(rows["critic same"]["values"]) < 1e-3, "there too the arm's search is exact"
    assert 0.01 < min(rows["critic regret"]["values"]) < max(rows["critic regret"]["values"]) < 0.2
    assert figure["arm"]["critic"]["regret"] == pytest.approx(np.median(rows["critic regret"]["values"]))


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
    assert task.problem.maximum.tolist() == [0.0] * 4


def test_the_critics_halves_have_known_maxima():
    trial = arm.critic_trial()
    assert len(trial.report) == len(trial.tuning) == 32
    assert sorted([*trial.report, *trial.tuning]) == list(range(64))
    assert len(np.unique(np.asarray(trial.task.states), axis=0)) == 64
    with jax.enable_x64(True):
        states, best = (
            np.asarray(x, np.float64) for x in (trial.task.states[:32], trial.task.problem.best_action)
        )
        values = jax.vmap(trial.task.objective, (None, 0, 0))(trial.task.params, states, best)
    np.testing.assert_allclose(values, trial.task.problem.maximum[:32], rtol=1e-6)


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
    seen = []
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
        chosen = arm.choose(quadratic, {"in": off_by(0.2, 0.0), "out": outside}, {"in": [2.0], "out": [1.0]}, key)
    assert chosen == "in"


def test_the_fastest_good_search_is_chosen_and_else_the_best(quadratic, key):
    """Good on the states to choose on; what is lost on those to report on, or another round's time, has no say."""
    acts = {"exact": off_by(0, 0), "good": off_by(0.01, 0), "poor": off_by(0.1, 0), "bad": off_by(0.2, 0)}
    times = {"exact": [3.0, 0.0], "good": [2.0, 9.0], "poor": [1.0, 1.0], "bad": [0.5, 0.5]}

    def good_where_reported(params, key, state):
        reported = np.any(np.all(np.asarray(state) == np.asarray(TARGETS[:4], np.float32), axis=1))
        return SimpleNamespace(action=np.asarray(state) + np.float32(0.0 if reported else 0.06))

    with jax.debug_key_reuse(False):
        assert arm.choose(quadratic, acts, times, key) == "good"
        assert arm.choose(quadratic, acts, times | {"exact": [1.9]}, key) == "exact"
        assert arm.choose(quadratic, {name: acts[name] for name in ("bad", "poor")}, times, key) == "poor"
        acts["elsewhere"], times["elsewhere"] = good_where_reported, [0.1]
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
    monkeypatch.setattr(harness, "time_interleaved", rising())
    times = arm.times_in_rounds({"arm": None, "sample": None}, 4)
    assert list(times) == ["arm", "sample"]
    for name, of_rounds in times.items():
        np.testing.assert_allclose(of_rounds, TIMES_S[name] * np.array([1.1, 1.2, 1.3, 1.4]))


def test_the_figure_shows_the_regrets_and_the_searches(small_run, tmp_path):
    rows, data = small_run
    harness.write_json(tmp_path / "a.json", {"figure": data, "rows": list(rows.values())})
    figure = claims_argmax_plots.draw(harness.read_json(tmp_path / "a.json"))
    quadratic, of_arm = figure.axes
    assert all(panel.get_xlabel() and panel.get_ylabel() and panel.get_title() for panel in figure.axes)
    assert [text.get_text() for text in quadratic.texts] == [f"d = {d}" for d in DIMS]
    drawn = [line.get_xydata() for line in quadratic.lines]
    for i, line in enumerate(data["random"]):
        np.testing.assert_allclose(drawn[2 * i], np.c_[line["num_evaluations"], line["expected"]])
        np.testing.assert_allclose(drawn[2 * i + 1], np.c_[line["num_evaluations"], line["regret"]])
    others = [np.c_[data[name]["num_evaluations"], data[name]["regret"]] for name in ("off_center", "grid")]
    others += [[list(data["fine_grid"].values())], np.c_[data["cem"]["num_evaluations"], data["cem"]["regret"]]]
    for found, expected in zip(drawn[2 * len(data["random"]) :], others, strict=True):
        np.testing.assert_allclose(found, expected)
    assert len(quadratic.get_legend().get_texts()) == 6
    texts = {text.get_text().split("\n")[0] for text in of_arm.texts}
    assert texts == {search.name for search in (arm.GRID, arm.RANDOM, ZOOM)} | {
        "sample of a policy",
        "control step",
    }
    markers = {line.get_xdata()[0]: line.get_marker() for line in of_arm.lines if line.get_marker() != "None"}
    shapes = {arm.GRID.name: "o", arm.RANDOM.name: "o", ZOOM.name: "^"}
    expected = {search["time_s"]: shapes[search["name"]] for search in data["arm"]["searches"]}
    assert markers == expected | {data["arm"]["critic"]["time_s"]: "D"}
    figure.savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    width, height = figure.get_size_inches()
    assert 8 < width < 15
    assert 3 < height < 8


@pytest.mark.parametrize("slow", ["searches", "critic"])
def test_what_takes_longer_than_a_control_step_is_in_the_figure(small_run, slow):
    data = copy.deepcopy(small_run[1])
    point = data["arm"]["critic"] if slow == "critic" else data["arm"]["searches"][0]
    point["time_s"] = 0.3
    panel = claims_argmax_plots.draw({"figure": data}).axes[1]
    assert panel.get_xlim()[0] < data["arm"]["sample_time_s"]
    assert panel.get_xlim()[1] > 0.3


def test_the_figure_needs_a_random_search():
    with pytest.raises(ValueError, match="at least one line of random search"):
        claims_argmax_plots.draw({"figure": {"random": []}, "rows": []})
