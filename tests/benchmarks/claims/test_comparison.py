"""Claim g: learners against updates by hand and exact values, the design's numbers, a small run, its figure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pgjax import environments
from studies.claims.comparison import bandit as bandits
from studies.claims.comparison import design as designs
from studies.claims.comparison import learners
from studies.claims.comparison import measure as claims_comparison
from studies.claims.comparison import plots as claims_comparison_plots
from studies.claims.comparison import statements as said
from studies.claims.comparison.statements import STATEMENTS
from studies.claims.rows import judged

pytestmark = pytest.mark.deep  # it runs the study

NUM_SEEDS, SEED = 4, 1
GAMMA = learners.DISCOUNT


@pytest.fixture(scope="module")
def claim():
    """A small run: short training, few pulls; the statements were there before it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learners, "NUM_POINTS", 10)
        patch.setattr(bandits, "NUM_PULLS", 128)
        patch.setattr(bandits, "CRITIC_STEPS", 2)
        patch.setattr(claims_comparison, "TIMING", {"min_time_s": 1e-3, "max_time_s": 2e-3, "min_repetitions": 1})
        patch.setattr(claims_comparison, "NUM_TIMINGS", 3)
        before = dict(STATEMENTS)
        with jax.debug_key_reuse(False):  # what is timed is the same call; learners run in threads of their own
            measured = judged(STATEMENTS, claims_comparison.measure(num_seeds=NUM_SEEDS, seed=SEED))
        assert before == STATEMENTS
    for compiled in (designs._train, designs._exact_values, bandits.pull_all_seeds):
        compiled.clear_cache()  # type: ignore[attr-defined]  # of these sizes
    return measured


@pytest.fixture(scope="module")
def rows(claim):
    """The rows by condition and quantity."""
    found = {(row["condition"], row["quantity"]): row for row in claim["rows"]}
    assert len(found) == len(claim["rows"]) == len(STATEMENTS)
    return found


def row_of(rows, *key):
    return rows[STATEMENTS[key].condition, STATEMENTS[key].quantity]


def test_every_statement_is_judged_and_the_exact_ones_hold(claim):
    assert [row["expected"] for row in claim["rows"]] == [[s.low, s.high] for s in STATEMENTS.values()]
    exact = [row for row in claim["rows"] if row["says"] == "exact"]
    assert len(exact) == 4
    assert [row for row in exact if row["verdict"] != "holds"] == []


def test_the_chapters_cells_are_said_without_conditions():
    for name in designs.ENVIRONMENTS:
        for topic, quantity in ((said.EFFICIENCY, said.MEAN_VALUE), (said.STABILITY, said.DRAWDOWN)):
            statement = STATEMENTS[f"{topic}: {name}", said.DIFFERENCE, quantity]
            assert (statement.says, statement.low, statement.high) == ("chapter", said.MORE, np.inf)
    topics = {key[0].split(":")[0] for key in said.COMPARISONS}
    assert topics == {
        *("what is learned", "how to act", "continuous actions"),
        *("stochastic policies", "sample efficiency", "stability"),
    }


def test_differences_and_ratios_are_those_of_the_rows_of_each_seed(rows):
    for where, who, quantity in STATEMENTS:
        if who in (said.DIFFERENCE, said.RATIO) and (where, said.VALUE, quantity) in STATEMENTS:
            value, policy = (
                np.array(row_of(rows, where, s, quantity)["values"]) for s in (said.VALUE, said.POLICY)
            )
            expected = value / policy if who == said.RATIO else value - policy
            np.testing.assert_allclose(row_of(rows, where, who, quantity)["values"], expected)


@pytest.mark.parametrize("topic", [(said.EFFICIENCY, said.MEAN_VALUE), (said.STABILITY, said.DRAWDOWN)])
def test_main_effects_are_those_of_the_four_cells(rows, topic):
    for name in designs.ENVIRONMENTS:
        where, quantity = f"{topic[0]}: {name}", topic[1]
        (a, b, c, d) = (np.array(row_of(rows, where, cell, quantity)["values"]) for cell in said.CELLS.values())
        assert a.shape == (NUM_SEEDS,)
        found = [row_of(rows, where, who, quantity)["values"] for who in (said.DIFFERENCE, said.REGIME)]
        np.testing.assert_allclose(found, [(a + b - c - d) / 2, (b + d - a - c) / 2], atol=1e-12)


def test_a_small_run_already_shows_what_theory_knows(rows):
    game = f"{said.STOCHASTIC}: rock-paper-scissors"
    np.testing.assert_allclose(row_of(rows, game, said.VALUE, said.EXPLOITABILITY)["values"], 0.9, atol=1e-5)
    assert row_of(rows, game, said.POLICY, said.EXPLOITABILITY)["verdict"] == "holds"
    aliased = f"{said.STOCHASTIC}: aliased gridworld"
    for who in (said.VALUE, said.POLICY):
        assert max(row_of(rows, aliased, who, said.FINAL)["values"]) <= -3.0268
    td = f"{said.STABILITY}: TD, linear features, two states"
    assert min(row_of(rows, td, "off-policy", said.GROWTH)["values"]) > 2
    assert max(row_of(rows, td, "on-policy", said.GROWTH)["values"]) < -5


def test_td_diverges_beyond_the_known_discount_alone():
    """Equal weights: w grows where gamma > 5 / (6 - 4 epsilon)."""
    threshold = 5 / (6 - 4 * said.END)
    assert threshold < said.TD_DISCOUNT
    features = jnp.asarray(claims_comparison.FEATURES, jnp.float32)
    following = jnp.asarray(claims_comparison.two_states().transition[:, 0], jnp.float32) @ features
    weights = jnp.array([0.5, 0.5, 0.0])
    for discount, sign in ((threshold - 0.01, 1), (threshold + 0.01, -1)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(said, "TD_DISCOUNT", discount)
            gradient = claims_comparison.td_gradient(jnp.ones(()), features, following, weights)
        assert np.sign(float(gradient)) == sign


def every_step(mdp, **ends):
    """Each action in each state of a deterministic environment, once."""
    states, actions = (x.ravel() for x in np.indices(mdp.reward.shape))
    going = ~mdp.terminal[states]
    states, actions = states[going], actions[going]
    following = mdp.transition[states, actions].argmax(-1)
    return environments.Trajectory(
        state=jnp.asarray(states, jnp.int32),
        observation=jnp.asarray(mdp.observation[states], jnp.int32),
        action=jnp.asarray(actions, jnp.int32),
        reward=jnp.asarray(mdp.reward[states, actions], jnp.float32),
        next_state=jnp.asarray(following, jnp.int32),
        next_observation=jnp.asarray(mdp.observation[following], jnp.int32),
        terminated=jnp.asarray(ends.get("terminated", mdp.terminal[following])),
        truncated=jnp.asarray(ends.get("truncated", np.zeros(len(states), bool))),
    )


SIZE = (learners.NUM_STATES, learners.NUM_ACTIONS)
EMPTY = learners.Tables(jnp.zeros(SIZE), jnp.zeros(SIZE))


@pytest.fixture(scope="module")
def gridworld():
    """The gridworld whose cells can be told apart, of the design's size."""
    return designs.padded(environments.fully_observed(environments.aliased_gridworld()))


def test_q_learning_on_every_step_is_value_iteration(gridworld):
    steps, tables = every_step(gridworld), EMPTY
    update = jax.jit(learners.q_learning)
    for _ in range(60):
        tables = update(tables, steps, jnp.array([1.0, 0.1, 0.0]))
    assert claims_comparison.relative_error(gridworld, np.asarray(tables.critic)) < 1e-5
    assert claims_comparison.relative_error(gridworld, np.zeros_like(tables.critic)) == pytest.approx(1)


def test_the_replayed_critic_evaluates_the_policy_that_is_learned_not_the_one_that_acted(gridworld):
    logits = jax.random.normal(jax.random.key(0), SIZE)
    tables, steps = EMPTY._replace(actor=logits), every_step(gridworld)
    update = jax.jit(learners.expected_actor_critic)
    for _ in range(150):
        tables = update(tables, steps, jnp.array([0.0, 1.0, 0.0]))
    exact = environments.action_value(gridworld, jax.nn.softmax(logits), GAMMA)
    going = ~gridworld.terminal
    np.testing.assert_allclose(tables.critic[going], exact[going], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(tables.actor, logits)
    moved = update(tables, steps, jnp.array([1.0, 1.0, 0.0])).actor - logits
    advantage = exact - jnp.sum(jax.nn.softmax(logits) * exact, axis=-1, keepdims=True)
    expected = learners.NUM_ACTIONS / len(steps.reward) * jax.nn.softmax(logits) * advantage
    np.testing.assert_allclose(moved[going], expected[going], rtol=1e-3, atol=1e-4)


def two_steps(terminated, truncated):
    """From observation 0 by action 1 to 1, from there by action 0 to 2, where it may end; rewards 1 and 2."""
    zero_one_two = (jnp.array([0, 1]), jnp.array([1, 2]))
    return environments.Trajectory(
        state=zero_one_two[0],
        observation=zero_one_two[0],
        action=jnp.array([1, 0]),
        reward=jnp.array([1.0, 2.0]),
        next_state=zero_one_two[1],
        next_observation=zero_one_two[1],
        terminated=jnp.array([False, terminated]),
        truncated=jnp.array([False, truncated]),
    )


@pytest.mark.parametrize(("terminated", "truncated"), [(True, False), (False, True)])
def test_updates_by_hand_tell_termination_from_truncation(terminated, truncated):
    steps, epsilon = two_steps(terminated, truncated), 0.2
    q = np.zeros(SIZE, np.float32)
    q[1], q[2] = [4, 0, 0, 0], [0, 8, 0, 0]
    tables = EMPTY._replace(critic=jnp.asarray(q))
    settings = jnp.array([0.5, epsilon, 0.0])
    acting = (1 - epsilon + epsilon / 4) * q.max(-1)  # the others are 0
    last, trace = 2 + GAMMA * (0 if terminated else 1) * acting[2], learners.TRACE
    first = 1 + GAMMA * ((1 - trace) * acting[1] + trace * last)
    moved = learners.sarsa(tables, steps, settings).critic
    np.testing.assert_allclose([moved[0, 1], moved[1, 0]], [first / 2, (4 + last) / 2], rtol=1e-5)
    moved = learners.q_learning(tables, steps, settings).critic
    best = 2 + GAMMA * (0 if terminated else 8)
    np.testing.assert_allclose([moved[0, 1], moved[1, 0]], [(1 + GAMMA * 4) / 2, (4 + best) / 2], rtol=1e-5)

    values = jnp.tile(jnp.arange(float(SIZE[0]))[:, None], (1, SIZE[1]))  # V(o) = o
    updated = learners.actor_critic(EMPTY._replace(critic=values), steps, jnp.array([1.0, 0.5, 0.0]))
    second = 2 + GAMMA * (0 if terminated else 2) - 1
    advantages = np.array([1 + GAMMA * 1 - 0 + GAMMA * trace * second, second])
    np.testing.assert_allclose(updated.critic[:2, 0], [0.5 * advantages[0], 1 + 0.5 * advantages[1]], rtol=1e-5)
    score = np.array([[-0.25, 0.75, -0.25, -0.25], [0.75, -0.25, -0.25, -0.25]])
    np.testing.assert_allclose(updated.actor[:2], advantages[:, None] / 2 * score, rtol=1e-5)


def test_an_entry_moves_toward_the_mean_of_its_targets():
    table, index = jnp.zeros(3), (jnp.array([1, 1, 2]),)
    moved = learners.toward(table, index, jnp.array([2.0, 4.0, 10.0]), jnp.array(0.5))
    np.testing.assert_allclose(moved, [0.0, 1.5, 5.0])


def test_every_learner_has_as_many_tries():
    cells = learners.LEARNERS
    assert list(cells) == list(said.CELLS)
    assert {len(set(learner.tries)) for learner in cells.values()} == {16}
    assert list(bandits.LEARNERS) == list(said.BANDIT_LEARNERS)
    assert {len(set(learner.tries)) for learner, _ in bandits.LEARNERS.values()} == {4}


def test_environments_are_normalized_by_exact_values():
    instances = designs.make_instances(seed=3, num=2)
    np.testing.assert_allclose(instances.best[[0, 2]], [[-2.044] * 2, [-3.0269] * 2], atol=5e-5)
    aliased, uniform = environments.aliased_gridworld(), np.full((4, 4), 0.25)
    with jax.enable_x64(True):
        known = environments.start_value(aliased, uniform, GAMMA)
    np.testing.assert_allclose(instances.uniform[[0, 2]], float(known), rtol=1e-10)
    drawn = jax.tree.map(lambda x: x[1, 1], instances.mdp)
    assert environments.optimal_policy(drawn, GAMMA).value == pytest.approx(instances.best[1, 1], rel=1e-9)
    assert instances.best[1, 0] != instances.best[1, 1]
    assert np.all(instances.best > instances.uniform)


def test_numbers_of_a_curve():
    acting = np.array([[[9.0, 0.0, 0.5, 1.0, 0.4, 0.7, 0.6]], [[0.0] * 6 + [1.0]]])
    np.testing.assert_allclose(designs.efficiency(acting), [[3.2 / 6], [1 / 6]])
    np.testing.assert_allclose(designs.drawdown(acting), [[0.6], [0.0]])
    seeds = np.array([[[0.0, 0.1], [0.0, 0.5], [0.0, 1.0]]])
    np.testing.assert_allclose(designs.spread(seeds), [[0.4, 0.0, 0.5]])


def test_the_grid_finds_its_actions_again_and_a_known_shape_its_optimum():
    learner = bandits.grid_learner()
    state = learner.init(jax.random.key(0))
    actions = jnp.asarray(bandits.GRID[100 : 100 + bandits.ROUND])
    pulls = bandits.Pulls(actions, jnp.arange(1.0, 1 + bandits.ROUND), jnp.array(bandits.ROUND))
    sums, counts = learner.update(jax.random.key(1), state, pulls, jnp.array(0.1))
    np.testing.assert_array_equal(np.flatnonzero(counts), np.arange(100, 100 + bandits.ROUND))
    best = learner.best(jax.random.key(2), (sums, counts), bandits.SEARCHED)
    np.testing.assert_array_equal(best, bandits.GRID[100 + bandits.ROUND - 1])

    made = claims_comparison.make_bandits(seed=5, num=2)
    bandit = jax.tree.map(lambda x: x[0], made)
    noiseless = bandit._replace(noise_std=jnp.zeros(()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bandits, "NUM_PULLS", 256)
        patch.setattr(bandits, "RIDGE", 1e-6)
        quadratic = bandits.quadratic_learner()
        pull_all = jax.jit(lambda key: bandits.pull_all(quadratic, False, key, noiseless, jnp.array(0.4)))
        lost = pull_all(jax.random.key(3))
    assert float(lost) < 0.01
    offset = np.full(6, 0.1)
    expected = offset @ np.asarray(bandit.curvature) @ offset
    assert float(bandits.regret(bandit, bandit.optimum + 0.1)) == pytest.approx(expected, rel=1e-4)


def test_the_figure_shows_every_environment_and_every_comparison(claim):
    figure = claims_comparison_plots.draw(claim)
    titles = [panel.get_title() for panel in figure.axes if panel.get_title()]
    assert titles == list(designs.ENVIRONMENTS)
    shown = [text.get_text() for panel in figure.axes[len(titles) :] for text in panel.get_yticklabels()]
    assert len(shown) == len(said.COMPARISONS)
    steps = claim["figure"]["steps"]
    assert all(np.shape(c) == (3, 3, len(steps)) for c in claim["figure"]["curves"].values())
    with pytest.raises(ValueError, match="at least one row that compares"):
        claims_comparison_plots.draw(claim | {"rows": []})
