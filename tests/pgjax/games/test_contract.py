"""Matrix games: payoffs and identities, equilibria, the driver, and every dynamics in it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import softmax

from pgjax import games
from tests.deep import deep_except
from tests.pgjax.games.cases import DYNAMICS

UNIFORM = np.full(3, 1 / 3)
payoffs = hnp.arrays(np.float32, (3, 4), elements=st.integers(-9, 9).map(float))


def strategies(size):
    weights = hnp.arrays(np.float32, (size,), elements=st.integers(0, 9).map(float))
    return weights.filter(np.any).map(lambda x: x / x.sum())


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ([1.0, 0.0, 0.0], 1.0),
        ([0.0, 0.0, 1.0], 1.0),
        (UNIFORM, 0.0),
        ([0.4, 0.3, 0.3], 0.1),
        (0.2 * UNIFORM + [0.0, 0.8, 0.0], 0.8),
    ],
)
def test_exploitability_in_rock_paper_scissors_is_the_chapters(strategy, expected):
    game = games.rock_paper_scissors()
    assert games.exploitability(game, strategy) == pytest.approx(expected, abs=1e-7)
    assert games.exploitability(game, strategy, strategy) == pytest.approx(expected, abs=1e-7)
    assert games.expected_payoff(game, strategy) == pytest.approx(0, abs=1e-7)


def test_rock_against_paper_by_hand():
    rock, paper = np.eye(3)[:2]
    game = games.rock_paper_scissors()
    assert games.expected_payoff(game, rock, paper) == -1
    assert games.best_response_values(game, rock, paper) == (1, 1)
    assert games.nash_conv(game, rock, paper) == 2
    assert games.expected_payoff(games.biased_rock_paper_scissors(), rock, [0, 0, 1]) == 2


@jax.jit
def judge(payoff, x, y):
    """Expected payoff, both best responses' values, NashConv."""
    best = games.best_response_values(payoff, x, y)
    return games.expected_payoff(payoff, x, y), *best, games.nash_conv(payoff, x, y)


@given(payoffs, strategies(3), strategies(4))
def test_what_one_player_wins_the_other_loses(payoff, x, y):
    won, row, column, conv = judge(payoff, x, y)
    mirrored = judge(-payoff.T, y, x)
    np.testing.assert_allclose(mirrored, [-won, column, row, conv], atol=1e-5)
    assert conv == pytest.approx(float(row) + float(column), abs=1e-5)
    assert -column - 1e-5 <= won <= row + 1e-5


@given(payoffs, strategies(3), strategies(4), st.floats(-5, 5, width=32), st.floats(0, 5, width=32))
def test_nash_conv_ignores_constants_and_scales_with_the_payoff(payoff, x, y, constant, scale):
    changed = judge(np.float32(scale) * payoff + np.float32(constant), x, y)[-1]
    assert changed == pytest.approx(scale * float(judge(payoff, x, y)[-1]), abs=1e-4)


@given(payoffs, strategies(3), strategies(4))
def test_nobody_gains_by_leaving_a_nash_equilibrium(payoff, x, y):
    equilibrium = games.nash_equilibrium(payoff)
    matrix = payoff.astype(np.float64)
    assert np.max(matrix @ equilibrium.opponent) <= equilibrium.value + 1e-9
    assert np.min(equilibrium.strategy @ matrix) >= equilibrium.value - 1e-9
    assert -np.min(x @ matrix) >= -equilibrium.value - 1e-6  # minimax: any strategies bracket the value
    assert np.max(matrix @ y) >= equilibrium.value - 1e-6


def test_known_equilibria():
    biased = games.nash_equilibrium(games.biased_rock_paper_scissors())
    np.testing.assert_allclose(biased.strategy, [0.25, 0.5, 0.25], atol=1e-12)
    np.testing.assert_allclose(biased.opponent, biased.strategy, atol=1e-12)
    assert biased.value == pytest.approx(0, abs=1e-12)
    saddle = games.nash_equilibrium([[3, 1, 4], [1, 0, 2]])
    assert (saddle.value, *saddle.strategy, *saddle.opponent) == pytest.approx((1, 1, 0, 0, 1, 0))


@given(payoffs, st.sampled_from([0.01, 0.1, 1.0, 10.0]))
def test_a_quantal_response_answers_its_own_values(payoff, temperature):
    found = games.quantal_response_equilibrium(payoff, temperature)
    matrix = payoff.astype(np.float64)
    np.testing.assert_allclose(found.strategy, softmax(matrix @ found.opponent / temperature), atol=1e-8)
    np.testing.assert_allclose(found.opponent, softmax(-found.strategy @ matrix / temperature), atol=1e-8)
    # Entropy is worth temperature * log A at most, so that little is lost against a Nash equilibrium.
    lost = np.max(matrix @ found.opponent) - np.min(found.strategy @ matrix)
    assert -1e-9 <= lost <= temperature * (np.log(3) + np.log(4)) + 1e-9


@pytest.mark.parametrize(
    "name", deep_except(DYNAMICS.keys(), "hedge, entropy", "moving magnet", "fictitious play")
)
def test_self_play_stays_in_the_simplex_from_its_inside_and_its_edge(name):
    edges = [[0.6, 0.4, 0.0], [0.0, 1.0, 0.0], [1 - 1e-30, 1e-30, 0.0], [1 - 1e-6, 1e-6 - 1e-12, 1e-12]]
    initial = np.asarray([UNIFORM, [0.5, 0.3, 0.2], *edges], np.float32)
    game = games.biased_rock_paper_scissors()

    @jax.jit
    def solve(strategy):
        return games.play(DYNAMICS[name](), game, strategy, num_steps=300, return_trajectory=True)

    outcome, trajectory = jax.tree.map(lambda *leaves: np.stack(leaves), *map(solve, initial))
    for shown in (outcome.strategy, outcome.average, trajectory.strategy, trajectory.average):
        np.testing.assert_allclose(np.sum(shown, axis=-1), 1, atol=1e-5)
        assert np.all(np.asarray(shown) >= 0)
    assert np.all(np.isfinite(trajectory.exploitability) & np.isfinite(trajectory.average_exploitability))
    if name != "fictitious play":
        np.testing.assert_array_equal(outcome.log_strategy > -np.inf, initial > 0)
        np.testing.assert_allclose(outcome.strategy[3], initial[3], atol=1e-7)
    jax.tree.map(np.testing.assert_array_equal, outcome, jax.tree.map(lambda leaf: leaf[:, -1], trajectory))


@pytest.mark.parametrize(
    "name",
    deep_except(DYNAMICS.keys(), "softmax policy gradient, entropy", "optimistic hedge", "moving magnet"),
)
def test_the_averages_nash_conv_is_the_players_regret(name, rng):
    """The folk theorem, as an equality, for two players in many games of unequal numbers of actions."""
    matrices = rng.normal(size=(5, 2, 3)).astype(np.float32)
    x, y = (rng.dirichlet(np.ones(size), 5).astype(np.float32) for size in (2, 3))

    def solve(game, x, y):
        return games.play(DYNAMICS[name](), game, x, y, num_steps=200, return_trajectory=True)

    outcome, trajectory = jax.jit(jax.vmap(solve))(matrices, x, y)
    rows, columns = (np.asarray(side, np.float64) for side in trajectory.strategy)
    rows, columns = np.concatenate([x[:, None], rows[:, :-1]], 1), np.concatenate([y[:, None], columns[:, :-1]], 1)
    for i, game in enumerate(matrices.astype(np.float64)):
        won = np.einsum("ta,ab,tb->t", rows[i], game, columns[i])
        row_regret = np.max(np.sum(columns[i] @ game.T, axis=0)) - np.sum(won)
        column_regret = np.max(np.sum(-rows[i] @ game, axis=0)) + np.sum(won)
        expected = (row_regret + column_regret) / 200
        assert 2 * outcome.average_exploitability[i] == pytest.approx(expected, abs=2e-5)


def test_settings_can_be_batched(rng):
    """One program for many learning rates and temperatures, each as if alone."""
    game, start = games.rock_paper_scissors(), np.asarray([0.5, 0.3, 0.2], np.float32)

    def solve(learning_rate, temperature):
        dynamics = games.hedge(learning_rate=learning_rate, temperature=temperature)
        return games.play(dynamics, game, start, num_steps=50).strategy

    rates, temperatures = np.asarray([[0.1, 0.5, 0.2], [0.0, 0.1, 1.0]], np.float32)
    batch, alone = jax.jit(jax.vmap(solve))(rates, temperatures), jax.jit(solve)
    for i in range(3):
        np.testing.assert_allclose(batch[i], alone(rates[i], temperatures[i]), atol=1e-6)
    np.testing.assert_allclose(batch[1], solve(0.5, 0.1), atol=1e-6)  # settings as numbers
    below = alone(np.float32(-1), np.float32(-1))  # count as 0: nothing moves
    np.testing.assert_allclose(below, start, atol=1e-6)


def test_traced_strategies_get_a_defined_meaning():
    initial = np.float32([[2, 1, 1], [-1, 1, 1], [0, 0, 0], [np.nan, 1, 1], [np.inf, 0, 1]])
    dynamics = games.hedge(learning_rate=1e-6)
    solve = jax.jit(jax.vmap(lambda x: games.play(dynamics, games.rock_paper_scissors(), x, num_steps=1).strategy))
    expected = [[0.5, 0.25, 0.25], [0, 0.5, 0.5], UNIFORM, [0, 0.5, 0.5], [0, 0, 1]]
    np.testing.assert_allclose(solve(initial), expected, atol=1e-5)


def test_the_strategy_learned_has_gradients_in_payoff_and_settings():
    @jax.jit
    def value(payoff, rate):
        dynamics = games.magnetic_mirror_descent(learning_rate=rate, temperature=0.2)
        return games.play(dynamics, payoff, np.array([0.5, 0.5, 0]), np.array([0.2, 0.8]), num_steps=5).strategy[
            0
        ][0]

    payoff, rate = jnp.array([[1.0, -1.0], [-1.0, 1.0], [0.0, 0.0]]), 0.3
    by_payoff, by_rate = jax.jit(jax.grad(value, argnums=(0, 1)))(payoff, rate)
    numeric = (value(payoff, rate + 1e-2) - value(payoff, rate - 1e-2)) / 2e-2
    assert by_rate == pytest.approx(float(numeric), rel=0.02)
    step = 1e-2 * np.eye(3, 2, dtype=np.float32)
    numeric = (value(payoff + step, rate) - value(payoff - step, rate)) / 2e-2
    assert np.trace(by_payoff) == pytest.approx(float(numeric), rel=0.02)
    assert np.all(by_payoff[2] == 0)


ROCK_PAPER_SCISSORS = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
HEDGE = games.hedge(learning_rate=0.1)


@pytest.mark.parametrize(
    "dynamics",
    [
        games.hedge(learning_rate=0.1, temperature=0.1),
        games.softmax_policy_gradient(learning_rate=0.1),
        games.magnetic_mirror_descent(learning_rate=0.1, temperature=0.1, magnet=[0.2, 0.3, 0.5]),
        games.moving_magnet_descent(learning_rate=0.1, temperature=0.1, magnet_rate=0.05),
        games.fictitious_play(epsilon=0.1),
    ],
)
def test_dynamics_made_in_float32_play_in_float64(dynamics):
    with jax.enable_x64(True):
        outcome = games.play(dynamics, games.rock_paper_scissors(), np.array([0.5, 0.3, 0.2]), num_steps=3)
        assert outcome.log_strategy.dtype == np.float64


def test_equilibria_do_not_depend_on_the_payoffs_scale():
    biased = np.asarray(games.biased_rock_paper_scissors(), np.float64)
    for scale in (1e-9, 1.0, 1e9):
        found = games.nash_equilibrium(scale * biased)
        np.testing.assert_allclose(found.strategy, [0.25, 0.5, 0.25], atol=1e-6)
        np.testing.assert_allclose(found.opponent, [0.25, 0.5, 0.25], atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: games.exploitability(np.ones(3), UNIFORM), r"payoff must have shape \[A1, A2\]"),
        (lambda: games.exploitability(np.ones((2, 3)), UNIFORM), "payoff must be square"),
        (lambda: games.exploitability(np.ones((3, 3)), UNIFORM), "payoff must be antisymmetric"),
        (lambda: games.exploitability(np.full((3, 3), np.nan), UNIFORM, UNIFORM), "payoff must be finite"),
        (lambda: games.expected_payoff(ROCK_PAPER_SCISSORS, np.ones(2)), r"strategy must have shape \[3\]"),
        (lambda: games.nash_conv(np.ones((3, 2)), UNIFORM, UNIFORM), r"opponent must have shape \[2\]"),
        (lambda: games.nash_equilibrium(np.ones(3)), r"payoff must have shape \[A1, A2\]"),
        (lambda: games.nash_equilibrium([[np.inf]]), "payoff must be finite"),
        (lambda: games.quantal_response_equilibrium(ROCK_PAPER_SCISSORS, 0.0), "temperature must be positive"),
        (lambda: games.hedge(learning_rate=0.0), "learning_rate must be positive"),
        (lambda: games.hedge(learning_rate=np.ones(2)), "learning_rate must be a scalar"),
        (lambda: games.hedge(learning_rate=0.1, temperature=-0.1), "temperature must be at least 0"),
        (lambda: games.softmax_policy_gradient(learning_rate=np.nan), "learning_rate must be positive"),
        (lambda: games.softmax_policy_gradient(learning_rate=0.1, temperature=-1), "temperature must be"),
        (lambda: games.optimistic_hedge(learning_rate=-1), "learning_rate must be positive"),
        (lambda: games.magnetic_mirror_descent(learning_rate=0.1, temperature=np.inf), "temperature must be"),
        (
            lambda: games.magnetic_mirror_descent(learning_rate=0.1, temperature=0.1, magnet=[0.0, 1.0]),
            "magnet must be positive",
        ),
        (
            lambda: games.magnetic_mirror_descent(learning_rate=0.1, temperature=0.1, magnet=1.0),
            r"magnet must have shape \[A\]",
        ),
        (
            lambda: games.play(
                games.magnetic_mirror_descent(learning_rate=0.1, temperature=0.1, magnet=[0.5, 0.5]),
                ROCK_PAPER_SCISSORS,
                UNIFORM,
                num_steps=1,
            ),
            r"magnet must have shape \(3,\)",
        ),
        (
            lambda: games.moving_magnet_descent(learning_rate=0.1, temperature=0.1, magnet_rate=2),
            "magnet_rate must be",
        ),
        (lambda: games.fictitious_play(epsilon=1.5), "epsilon must be at least 0 and at most 1"),
        (lambda: games.play(HEDGE, ROCK_PAPER_SCISSORS, UNIFORM, num_steps=0), "num_steps must be an integer"),
        (lambda: games.play(HEDGE, ROCK_PAPER_SCISSORS, np.array([2.0, -1, 0]), num_steps=1), "strategy must be"),
        (
            lambda: games.play(HEDGE, ROCK_PAPER_SCISSORS, UNIFORM, np.ones(3), num_steps=1),
            "opponent must be prob",
        ),
        (lambda: games.play(HEDGE, np.ones((3, 3)), UNIFORM, num_steps=1), "payoff must be antisymmetric"),
        (
            lambda: games.stability_threshold(
                lambda rate: HEDGE, ROCK_PAPER_SCISSORS, UNIFORM, highest=1.0, num_bisections=0
            ),
            "num_bisections must be an integer",
        ),
        *(
            (
                lambda highest=highest: games.stability_threshold(
                    lambda rate: HEDGE, ROCK_PAPER_SCISSORS, UNIFORM, highest=highest
                ),
                "highest must be",
            )
            for highest in (np.inf, -1.0, "fast")
        ),
        (lambda: games.hedge(learning_rate="fast"), "learning_rate must be positive and finite; got 'fast'"),
        (lambda: games.exploitability(ROCK_PAPER_SCISSORS, [2.0, -1.0, 0.0]), "strategy must be probabilities"),
        (lambda: games.exploitability(ROCK_PAPER_SCISSORS, ["a", "b", "c"]), "strategy must be an array of real"),
        (lambda: games.nash_equilibrium(1j * ROCK_PAPER_SCISSORS), "payoff must be an array of real numbers"),
        (lambda: games.quantal_response_equilibrium(ROCK_PAPER_SCISSORS, [0.1, 0.2]), "temperature must be a num"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
