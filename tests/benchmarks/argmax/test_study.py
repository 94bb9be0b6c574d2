"""The argmax benchmark: settings that cost what they say, options, a small run as a user starts it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pgjax
from studies.argmax import settings as argmax_settings
from studies.argmax import study as argmax
from studies.argmax import tuning as argmax_tuning
from studies.argmax.settings import FAMILIES, FIXED, GRADIENT_COST, candidates
from studies.common import results
from studies.common.acting import cases as argmax_cases
from studies.common.acting import measure, regret
from studies.common.command_line import CONSOLE
from tests.benchmarks.argmax import made_results
from tests.benchmarks.runs import run_study
from tests.deep import deep_except

BOX = pgjax.Box(np.full(3, -1.0), np.full(3, 1.0))


@pytest.mark.parametrize("family", deep_except(list(FAMILIES), "CEM", "coordinate zoom", "L-BFGS"))
def test_tuned_settings_cost_their_budget_at_most(family):
    budget = 512
    setting = candidates(family, budget, 3)[0]

    @jax.jit
    def maximum(starts):
        return pgjax.maximize(
            jax.random.key(0),
            lambda a: -jnp.sum(jnp.square(a)),
            BOX,
            setting.maximizer,
            num_steps=setting.num_steps,
            initial=starts,
        )

    best = maximum(jnp.zeros((max(setting.num_proposals, 1), 3)))
    cost = int(best.num_evaluations) + GRADIENT_COST * int(best.num_gradients)
    assert 0.6 * budget < cost <= budget + 1, setting.name


def test_every_family_has_equally_many_tries_at_most():
    for family in FAMILIES:
        for budget in argmax_settings.BUDGETS:
            found = candidates(family, budget, 6)
            assert len(found) <= argmax_settings.NUM_CANDIDATES
            assert len({setting.name for setting in found}) == len(found)
            assert all(setting.family == family and setting.budget == budget for setting in found)


def test_fixed_settings_have_names_of_their_own():
    assert len({setting.name for setting in FIXED}) == len(FIXED)


@pytest.mark.parametrize("name", ["six_joint_arm", "rastrigin_2d"])
def test_splits_have_states_of_their_own(name):
    tune, report = (argmax_cases.make_case(name, split, 8, 0).task.states for split in ("tune", "report"))
    assert not np.any(np.all(np.asarray(tune)[:, None] == np.asarray(report)[None], axis=-1))


def test_critics_splits_have_states_of_their_own():
    tune, report = (argmax_cases.make_case("relu_2x32_late", split, 300, 0) for split in ("tune", "report"))
    assert len(tune.task.states) == len(report.task.states) == 300
    assert not np.any(
        np.all(np.asarray(tune.task.states)[:, None] == np.asarray(report.task.states)[None], axis=-1)
    )


def test_a_known_best_action_has_no_regret_and_an_action_outside_is_counted():
    case = argmax_cases.make_case("planted_peaks_2d", "report", 8, 0)
    scale = regret.regret_scale(case.task)
    assert case.task.problem is not None
    best = jnp.asarray(case.task.problem.best_action, jnp.float32)
    row = regret.regret(case.task, best[None], scale)
    assert abs(row["normalized_regret"]["median"]) < 1e-5
    assert row["success"]["0.0001"] == 1
    assert row["bound_violations"] == 0
    assert row["normalized_regret_upper"] is None
    outside = regret.regret(case.task, best[None] + 2.5, scale)
    assert outside["bound_violations"] == 8
    assert outside["success"]["0.1"] == 0


def test_the_upper_end_of_a_bracket_gives_the_larger_regret():
    case = argmax_cases.make_case("planted_peaks_2d", "report", 8, 0)
    assert case.task.problem is not None
    problem = case.task.problem._replace(upper_bound=case.task.problem.maximum + 0.1)
    best = jnp.asarray(problem.best_action, jnp.float32)
    row = regret.regret(case.task._replace(problem=problem), best[None], regret.regret_scale(case.task))
    assert 0.05 < row["normalized_regret_upper"]["median"] < 0.5


def test_methods_are_judged_on_distinct_states_under_several_keys_and_chosen_by_others():
    """States of a batch share a key's luck, and copies of a state say nothing new."""
    case = argmax_cases.make_case("relu_2x32_late", "report", 64, 0)
    task, key = case.task, jax.random.key(7)
    assert (task.num_states, len(task.states)) == (32, 64)
    judged = []

    def act(params, key, states):
        judged.append(jax.random.key_data(key))
        return jax.random.uniform(key, (len(states), 6), minval=-1.0)

    scale = regret.regret_scale(task)
    row = measure.judge(task, act, task.params, key, task.states, scale=scale)
    assert len({tuple(data.tolist()) for data in judged}) == measure.NUM_CHOICE_KEYS + measure.NUM_KEYS
    assert row["regret_states"] == 32
    assert row["normalized_regret"]["count"] == 32 * measure.NUM_KEYS
    assert len(row["normalized_regret_by_key"]) == measure.NUM_KEYS
    keys = jax.random.split(jax.random.key(7), measure.NUM_CHOICE_KEYS + measure.NUM_KEYS)
    actions = np.stack([act(None, key, task.states)[:32] for key in keys])
    lost = regret.regret(task, actions[: measure.NUM_CHOICE_KEYS], scale)["normalized_regret"]["median"]
    assert row["choice_regret"] == lost != row["normalized_regret"]["median"]
    by_key = [regret.regret(task, own[None], scale)["normalized_regret"]["median"] for own in actions]
    assert row["normalized_regret_by_key"] == by_key[measure.NUM_CHOICE_KEYS :]


def test_tuning_chooses_the_lowest_mean_logarithm():
    tries = [
        {"family": "CEM", "budget": 32, "label": label, "problem": problem, "median_normalized_regret": regret}
        for label, regrets in {"even": (0.1, 0.1), "uneven": (0.001, 0.2), "nowhere": (0.5, 0.5)}.items()
        for problem, regret in zip("ab", regrets, strict=True)
    ]
    assert argmax_tuning.choose(tries) == {"CEM": {"32": "uneven"}}


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """A small run without a policy: its JSON and its output."""
    output = tmp_path_factory.mktemp("run") / "small.json"
    arguments = [
        *("--problem", "six_joint_arm_step", "--methods", "coordinate zoom", "--budgets", "32"),
        *("--batch-sizes", "16", "--output", output),
    ]
    with pytest.MonkeyPatch.context() as monkeypatch, CONSOLE.capture() as capture:
        monkeypatch.setattr(argmax, "TRAINING_STEPS", 0)
        monkeypatch.setattr(argmax, "LIMITS", argmax.LIMITS | {"min_time_s": 1e-3, "max_time_s": 0.01})
        monkeypatch.setattr(argmax.jax, "clear_caches", lambda: None)  # other tests go on
        assert run_study(argmax.STUDY, *arguments) == 0
    return results.read_json(output), output, capture.get()


def updated(output, monkeypatch, rows, problem="six_joint_arm_step"):
    """The result of an update in which a problem has these rows."""
    monkeypatch.setattr(argmax, "TRAINING_STEPS", 0)
    monkeypatch.setattr(argmax, "rows_of_problem", lambda *_: iter([rows]))
    with CONSOLE.capture():
        assert run_study(argmax.STUDY, "--update", "--problem", problem, "--output", output) == 0
    return results.read_json(output)


def measured_anew(row, **changes):
    """A row as it comes out of a run: without what `Results` adds."""
    return {name: value for name, value in (row | changes).items() if name not in ("run", "seed")}


def test_an_update_replaces_its_own_rows_alone_and_says_which_are_its_own(small_run, tmp_path, monkeypatch):
    earlier, _, _ = small_run
    output = tmp_path / "result.json"
    results.write_json(output, earlier)
    tuned = next(row for row in earlier["rows"] if row["setting"] == "tuned")
    new = measured_anew(tuned, method="tuned anew", regret_states=None, normalized_regret=None)
    result = updated(output, monkeypatch, [new])
    methods = {row["method"]: row["run"] for row in result["rows"]}
    kept = {row["method"]: 0 for row in earlier["rows"] if row["method"] != tuned["method"]}
    assert methods == kept | {"tuned anew": 1}
    assert len(result["runs"]) == 2
    assert result["runs"][0] == earlier["runs"][0]


def test_an_update_of_peers_alone_keeps_the_gemm_rate(small_run, tmp_path, monkeypatch):
    earlier, _, _ = small_run
    output = tmp_path / "result.json"
    results.write_json(output, earlier)
    monkeypatch.setattr(argmax, "peer_rows", lambda *_: [made_results.make_peer()])
    result = updated(output, monkeypatch, [])
    assert result["gemm"] == earlier["gemm"]
    assert [peer["run"] for peer in result["peers"]] == [1]


@pytest.mark.deep
def test_rows_of_a_batch_of_one_take_the_regrets_of_an_earlier_run(small_run, tmp_path, monkeypatch):
    earlier, _, _ = small_run
    output = tmp_path / "result.json"
    results.write_json(output, earlier)
    one = measured_anew(earlier["rows"][0], batch_size=1, **dict.fromkeys(measure.EMPTY))
    result = updated(output, monkeypatch, [one])
    found = next(row for row in result["rows"] if row["batch_size"] == 1)
    assert found["normalized_regret"] == earlier["rows"][0]["normalized_regret"] is not None


def test_an_update_goes_on_with_what_an_interrupted_one_left(small_run, tmp_path, monkeypatch):
    earlier, _, _ = small_run
    output = tmp_path / "result.json"
    rows = [measured_anew(row) for row in earlier["rows"]]

    def rows_of_problem(options, case, *_):
        if case.task.name == "six_joint_arm_tracking":
            raise KeyboardInterrupt
        yield rows

    monkeypatch.setattr(argmax, "TRAINING_STEPS", 0)
    monkeypatch.setattr(argmax, "rows_of_problem", rows_of_problem)
    names = ("six_joint_arm_step", "six_joint_arm_tracking")
    arguments = ("--problem", *names, "--methods", "coordinate zoom", "--batch-sizes", "16", "--output", output)
    with CONSOLE.capture() as capture:
        assert run_study(argmax.STUDY, *arguments) == 130
    assert "partial" in capture.get()
    assert not output.exists()
    other = [row | {"problem": "six_joint_arm_tracking"} for row in rows]
    result = updated(output, monkeypatch, other, problem="six_joint_arm_tracking")
    assert {row["problem"]: row["run"] for row in result["rows"]} == dict(zip(names, (0, 1), strict=True))
    assert set(result["problems"]) == set(names)
    assert not results.partial_of(output).exists()


def test_results_of_two_machines_are_not_mixed(small_run, tmp_path):
    earlier, _, _ = small_run
    output = tmp_path / "result.json"
    results.write_json(output, earlier | {"runs": [earlier["runs"][0] | {"cpu": "another"}]})
    argmax.Options(output=output).check()
    with pytest.raises(ValueError, match=r"^--update: expected cpu another"):
        argmax.Options(update=True, output=output).check()


@pytest.mark.parametrize("text", ["not JSON", "[]", '{"rows": []}'])
def test_what_is_no_result_is_not_updated(text, tmp_path):
    output = tmp_path / "result.json"
    output.write_text(text)
    with pytest.raises(ValueError, match=r"^--update: .*result\.json is not a result"):
        argmax.Options(update=True, output=output).check()


def test_rows_of_full_and_short_runs_are_not_mixed(small_run):
    with pytest.raises(ValueError, match=r"^--update: expected no --full"):
        argmax.Options(full=True, update=True, output=small_run[1]).check()


def test_tuning_does_not_write_over_another_benchmarks_result(tmp_path):
    output = tmp_path / "result.json"
    results.write_json(output, {"rows": [{"method": "grid"}]})
    with pytest.raises(ValueError, match=r"^--output: .*holds something else"):
        argmax_tuning.Options(output=output).check()


def test_a_run_has_rows_with_regret_time_and_cost(small_run):
    result, output, printed = small_run
    assert set(result["problems"]) == {"six_joint_arm_step"}
    assert {row["setting"] for row in result["rows"]} == {"published", "tuned"}
    for row in result["rows"]:
        assert row["cost"] == row["num_evaluations"] + GRADIENT_COST * row["num_gradients"]
        assert row["time_per_call_s"] > 0
        assert row["bound_violations"] == 0
        assert row["normalized_regret"]["median"] < 1
    assert output.name in printed
    assert len(list(output.parent.glob("*.png"))) >= 2
