"""Claim e: what was said before, exact numbers found again otherwise, changes by hand, learning, the figure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy import special

from studies.claims.rows import judge
from studies.claims.smoothness import measure as claims_smoothness
from studies.claims.smoothness import plots as claims_smoothness_plots
from studies.claims.smoothness import training
from tests.benchmarks.runs import judged_run

pytestmark = pytest.mark.deep  # it runs the study

NUM_SEEDS, NUM_ROUNDS = 3, 6


@pytest.fixture(scope="module")
def small_run():
    """A short run from few seeds; returns its rows by statement, and the claim as the figure gets it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(training, "NUM_ROUNDS", NUM_ROUNDS)
        monkeypatch.setattr(claims_smoothness, "NUM_PAIRS", 1000)
        rows, figure = judged_run(claims_smoothness, num_seeds=NUM_SEEDS, seed=0)
    return rows, {"rows": list(rows.values()), "figure": figure}


def test_statements_are_there_before_the_run(small_run):
    statements = claims_smoothness.STATEMENTS
    for key, row in small_run[0].items():
        assert row["expected"] == [statements[key].low, statements[key].high]
        assert row["condition"] == statements[key].condition
        assert row["over"] == ("seeds" if key[0] in ("training", "learned") else "cases")
        assert len(row["values"]) == NUM_SEEDS or row["over"] == "cases"


def test_every_exact_statement_holds(small_run):
    exact = {key: row for key, row in small_run[0].items() if row["says"] == "exact"}
    assert len(exact) == 12
    assert {key: row["values"] for key, row in exact.items() if row["verdict"] != "holds"} == {}


def test_the_chapters_example(small_run):
    """Its numbers, from the logistic function alone; 45/55 is not what temperature 1 gives."""
    rows, _ = small_run
    value = {name: row["value"] for (group, name), row in rows.items() if group == "flip"}
    assert value["greedy"] == 1
    assert value["softmax"] == pytest.approx(0.525, abs=5e-5)
    assert value["softmax flip"] == pytest.approx(special.expit(0.1) - special.expit(-0.1), rel=1e-9)
    assert value["temperature"] == pytest.approx(0.4983, abs=5e-5)
    assert value["cold flip"] == pytest.approx(special.expit(10) - special.expit(-10), rel=1e-9)
    assert rows["flip", "45/55"]["verdict"] == "contradicted"
    assert rows["flip", "cold flip"]["verdict"] == "holds"


def test_the_bound_is_kept_by_other_pairs_and_by_no_smaller_bound(rng):
    """With SciPy's softmax; 2 % less than the bound is broken."""
    logits, change = rng.normal(size=(2, 5000, 4))
    tv = 0.5 * np.abs(special.softmax(logits + change, -1) - special.softmax(logits, -1)).sum(-1)
    ratio = tv / np.tanh(np.abs(change).max(-1) / 2)
    assert 0.9 < ratio.max() < 1
    row = judge(claims_smoothness.BOUNDS["random"], [1 / 0.98], over="cases")
    assert row["verdict"] == "contradicted"


def test_random_pairs_come_near_the_bound_and_differ(small_run):
    rows, claim = small_run
    assert np.all(np.asarray(rows["bound", "random"]["values"]) > 0.5)
    for pairs in claim["figure"]["bound"]["pairs"]:
        distance, tv = np.asarray(pairs["distance"]), np.asarray(pairs["total_variation"])
        assert np.all(tv <= np.tanh(distance / 2) + 1e-9)
        assert len(set(distance)) == claims_smoothness.NUM_DRAWN


def test_two_arms_take_a_time_that_gradient_flow_knows(small_run):
    """e^x + 2x - e^-x = 2 gap t (two logits), gap t (one); the flow's number at the same time."""
    for name, factor in (("two logits", 2), ("one logit", 1)):
        values = []
        for gap in claims_smoothness.GAPS:
            time = claims_smoothness.ASCENT_STEPS * claims_smoothness.ASCENT_RATE / gap**0.9
            x = 10.0
            for _ in range(50):  # Newton's method
                x -= (np.exp(x) + 2 * x - np.exp(-x) - factor * gap * time) / (np.exp(x) + 2 + np.exp(-x))
            values.append(time * gap * special.expit(-x))
        np.testing.assert_allclose(small_run[0]["speed", name]["values"], values, rtol=5e-4)
        assert len(set(np.round(values, 6))) == len(values)


def test_the_rough_return_is_weierstrass_function(small_run):
    """The mean squared change of its series, term by term: frequencies 2^t do not mix."""
    exponents = claims_smoothness.exponents()
    t, distances = np.arange(claims_smoothness.NUM_DOUBLINGS), 2.0**-claims_smoothness.DISTANCE_POWERS
    for name, std in (("certain", 0.0), ("Gaussian", claims_smoothness.START_STD)):
        size = 0.9**t * np.exp(-2 * (np.pi * 2.0**t * std) ** 2)
        changes = np.sqrt([np.sum(size**2 * (1 - np.cos(2 * np.pi * 2.0**t * h))) for h in distances])
        slope = np.polyfit(np.log(distances), np.log(changes), 1)[0]
        assert exponents[name] == pytest.approx(slope, abs=1e-6)
    assert small_run[0]["landscape", "certain"]["value"] == pytest.approx(0.152, abs=1e-3)


def test_changes_by_hand(monkeypatch):
    monkeypatch.setattr(training, "NUM_ARMS", 2)
    q_values = np.array([[10.0, 10.1], [1.0, 0.0]], np.float32), np.array([[10.1, 10.0], [1.0, 0.0]], np.float32)
    logits = np.array([[0.0, 0.2], [0.0, 0.0]]), np.array([[0.2, 0.0], [0.0, 1.0]])
    before, after = (
        training.Shown(jnp.asarray(q), jnp.asarray(special.log_softmax(z, -1), jnp.float32))
        for q, z in zip(q_values, logits, strict=True)
    )
    found = training.changes(before, after, jnp.array([[3.0, 5.0], [1.0, 2.0]]), jnp.asarray(1.0))
    tv = np.tanh(0.1), special.expit(1.0) - 0.5
    moved = np.abs(special.log_softmax(logits[1], -1) - special.log_softmax(logits[0], -1)).max(-1)
    expected = {
        "greedy": 0.5,
        "softmax": np.tanh(0.05) / 2,
        "cold": 0.5,
        "policy": np.mean(tv),
        "mode": 1.0,
        "greedy_reward": 1.0,
        "policy_reward": (2 * tv[0] + tv[1]) / 2,
        "bound": np.max(tv / np.tanh(moved / 2)),
    }
    assert tuple(expected) == training.Changes._fields[: len(found)]
    np.testing.assert_allclose(found, list(expected.values()), rtol=1e-5)


def test_both_start_as_one_network_and_follow_their_own_gradients(key, rng):
    """The last bias's gradient: of Q, mean of (Q - r) e_a; of PPO where it acted, -mean of A (e_a - pi)."""
    networks = jax.jit(training.random_networks)(key)
    states = jnp.asarray(rng.normal(size=(training.MINIBATCH, training.STATE_SIZE)), jnp.float32)
    shown = training.show(networks, states)
    np.testing.assert_allclose(jax.nn.log_softmax(shown.q_values), shown.log_probs, atol=1e-6)
    actions = jnp.asarray(rng.integers(0, training.NUM_ARMS, (2, training.MINIBATCH)), jnp.int32)
    rewards = jnp.asarray(rng.normal(size=actions.shape), jnp.float32)
    replayed, own = (training.Pulls(states, *pair) for pair in zip(actions, rewards, strict=True))
    batch = (own, training.chosen(shown.log_probs, own.actions))
    slopes = jax.jit(jax.grad(training.loss))(networks, replayed, batch)
    taken = np.eye(training.NUM_ARMS)[np.asarray(actions)]
    errors = training.chosen(shown.q_values, actions[0]) - rewards[0]
    of_q = np.mean(taken[0] * np.asarray(errors)[:, None], axis=0)
    of_policy = -np.mean(np.asarray(rewards[1])[:, None] * (taken[1] - np.exp(shown.log_probs)), axis=0)
    np.testing.assert_allclose(slopes.q["params"]["values"]["bias"], of_q, atol=1e-6)
    np.testing.assert_allclose(slopes.policy["params"]["logits"]["bias"], of_policy, atol=1e-6)


@pytest.mark.parametrize("target", [0.3, 2.0])
def test_softmax_of_q_is_made_as_random_as_the_policy(target, rng):
    q_values = rng.normal(size=(50, 10)).astype(np.float32)
    temperature = jax.jit(training.temperature_of_entropy)(q_values, target)
    entropy = np.mean(special.entr(special.softmax(q_values / temperature, -1)).sum(-1))
    assert entropy == pytest.approx(target, rel=1e-4)


def test_rewards_are_random_smooth_functions_of_variance_one(key):
    key_problems, key_states = jax.random.split(key)
    problems = jax.vmap(training.random_problem)(jax.random.split(key_problems, 200))
    states = jax.random.normal(key_states, (20, training.STATE_SIZE))
    near = states.at[:, 0].add(0.5)
    rewards, moved = (np.asarray(jax.vmap(lambda p, x=x: p.expected_rewards(x))(problems)) for x in (states, near))
    np.testing.assert_allclose(rewards.var(), 1, atol=0.1)
    correlation = np.mean(rewards * moved)
    np.testing.assert_allclose(correlation, np.exp(-(0.5**2) / (2 * training.LENGTH_SCALE**2)), atol=0.1)


def test_both_learners_learn_and_change(small_run):
    rows, claim = small_run
    quartiles = claim["figure"]["training"]["quartiles"]
    for name in ("greedy_regret", "policy_regret"):
        median = quartiles[name][1]
        assert median[-1] < 0.85 * median[0]
    for phase in claims_smoothness.PHASES:
        ratios = {
            name: np.asarray(rows["training", f"{name}, {phase}"]["values"])
            for name in ("policy / greedy", "softmax / greedy", "policy / softmax", "cold / greedy")
        }
        np.testing.assert_allclose(
            ratios["policy / greedy"], ratios["softmax / greedy"] * ratios["policy / softmax"], rtol=1e-6
        )
        assert np.all(ratios["cold / greedy"] > 0.8)


def test_the_figure_shows_how_one_acts_and_what_is_learned(small_run):
    figure = claims_smoothness_plots.draw(small_run[1])
    bound, course = figure.axes
    lines = {line.get_label(): line for line in course.lines}
    for name, (label, color, _) in claims_smoothness_plots.CURVES.items():
        data = small_run[1]["figure"]["training"]
        np.testing.assert_array_equal(lines[label].get_ydata(), data["quartiles"][name][1])
        assert to_hex(lines[label].get_color()).upper() == color
    assert len(bound.texts) == 3
    with pytest.raises(ValueError, match="at least one round"):
        claims_smoothness_plots.draw({"figure": {"training": {"update": []}}})
