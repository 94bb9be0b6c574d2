"""Claim a: statements before the run, theory and searches again by NumPy, a whole run, the figure."""

import copy
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from pgjax import maximizers
from studies.claims.argmax import arm
from studies.claims.argmax import measure as claims_argmax
from studies.claims.argmax import plots as claims_argmax_plots
from studies.common import results
from tests.benchmarks.claims.argmax_trials import SEARCH_TIMES_S, TIMES_S, ZOOM, quadratic_trial, rising
from tests.benchmarks.runs import judged_run

pytestmark = pytest.mark.deep  # it runs the study

NUM_SEEDS, NUM_STATES, CEM_STATES, DIMS = 4, 32, 512, (3, 6)
STATEMENTS = {  # of a run in these dimensions alone
    name: statement
    for name, statement in claims_argmax.STATEMENTS.items()
    if not name.startswith("slope") or int(name.split()[1]) in DIMS
}
SHORT = claims_argmax.Draws(num_states=1024, num_samples=20, tolerance=0.05)
EFFORT = {"num_targets": 4, "num_tuning": 16, "batch_size": 8, "num_rounds": 3, "num_critic_keys": 2}


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
    with pytest.MonkeyPatch.context() as monkeypatch:
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
        monkeypatch.setattr(arm, "time_interleaved", rising())
        return judged_run(claims_argmax, num_seeds=NUM_SEEDS, seed=3)


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
    assert [name for name, statement in statements.items() if statement.says == "chapter"] == ["arm time"]
    assert arm.STATEMENTS.items() <= statements.items()
    for name, row in small_run[0].items():
        assert row["expected"] == [statements[name].low, statements[name].high]
        assert (row["condition"], row["quantity"]) == statements[name][:2]


def test_every_seed_and_every_case_is_in_the_rows(small_run):
    rows, _ = small_run
    cases = {"fine grid": 1} | dict.fromkeys(("critic same", "critic regret"), EFFORT["num_critic_keys"])
    rounds = {name: EFFORT["num_rounds"] for name in arm.STATEMENTS if "time" in name or "ratio" in name}
    for over, numbers in (("cases", cases), ("rounds", rounds)):
        assert {name: len(row["values"]) for name, row in rows.items() if row["over"] == over} == numbers
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
    found = claims_argmax.random_regrets(jax.random.key(num_dims), 0.0, NUM_SEEDS, num_dims, SHORT)
    assert found.shape == (NUM_SEEDS, len(claims_argmax.MULTIPLES))
    for multiple, of_seeds in zip(claims_argmax.MULTIPLES, np.asarray(found).T, strict=True):
        mean, square = exact_moments(num_dims, multiple * SHORT.num_samples)
        assert_within_5_sigma(of_seeds, mean, square, NUM_SEEDS * SHORT.num_states)


def test_random_search_far_from_the_center_loses_more(rng):
    """Against uniform points and optima of NumPy in two dimensions: near a side half the ball is missing."""
    num_states, num_samples, _ = SHORT
    found = np.asarray(claims_argmax.random_regrets(jax.random.key(0), 1.0, NUM_SEEDS, 2, SHORT))
    for i, multiple in enumerate(claims_argmax.MULTIPLES):
        points = rng.uniform(-1, 1, (4000, multiple * num_samples, 2)).astype(np.float32)
        optima = rng.uniform(-1, 1, (4000, 1, 2)).astype(np.float32)
        nearest = np.min(np.sum((points - optima) ** 2, axis=-1), axis=1)
        sigma = nearest.std() * math.sqrt(1 / 4000 + 1 / (NUM_SEEDS * num_states))
        assert abs(found[:, i].mean() - nearest.mean()) < 5 * sigma
        assert found[:, i].mean() > 1.02 * exact_moments(2, multiple * num_samples)[0]


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
        mean, square = exact_moments(6, num_samples)
        assert_within_5_sigma(rows[name]["values"], mean, square, NUM_SEEDS * 8)
    for k in claims_argmax.GRIDS:  # six squares of numbers uniform within half a step
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


def test_the_figure_shows_the_regrets_and_the_searches(small_run, tmp_path):
    rows, data = small_run
    results.write_json(tmp_path / "a.json", {"figure": data, "rows": list(rows.values())})
    figure = claims_argmax_plots.draw(results.read_json(tmp_path / "a.json"))
    quadratic, of_arm = figure.axes
    assert all(panel.get_xlabel() and panel.get_ylabel() and panel.get_title() for panel in figure.axes)
    assert [text.get_text() for text in quadratic.texts] == [f"d = {d}" for d in DIMS]
    drawn = [np.asarray(line.get_xydata()) for line in quadratic.lines]
    for i, line in enumerate(data["random"]):
        np.testing.assert_allclose(drawn[2 * i], np.c_[line["num_evaluations"], line["expected"]])
        np.testing.assert_allclose(drawn[2 * i + 1], np.c_[line["num_evaluations"], line["regret"]])
    others = [np.c_[data[name]["num_evaluations"], data[name]["regret"]] for name in ("off_center", "grid")]
    others += [[list(data["fine_grid"].values())], np.c_[data["cem"]["num_evaluations"], data["cem"]["regret"]]]
    for found, expected in zip(drawn[2 * len(data["random"]) :], others, strict=True):
        np.testing.assert_allclose(found, expected)
    named = quadratic.get_legend()
    assert named is not None
    assert len(named.get_texts()) == 6
    texts = {text.get_text().split("\n")[0] for text in of_arm.texts}
    assert texts == {search.name for search in (arm.GRID, arm.RANDOM, ZOOM)} | {
        "sample of a policy",
        "control step",
    }
    markers = {
        np.asarray(line.get_xdata())[0]: line.get_marker() for line in of_arm.lines if line.get_marker() != "None"
    }
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
