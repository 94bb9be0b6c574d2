"""Facts of theory that the dynamics must show: derivations, a conserved quantity, thresholds, floors, limits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pgjax import games

UNIFORM = np.full(3, 1 / 3)
START = np.array([0.5, 0.3, 0.2])
BIASED_NASH = np.array([0.25, 0.5, 0.25])
TEMPERATURES = np.array([0.05, 0.1, 0.2, 0.4])


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


# Dynamics of (learning rate, temperature); the multiplier of one step at uniform play of rock-paper-scissors (the
# matrix has eigenvalues +-i sqrt(3) along the simplex); the learning rate at which that multiplier's size is 1.
REGULARIZED = {
    "softmax policy gradient": (
        lambda rate, t: games.softmax_policy_gradient(learning_rate=rate, temperature=t),
        lambda rate, t: 1 - rate * t / 3 + 1j * rate * 3**0.5 / 9,
        lambda t: 18 * t / (1 + 3 * t**2),
    ),
    "hedge": (
        lambda rate, t: games.hedge(learning_rate=rate, temperature=t),
        lambda rate, t: 1 - rate * t + 1j * rate * 3**0.5 / 3,
        lambda t: 2 * t / (t**2 + 1 / 3),
    ),
    "magnetic mirror descent": (
        lambda rate, t: games.magnetic_mirror_descent(learning_rate=rate, temperature=t),
        lambda rate, t: (1 + 1j * rate * 3**0.5 / 3) / (1 + rate * t),
        lambda t: 2 * t / (1 / 3 - t**2),
    ),
}
regularized = pytest.mark.parametrize(("make", "multiplier", "threshold"), REGULARIZED.values(), ids=REGULARIZED)


@regularized
@pytest.mark.parametrize("opponent", [None, UNIFORM], ids=["self-play", "two players"])
def test_the_jacobian_at_uniform_play_is_that_of_theory(make, multiplier, threshold, opponent):
    game = games.rock_paper_scissors()
    radius = jax.jit(jax.vmap(lambda rate, t: games.spectral_radius(make(rate, t), game, UNIFORM, opponent)))
    exact = threshold(TEMPERATURES)
    rates = np.concatenate([exact, 0.99 * exact, 1.01 * exact, np.array([0.01, 0.1, 1.0, 3.0])])
    found = np.asarray(radius(rates, np.tile(TEMPERATURES, 4)))
    np.testing.assert_allclose(found, np.abs(multiplier(rates, np.tile(TEMPERATURES, 4))), rtol=1e-9)
    np.testing.assert_allclose(found[:4], 1, rtol=1e-9)
    assert np.all(found[4:8] < 1)
    assert np.all(found[8:12] > 1)


@regularized
def test_measured_thresholds_are_those_of_theory(make, multiplier, threshold):
    """Within 3 %, by bisection on whether play returns from a small perturbation."""
    game = games.rock_paper_scissors()

    def measure(t):
        return games.stability_threshold(lambda rate: make(rate, t), game, UNIFORM, highest=8.0)

    stable, unstable = jax.jit(jax.vmap(measure))(TEMPERATURES)
    np.testing.assert_allclose(0.5 * (stable + unstable), threshold(TEMPERATURES), rtol=0.03)
    assert np.all(unstable - stable < 8 / 2**10)


def test_there_may_be_no_threshold():
    """Above temperature 1/sqrt(3) magnetic mirror descent is stable at any rate; plain Hedge at none."""
    game = games.rock_paper_scissors()

    def measure(temperature):
        def make(rate):
            return games.magnetic_mirror_descent(learning_rate=rate, temperature=temperature)

        return games.stability_threshold(make, game, UNIFORM, highest=50.0, num_steps=2000)

    stable, unstable = jax.jit(jax.vmap(measure))(np.array([0.6, 0.0]))
    assert (stable[0], unstable[0]) == (50.0, np.inf)
    assert stable[1] == 0
    assert unstable[1] < 0.1


def test_optimistic_hedge_is_stable_up_to_rate_one():
    game = games.rock_paper_scissors()
    radius = jax.jit(
        jax.vmap(lambda rate: games.spectral_radius(games.optimistic_hedge(learning_rate=rate), game, UNIFORM))
    )
    below, at, above = radius(np.array([0.99, 1.0, 1.01]))
    assert below < 1 < above
    assert at == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_steps_are_gradients(temperature, rng):
    """Softmax policy gradient's by autodiff; Hedge's is it times the inverse Fisher matrix; magnetic mirror
    descent's solves its problem (its first-order condition)."""
    values, logits, rate = rng.normal(size=4), np.log(rng.dirichlet(np.ones(4))), 0.4

    def payoff(logits):
        log_strategy = jax.nn.log_softmax(logits)
        return jnp.exp(log_strategy) @ (values - temperature * log_strategy)

    gradient, strategy = jax.grad(payoff)(logits), np.exp(logits)
    fisher = np.diag(strategy) - np.outer(strategy, strategy)
    settings = {"learning_rate": rate, "temperature": temperature}
    for make, direction in (
        (games.softmax_policy_gradient, gradient),
        (games.hedge, np.linalg.pinv(fisher) @ gradient),
    ):
        dynamics = make(**settings)
        moved = dynamics.step(dynamics.init(jnp.asarray(logits), values), jnp.asarray(values))
        np.testing.assert_allclose(moved.log_strategy, jax.nn.log_softmax(logits + rate * direction), atol=1e-10)
    magnet = rng.dirichlet(np.ones(4))
    dynamics = games.magnetic_mirror_descent(**settings, magnet=magnet)
    found = dynamics.step(dynamics.init(jnp.asarray(logits), values), jnp.asarray(values)).log_strategy
    condition = values - temperature * (found - np.log(magnet)) - (found - logits) / rate
    np.testing.assert_allclose(condition, condition[0], atol=1e-10)


def conserved(trajectory, weights):
    """sum_i w_i exp(-theta_i) along a trajectory, with logits of sum 0 (which softmax policy gradient keeps)."""
    logits = np.asarray(trajectory.log_strategy)
    return np.sum(weights * np.exp(np.mean(logits, axis=-1, keepdims=True) - logits), axis=-1)


def test_softmax_policy_gradient_cycles_outwards_in_self_play():
    """The chapter's claim's condition in numbers: rate .1 from (.5, .3, .2), 20,000 steps of exact gradients."""
    dynamics, game = games.softmax_policy_gradient(learning_rate=0.1), games.rock_paper_scissors()
    outcome, trajectory = jax.jit(
        lambda: games.play(dynamics, game, START, num_steps=20_000, return_trajectory=True)
    )()
    level = conserved(trajectory, np.ones(3))
    assert np.exp(np.mean(np.log(START))) * np.sum(1 / START) == pytest.approx(3.211, abs=5e-4)
    assert level[-1] == pytest.approx(5.387, abs=5e-4)
    assert np.all(np.diff(level) > 0)
    late = np.asarray(trajectory.exploitability)[-1000:]
    assert np.max(late) == pytest.approx(0.85, abs=5e-4)
    assert outcome.average_exploitability == pytest.approx(0.00503, abs=5e-6)
    assert set(np.argmax(np.asarray(trajectory.log_strategy)[-1000:], axis=1)) == {0, 1, 2}  # it cycles


def test_softmax_policy_gradients_level_never_falls_and_is_conserved_in_continuous_time():
    """At any rate, in both games; over a fixed time, the rise halves with the rate."""
    payoffs = np.stack([games.rock_paper_scissors(), games.biased_rock_paper_scissors()])
    nash = np.stack([UNIFORM, BIASED_NASH])
    rates = np.array([0.05, 0.1, 1.0, 10.0, 100.0])

    def solve(payoff, rate):
        dynamics = games.softmax_policy_gradient(learning_rate=rate)
        return games.play(dynamics, payoff, START, num_steps=400, return_trajectory=True)[1]

    trajectory = jax.jit(jax.vmap(jax.vmap(solve, (None, 0)), (0, None)))(payoffs, rates)
    level = conserved(trajectory, nash[:, None, None])
    assert np.all(np.diff(level) >= -1e-12 * level[..., 1:])
    first = np.sum(nash * np.exp(np.mean(np.log(START)) - np.log(START)), axis=-1)
    rise = level[:, 0, 399] - first, level[:, 1, 199] - first  # 20 units of time
    np.testing.assert_allclose(rise[1] / rise[0], 2, rtol=0.05)
    assert np.all(rise[1] < 0.02 * first)


def test_hedge_leaves_nash_and_its_average_approaches_it():
    """KL(Nash, strategy) never falls (Bailey & Piliouras, 2018); the average obeys Hedge's bound on regret."""
    game, rates = games.biased_rock_paper_scissors(), np.array([0.02, 0.1])

    def solve(rate):
        return games.play(games.hedge(learning_rate=rate), game, START, num_steps=5000, return_trajectory=True)

    outcome, trajectory = jax.jit(jax.vmap(solve))(rates)
    divergence = np.log(BIASED_NASH) @ BIASED_NASH - np.asarray(trajectory.log_strategy) @ BIASED_NASH
    assert np.all(np.diff(divergence) >= -1e-12)
    assert np.all(divergence[:, -1] / divergence[:, 0] > [1.5, 10])
    assert np.max(trajectory.exploitability[1, -1000:]) > 0.99
    # log(1 / lowest initial probability) / (eta T) + eta max|u|^2 / 2, of each side.
    assert np.all(outcome.average_exploitability <= np.log(1 / 0.2) / (rates * 5000) + rates * 4 / 2)
    assert outcome.average_exploitability[0] < 0.1 * games.exploitability(game, START)


LAST_ITERATE = {
    "optimistic hedge": games.optimistic_hedge,
    "moving magnet": functools.partial(games.moving_magnet_descent, temperature=0.2, magnet_rate=0.05),
}


@pytest.mark.parametrize("make", LAST_ITERATE.values(), ids=LAST_ITERATE)
def test_last_strategies_that_reach_nash(make):
    """In both games, in self-play and from two different strategies."""
    payoffs = np.stack([games.rock_paper_scissors(), games.biased_rock_paper_scissors()])
    dynamics = make(learning_rate=0.1)

    def solve(payoff):
        alone = games.play(dynamics, payoff, START, num_steps=20_000)
        pair = games.play(dynamics, payoff, START, START[::-1], num_steps=20_000)
        return jnp.stack([alone.exploitability, pair.exploitability]), alone.strategy, pair.strategy[1]

    left, *found = jax.jit(jax.vmap(solve))(payoffs)
    assert np.all(np.abs(left) < 1e-9)
    for strategies in found:
        np.testing.assert_allclose(strategies, [UNIFORM, BIASED_NASH], atol=1e-8)


def test_the_floor_that_entropy_leaves_in_the_biased_game():
    """All three converge to the quantal response equilibrium, whose exploitability is the floor."""
    game, temperatures = games.biased_rock_paper_scissors(), np.array([0.2, 0.1, 0.05])
    exact = [games.quantal_response_equilibrium(game, t) for t in temperatures]
    floors = np.array([games.exploitability(game, found.strategy) for found in exact])
    np.testing.assert_allclose(floors, [0.0650, 0.0341, 0.0173], atol=5e-5)

    def solve(temperature):
        return [
            games.play(make(rate, temperature), game, START, num_steps=20_000)
            for rate, (make, _, _) in zip((0.4, 0.05, 0.1), REGULARIZED.values(), strict=True)
        ]

    for outcome in jax.jit(jax.vmap(solve))(temperatures):
        np.testing.assert_allclose(outcome.exploitability, floors, atol=1e-6)
        np.testing.assert_allclose(outcome.strategy, [found.strategy for found in exact], atol=1e-6)


def test_greedy_values_stay_exploitable_and_only_their_average_converges():
    game, epsilons = games.rock_paper_scissors(), np.array([0.0, 0.1, 0.5])

    def solve(epsilon):
        dynamics = games.fictitious_play(epsilon=epsilon)
        return games.play(dynamics, game, START, num_steps=20_000, return_trajectory=True)[1]

    trajectory = jax.jit(jax.vmap(solve))(epsilons)
    np.testing.assert_allclose(trajectory.exploitability, np.repeat(1 - epsilons[:, None], 20_000, 1), atol=1e-12)
    average = np.asarray(trajectory.average_exploitability[0])
    assert average[-1] < 0.02
    slope = np.polyfit(np.log(np.arange(100, 20_000)), np.log(average[100:]), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.1)  # Robinson's convergence, at the rate 1 / sqrt(t)
