"""Exact values and gradients: against recursion, differences, one another, and the published numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import optimize

from pgjax import environments as envs
from tests.deep import deep
from tests.gradients import assert_gradients_are_differences


@pytest.fixture(autouse=True)
def float64():
    """Exact to float64's precision."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def random_mdp():
    """Five states, three actions, two observations, random moves; the last state is the end."""
    rng = np.random.default_rng(3)
    transition = rng.dirichlet(np.full(5, 0.5), (5, 3))
    return envs.tabular_mdp(
        transition,
        rng.normal(size=(5, 3)),
        [0.4, 0.3, 0.2, 0.1, 0],
        observation=[0, 1, 0, 1, 1],
        terminal=np.arange(5) == 4,
    )


LOGITS = np.array([[0.3, -0.5, 0.9], [-1.0, 0.2, 0.1]])
# One program for all environments of a size, in place of one for each operation of the elimination.
policy_value, action_value, occupancy, start_value = (
    jax.jit(function, static_argnames="time_limit")
    for function in (envs.policy_value, envs.action_value, envs.occupancy, envs.start_value)
)
policy_gradient = jax.jit(envs.policy_gradient)


def gridworld_start_value(policy, discount, **rewards):
    return float(start_value(envs.aliased_gridworld(**rewards), policy, discount))


@pytest.mark.parametrize("discount", [deep(1.0), 0.9])
def test_values_visits_and_action_values_agree(discount, random_mdp):
    policy = jax.nn.softmax(LOGITS)
    value = policy_value(random_mdp, policy, discount)
    q = action_value(random_mdp, policy, discount)
    visits = occupancy(random_mdp, policy, discount)
    by_state = policy[random_mdp.observation]
    start = start_value(random_mdp, policy, discount)
    np.testing.assert_allclose(jnp.sum(by_state * q, axis=1), value, atol=1e-12)
    np.testing.assert_allclose(visits @ jnp.sum(by_state * random_mdp.reward, axis=1), start, atol=1e-12)
    long = {"time_limit": 2000}
    np.testing.assert_allclose(policy_value(random_mdp, policy, discount, **long), value, atol=1e-9)
    np.testing.assert_allclose(action_value(random_mdp, policy, discount, **long), q, atol=1e-9)
    np.testing.assert_allclose(occupancy(random_mdp, policy, discount, **long), visits, atol=1e-9)


def test_a_time_limit_counts_the_steps_until_it():
    corridor, left = envs.short_corridor(), jnp.array([[1.0, 0.0]])
    assert start_value(corridor, left, time_limit=7) == -7
    np.testing.assert_allclose(start_value(corridor, left, 0.5, time_limit=3), -1.75)
    np.testing.assert_array_equal(occupancy(corridor, left, time_limit=7), [7, 0, 0, 0])
    np.testing.assert_array_equal(action_value(corridor, left, time_limit=1)[:3], -1)


def test_values_without_an_end_are_infinite_or_zero_and_never_nan():
    grid = envs.aliased_gridworld()
    east = envs.toward_treasure(1.0)
    np.testing.assert_array_equal(policy_value(grid, east), [-3, -2, -1, -np.inf, -np.inf, 0, 0, 0])
    np.testing.assert_allclose(occupancy(grid, east), [0.2, 0.4, 0.6, np.inf, np.inf, 0, 0, 0])
    arrivals = grid._replace(reward=grid.transition[:, :, 6] * ~grid.terminal[:, None])
    np.testing.assert_allclose(start_value(arrivals, east), 0.6)  # the others walk for ever, for nothing
    assert start_value(envs.two_aliased_states(2.0), np.array([[1.0, 0.0]])) == -np.inf
    paid = grid._replace(reward=-grid.reward)
    assert start_value(paid, east) == np.inf
    q = action_value(grid, east)
    assert not np.any(np.isnan(q))
    assert q[3, envs.Move.SOUTH] == -np.inf
    assert q[4, envs.Move.SOUTH] == -11
    assert np.all(np.isfinite(jax.grad(lambda p: start_value(grid, p))(east)))
    np.testing.assert_allclose(envs.short_corridor_value(jnp.array([-1.0, 0, 1, 2])), -np.inf)


@pytest.mark.parametrize(
    ("name", "discount"),
    [
        ("gridworld", 1.0),
        ("random", 0.9),
        deep("gridworld", 0.9),
        deep("random", 1.0),
        deep("corridor", 1.0),
        deep("corridor", 0.9),
    ],
)
def test_the_policy_gradient_theorem_is_the_derivative(name, discount, random_mdp):
    mdp, logits = {
        "random": (random_mdp, LOGITS),
        "gridworld": (envs.aliased_gridworld(), np.random.default_rng(0).normal(size=(4, 4))),
        "corridor": (envs.short_corridor(), np.array([[0.4, -0.2]])),
    }[name]

    def objective(logits):
        return envs.start_value(mdp, jax.nn.softmax(logits), discount)

    by_theorem = policy_gradient(mdp, logits, discount)
    np.testing.assert_allclose(by_theorem, jax.jit(jax.grad(objective))(logits), rtol=1e-9, atol=1e-11)
    assert_gradients_are_differences(objective, logits)
    np.testing.assert_allclose(np.sum(by_theorem, axis=1), 0, atol=1e-9)


def test_the_gradient_with_a_time_limit_is_the_derivative():
    grid = envs.aliased_gridworld()

    def objective(logits):
        return envs.start_value(grid, jax.nn.softmax(logits), 1.0, time_limit=20)

    assert_gradients_are_differences(objective, np.random.default_rng(0).normal(size=(4, 4)))


def test_functions_are_safe_under_jit_and_vmap_over_policies_discounts_and_environments(random_mdp):
    logits = np.stack([LOGITS, -LOGITS])
    discounts = np.array([1.0, 0.7])
    mdps = jax.tree.map(lambda x: jnp.stack([x, x]), random_mdp)

    def one(mdp, logits, discount):
        policy = jax.nn.softmax(logits)
        return (
            envs.action_value(mdp, policy, discount),
            envs.occupancy(mdp, policy, discount),
            envs.policy_gradient(mdp, logits, discount),
        )

    batch = jax.jit(jax.vmap(one))(mdps, logits, discounts)
    for i in range(2):
        for given, expected in zip(batch, jax.jit(one)(random_mdp, logits[i], discounts[i]), strict=True):
            np.testing.assert_allclose(given[i], expected, rtol=1e-9, atol=1e-12)


def test_single_precision_is_close_to_double(random_mdp):
    policy = jax.nn.softmax(LOGITS)
    expected = envs.policy_value(random_mdp, policy)
    with jax.enable_x64(False):
        given = envs.policy_value(random_mdp, np.asarray(policy, np.float32))
        assert given.dtype == jnp.float32
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("discount", "value"), [(1.0, -3.8), (0.9, -3.0269)])
def test_gridworld_fifty_fifty(discount, value):
    assert gridworld_start_value(envs.toward_treasure(0.5), discount) == pytest.approx(value, abs=5e-5)


@pytest.mark.parametrize("discount", [1.0, 0.9, 0.5])
def test_gridworld_value_of_the_grey_cells(discount):
    value = policy_value(envs.aliased_gridworld(), envs.toward_treasure(0.5), discount)
    np.testing.assert_allclose(value[jnp.array([1, 3])], -(1 + discount) / (1 - discount**2 / 2))


def test_gridworld_epsilon_greedy():
    """epsilon = .1 between east and west in the grey cells; over all moves everywhere it is worse."""
    for discount, rounded in ((1.0, -17.44), (0.9, -4.485)):
        grey = -(1 + discount) / (1 - discount**2 * np.array([0.05, 0.95]))
        value = np.sum(np.append((1 + discount) * grey - 1, -1)) / 5
        assert value == pytest.approx(rounded, abs=3e-3)
        given = gridworld_start_value(envs.toward_treasure(0.95), discount)
        assert given == pytest.approx(value, rel=1e-12)
        everywhere = envs.epsilon_greedy(envs.toward_treasure(1.0), 0.1)
        assert gridworld_start_value(everywhere, discount) < given


@pytest.mark.parametrize(("right", "value"), [(0.05, -82.1), (0.95, -44.2)])
def test_corridor_epsilon_greedy(right, value):
    assert float(envs.short_corridor_value(right)) == pytest.approx(value, abs=0.06)


def test_corridor_value_in_closed_form_and_its_maximum():
    corridor, p = envs.short_corridor(), np.linspace(0.02, 0.98, 25)
    by_solve = jax.jit(jax.vmap(lambda p: start_value(corridor, jnp.stack([1 - p, p])[None])))(p)
    np.testing.assert_allclose(by_solve, envs.short_corridor_value(p), rtol=1e-12)
    best = 2 - np.sqrt(2)
    assert best == pytest.approx(0.5858, abs=5e-5)
    np.testing.assert_allclose(envs.short_corridor_value(best), -(6 + 4 * np.sqrt(2)), rtol=1e-12)
    np.testing.assert_allclose(jax.grad(envs.short_corridor_value)(best), 0, atol=1e-12)


def test_corridor_gradient_in_closed_form():
    for p in (0.1, 0.5, 0.9):
        gradient = policy_gradient(envs.short_corridor(), np.log([[1 - p, p]]))
        expected = (2 * p**2 - 8 * p + 4) / (p * (1 - p))
        np.testing.assert_allclose(gradient, [[-expected, expected]], rtol=1e-10)


@pytest.mark.deep
def test_values_of_episodes_that_hardly_end_keep_their_sign_and_digits():
    corridor = envs.short_corridor()

    def answers(logits):
        policy, moments = jax.nn.softmax(logits), envs.reinforce_moments(corridor, logits)
        return (
            envs.start_value(corridor, policy),
            -jnp.sum(envs.occupancy(corridor, policy)),
            envs.policy_gradient(corridor, logits),
            moments.mean,
            moments.variance,
            envs.optimal_baseline(corridor, logits),
            envs.per_step_mean_gradient(corridor, logits),
        )

    for x64, rtol in ((True, 1e-12), (False, 1e-5)):
        with jax.enable_x64(x64):
            jitted = jax.jit(answers)
            for logit in (17.0, 18.0, 37.0, -60.0):
                tail = np.exp(-abs(logit))
                p = (1 if logit > 0 else tail) / (1 + tail)
                both = tail / (1 + tail) ** 2  # p (1 - p)
                value, slope = -(4 - 2 * p) / both, (2 * p**2 - 8 * p + 4) / both
                *values, gradient, mean, variance, baseline, per_step = jitted(np.array([[0, logit]]))
                np.testing.assert_allclose(values, value, rtol=rtol)
                np.testing.assert_allclose([gradient, mean], [[[-slope, slope]]] * 2, rtol=rtol)
                assert np.all(variance > 0)  # inf, not nan, out of the range of float32
                assert baseline <= 0
                assert not np.any(np.isnan(per_step))


@pytest.mark.deep
def test_elimination_equals_the_dense_solve(random_mdp):
    policy, discount = np.asarray(jax.nn.softmax(LOGITS)), 0.9
    going = ~random_mdp.terminal
    by_state = policy[random_mdp.observation] * going[:, None]
    moves = np.einsum("sa,sat->st", by_state, random_mdp.transition) * going
    reward = np.sum(by_state * random_mdp.reward, axis=1)
    matrix = np.eye(5) - discount * moves
    np.testing.assert_allclose(policy_value(random_mdp, policy, discount), np.linalg.solve(matrix, reward))
    visits = np.linalg.solve(matrix.T, random_mdp.initial)
    np.testing.assert_allclose(occupancy(random_mdp, policy, discount), visits, atol=1e-15)

    def objective(discount, rewards):
        mdp = random_mdp._replace(reward=rewards)
        return envs.start_value(mdp, policy, discount), envs.occupancy(mdp, policy, discount)

    check_grads(jax.jit(objective), (discount, np.array(random_mdp.reward)), order=2)


def test_an_endless_chance_of_rewards_of_both_signs_is_minus_infinity():
    two = envs.two_aliased_states()
    assert start_value(two, np.array([[0.5, 0.5]])) == -np.inf  # each state's mean reward is 0
    apart = np.eye(3)[:, None]
    mdp = envs.tabular_mdp(apart, [[1.0], [-1.0], [0.0]], [0.4, 0.4, 0.2])
    once = np.ones((3, 1))
    assert start_value(mdp, once) == -np.inf
    assert start_value(mdp._replace(initial=np.array([0.5, 0, 0.5])), once) == np.inf
    moves = np.array(mdp.transition)
    moves[2, 0] = [0.5, 0.5, 0]
    np.testing.assert_array_equal(
        action_value(mdp._replace(transition=moves), once), [[np.inf], [-np.inf], [-np.inf]]
    )


def test_corridor_fixed_point_of_the_per_step_mean_is_wrong():
    """A loss averaged over an episode's steps weights short episodes more and settles at .61114."""
    corridor = envs.short_corridor()

    @jax.jit
    def signal(p):
        return envs.per_step_mean_gradient(corridor, jnp.log(jnp.stack([1 - p, p]))[None])[0, 1]

    fixed_point = optimize.brentq(lambda p: float(signal(p)), 0.3, 0.9, xtol=1e-10)
    assert fixed_point == pytest.approx(0.6111449, abs=5e-7)
    true = optimize.brentq(lambda p: float(jax.grad(envs.short_corridor_value)(p)), 0.3, 0.9, xtol=1e-10)
    assert true == pytest.approx(2 - np.sqrt(2), abs=1e-9)
