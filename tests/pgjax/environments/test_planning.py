"""The best policy of each class: the chapter's table, and what memory, chance and the state are worth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pgjax import environments as envs
from pgjax.environments import Move
from tests.deep import deep


@pytest.mark.parametrize(("discount", "value"), [(1.0, -2.2), (0.9, -2.044)])
def test_gridworld_full_state(discount, value):
    solution = envs.optimal_policy(envs.aliased_gridworld(), discount)
    assert solution.value == pytest.approx(value, abs=1e-10)
    best = [Move.EAST, Move.EAST, Move.SOUTH, Move.WEST, Move.WEST]
    np.testing.assert_array_equal(solution.policy[:5], np.eye(4)[best])


@pytest.mark.parametrize(("discount", "value"), [(1.0, -2.6), (0.9, -2.3518)])
def test_gridworld_with_memory(discount, value):
    grid = envs.aliased_gridworld()
    solution = envs.best_memory_policy(grid, discount)
    assert solution.value == pytest.approx(value, abs=1e-9)
    assert set(np.unique(solution.policy[:-1])) == {0, 1}  # deterministic, but for the end's row
    beliefs = envs.belief_mdp(grid)
    assert any(np.array_equal(belief, [0, 0.5, 0, 0.5, 0, 0, 0, 0]) for belief in beliefs.belief)
    np.testing.assert_array_equal(beliefs.belief[-1], 0)
    np.testing.assert_allclose(beliefs.belief[:-1].sum(axis=1), 1)


@pytest.mark.deep
@pytest.mark.parametrize(("discount", "value"), [(1.0, -3.8), deep(0.9, -3.0269)])
def test_gridworld_best_memoryless(discount, value):
    solution = envs.best_stochastic_policy(envs.aliased_gridworld(), discount)
    assert solution.value == pytest.approx(value, abs=5e-5)
    np.testing.assert_allclose(solution.policy, envs.toward_treasure(0.5), atol=1e-4)


def test_gridworld_best_deterministic_memoryless_discounted():
    solution = envs.best_deterministic_policy(envs.aliased_gridworld(), 0.9)
    assert solution.value == pytest.approx(-5.122, abs=5e-4)


@pytest.mark.deep
def test_gridworld_deterministic_policies_undiscounted_walk_for_ever_or_into_the_skull():
    """Without the skull -inf, 60 % arrive; with it -1.8 + .4 skull, which beats chance where the skull is mild."""
    for skull in (-4.0, -10.0, -100.0):
        grid = envs.aliased_gridworld(skull_reward=skull)
        solution = envs.best_deterministic_policy(grid)
        assert solution.value == pytest.approx(-1.8 + 0.4 * skull, abs=1e-9)
        assert (solution.value > -3.8) == (skull > -5)
        no_skull = np.array(grid.transition)
        no_skull[[0, 4], Move.SOUTH] = np.eye(8)[[0, 4]]
        walking = envs.best_deterministic_policy(grid._replace(transition=no_skull))
        assert walking.value == -np.inf
    mild = envs.best_stochastic_policy(envs.aliased_gridworld(skull_reward=-4.0))
    assert mild.value == pytest.approx(-3.4, abs=1e-6)
    assert np.max(mild.policy, axis=1) == pytest.approx(1, abs=1e-6)


def test_gridworld_with_a_time_limit():
    grid, limit = envs.aliased_gridworld(skull_reward=-100.0), 50
    deterministic = envs.best_deterministic_policy(grid, time_limit=limit)
    assert deterministic.value == pytest.approx((-3 - 2 - 1 - limit - limit) / 5)
    assert envs.optimal_policy(grid, time_limit=limit).value == pytest.approx(-2.2)
    assert envs.best_memory_policy(grid, time_limit=limit).value == pytest.approx(-2.6)
    short = envs.optimal_policy(grid, time_limit=2)
    assert short.value == pytest.approx((-2 - 2 - 1 - 2 - 2) / 5)
    assert short.policy.shape == (2, 8, 4)


def test_corridor_ladder():
    corridor = envs.short_corridor()
    assert envs.optimal_policy(corridor).value == pytest.approx(-3)
    assert envs.best_memory_policy(corridor).value == pytest.approx(-3)
    stochastic = envs.best_stochastic_policy(corridor)
    assert stochastic.value < envs.optimal_policy(corridor).value
    assert stochastic.value == pytest.approx(-(6 + 4 * np.sqrt(2)), abs=1e-10)
    assert stochastic.policy[0, 1] == pytest.approx(2 - np.sqrt(2), abs=1e-5)
    assert envs.best_deterministic_policy(corridor).value == -np.inf


@pytest.mark.parametrize(("reward", "discount"), [deep(1.0, 0.9), (1000.0, 0.99)])
def test_two_aliased_states(reward, discount):
    """Chance beats every deterministic memoryless policy by gamma R / (1 - gamma): as much as one likes."""
    two, ever = envs.two_aliased_states(reward), reward / (1 - discount)
    assert envs.optimal_policy(two, discount).value == pytest.approx(ever)
    assert envs.best_memory_policy(two, discount).value == pytest.approx(discount * ever)
    stochastic = envs.best_stochastic_policy(two, discount)
    assert stochastic.value == pytest.approx(0, abs=1e-9 * ever)
    np.testing.assert_allclose(stochastic.policy, [[0.5, 0.5]], atol=1e-4)
    for actions in np.eye(2):
        with jax.enable_x64(True):
            value = envs.policy_value(two, actions[None], discount)
        np.testing.assert_allclose(np.sort(value), [-ever, reward - discount * ever], rtol=1e-9)
    assert envs.best_deterministic_policy(two, discount).value == pytest.approx(-discount * ever)


@pytest.mark.deep
@pytest.mark.parametrize("treasure", [deep(-1.0), 0.5])
def test_walking_for_ever_for_nothing_is_a_policy_too(treasure):
    """Undiscounted: -1 for the treasure is less than 0 for none; for 0.5 the episode should end."""
    grid = envs.aliased_gridworld(step_reward=0.0, treasure_reward=treasure)
    best = envs.optimal_policy(grid)
    deterministic = envs.best_deterministic_policy(grid)
    stochastic = envs.best_stochastic_policy(grid)
    assert best.value == pytest.approx(max(treasure, 0), abs=1e-9)
    assert best.value >= deterministic.value - 1e-9
    assert best.value >= stochastic.value - 1e-9
    with jax.enable_x64(True):
        value = envs.start_value(envs.fully_observed(grid), best.policy)
    assert float(value) == pytest.approx(best.value, abs=1e-9)


def test_a_value_above_the_bound_is_rejected(monkeypatch):
    monkeypatch.setattr(envs.planning, "_highest_value", lambda *_: -100.0)
    with pytest.raises(RuntimeError, match="above the highest"):
        envs.best_stochastic_policy(envs.short_corridor(), num_starts=1)


def test_a_way_out_of_a_loop_that_costs_is_taken_into_one_that_does_not():
    """State 0 pays 1 a step, or 3 to leave for state 1, where one may stay for ever for nothing or pay 1."""
    transition = np.zeros((3, 2, 3))
    transition[0, 0, 0] = transition[0, 1, 1] = transition[1, 0, 1] = transition[1, 1, 2] = 1
    mdp = envs.tabular_mdp(transition, [[-1, -3], [0, -1], [0, 0]], [1, 0, 0], terminal=[False, False, True])
    best = envs.optimal_policy(mdp)
    assert best.value == pytest.approx(-3)
    np.testing.assert_array_equal(best.policy[:2], [[0, 1], [1, 0]])


def test_no_policy_beats_the_best_of_its_class(rng):
    """On a random environment: random policies, and every class against the one that sees more."""
    transition = rng.dirichlet(np.full(5, 0.3), (5, 3))
    mdp = envs.tabular_mdp(transition, rng.normal(size=(5, 3)), np.full(5, 0.2), observation=[0, 1, 0, 1, 1])
    full = envs.optimal_policy(mdp, 0.9)
    stochastic = envs.best_stochastic_policy(mdp, 0.9)
    deterministic = envs.best_deterministic_policy(mdp, 0.9)
    assert full.value > stochastic.value >= deterministic.value - 1e-9
    values = jax.vmap(lambda p: envs.start_value(mdp, p, 0.9))(jnp.asarray(rng.dirichlet([0.5] * 3, (500, 2))))
    assert np.max(values) <= stochastic.value + 1e-4
    with jax.enable_x64(True):
        value = envs.policy_value(envs.fully_observed(mdp), full.policy, 0.9)
    bellman = np.max(mdp.reward + 0.9 * mdp.transition @ np.asarray(value), axis=1)
    np.testing.assert_allclose(bellman, value, atol=1e-9)
