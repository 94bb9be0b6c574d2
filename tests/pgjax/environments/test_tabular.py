"""Tabular environments: what a step, a reset and a rollout draw, and how an episode's two ends differ."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pgjax import environments as envs

RUN = jax.jit(envs.rollout, static_argnames=("num_steps", "time_limit"))
STAY = np.eye(2)[:, None]


@pytest.fixture(scope="module")
def branching():
    """Two states, two actions with random moves; state 2 is the end."""
    transition = [
        [[0.2, 0.5, 0.3], [0.0, 0.9, 0.1]],
        [[0.6, 0.0, 0.4], [1.0, 0.0, 0.0]],
        [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]],
    ]
    return envs.tabular_mdp(
        transition, [[1, -2], [3, 0.5], [9, 9]], [0.25, 0.75, 0], terminal=[False, False, True]
    )


def test_terminal_states_are_left_by_no_action_and_give_no_reward(branching, key):
    np.testing.assert_array_equal(branching.transition[2], [[0, 0, 1]] * 2)
    np.testing.assert_array_equal(branching.reward[2], 0)
    moved = envs.step(key, branching, 2, 1)
    assert (int(moved.state), float(moved.reward), bool(moved.terminated)) == (2, 0.0, True)


def test_steps_and_resets_have_their_probabilities_within_five_sigma(branching, key):
    num = 20_000
    keys = jax.random.split(key, (2, num))
    first = jax.jit(jax.vmap(envs.reset, in_axes=(0, None)))(keys[0], branching)
    moved = jax.jit(jax.vmap(envs.step, in_axes=(0, None, None, None)))(keys[1], branching, 0, 0)
    for drawn, probability in ((first, branching.initial), (moved.state, branching.transition[0, 0])):
        share = np.bincount(drawn, minlength=3) / num
        assert np.all(np.abs(share - probability) <= 5 * np.sqrt(probability * (1 - probability) / num))
    np.testing.assert_array_equal(moved.terminated, moved.state == 2)


def test_a_rollout_goes_on_from_the_next_state_or_from_a_reset(branching, key):
    policy = jnp.array([[0.5, 0.5], [0.1, 0.9], [1, 0]])
    path, last = RUN(key, branching, policy, num_steps=500, time_limit=4)
    following = np.append(path.state[1:], last.state)
    over = np.asarray(path.terminated | path.truncated)
    np.testing.assert_array_equal(following[~over], path.next_state[~over])
    assert np.all(following[over] < 2)
    np.testing.assert_array_equal(path.terminated, path.next_state == 2)
    np.testing.assert_array_equal(path.reward, branching.reward[path.state, path.action])
    np.testing.assert_array_equal(path.next_observation, branching.observation[path.next_state])
    elapsed = 0
    for terminated, truncated in zip(path.terminated, path.truncated, strict=True):
        elapsed += 1
        assert truncated == (elapsed == 4 and not terminated)
        elapsed = 0 if terminated or truncated else elapsed
    assert elapsed == last.elapsed
    assert np.any(path.truncated)
    assert np.any(path.terminated)


def test_a_rollout_in_parts_is_one_long_episode(key):
    corridor, left = envs.short_corridor(), jnp.array([[1.0, 0.0]])  # never arrives
    keys = jax.random.split(key, 3)
    start = envs.Progress(envs.reset(keys[0], corridor), jnp.int32(0))
    _, middle = RUN(keys[1], corridor, left, num_steps=7, time_limit=10, start=start)
    path, last = RUN(keys[2], corridor, left, num_steps=7, time_limit=10, start=middle)
    assert middle.elapsed == 7
    np.testing.assert_array_equal(np.flatnonzero(path.truncated), [2])
    assert last.elapsed == 4


@pytest.mark.deep
def test_terminated_and_truncated_mean_different_values(key):
    """Bootstrapping from the next state unless terminated gives the value; taking any end for the end does not."""
    corridor, discount, limit = envs.short_corridor(), 0.9, 3
    policy = jnp.array([[0.5, 0.5]])
    value = envs.policy_value(corridor, policy, discount)
    run = jax.vmap(lambda k: envs.rollout(k, corridor, policy, 100, time_limit=limit)[0])
    path = jax.tree.map(jnp.ravel, jax.jit(run)(jax.random.split(key, 2000)))
    assert not np.any(path.terminated & path.truncated)
    assert 0.2 < np.mean(path.truncated) < 0.4

    def bias(end):
        """Of the mean target r + gamma v(s') against v(s), in every state, and its standard error."""
        target = np.asarray(path.reward + discount * jnp.where(end, 0, value[path.next_state]))
        groups = [target[np.asarray(path.state) == state] for state in range(3)]
        errors = [np.std(group) / np.sqrt(len(group)) for group in groups]
        return np.array([np.mean(group) for group in groups]) - value[:3], np.array(errors)

    right, error = bias(path.terminated)
    assert np.all(np.abs(right) < 5 * error)
    wrong, _ = bias(path.terminated | path.truncated)
    assert np.all(wrong > 0.5)  # an end that is none looks too good


def test_a_policy_may_be_a_function_and_rollouts_are_vmapped(key):
    corridor = envs.short_corridor()
    keys = jax.random.split(key, 5)

    def policy(key, observation):
        return jax.random.bernoulli(key, 0.6).astype(jnp.int32) + observation

    def run(key):
        return envs.rollout(key, corridor, policy, 20, time_limit=6)

    batch = jax.jit(jax.vmap(run))(keys)
    one = jax.jit(run)(jax.random.clone(keys)[3])
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(lambda x: x[3], batch), one)
    assert len({tuple(actions) for actions in np.asarray(batch[0].action).tolist()}) == 5


def test_the_mean_return_of_rollouts_is_the_exact_value(branching, key):
    limit, num = 12, 20_000
    policy = jnp.array([[0.7, 0.3], [0.2, 0.8], [1, 0]])

    @jax.vmap
    def one_episode(key):
        path, _ = envs.rollout(key, branching, policy, limit, time_limit=limit)
        ended = path.terminated.astype(jnp.int32)
        return jnp.where(jnp.cumsum(ended) - ended == 0, path.reward, 0)

    rewards = jax.jit(one_episode)(jax.random.split(key, num))
    for discount in (1.0, 0.8):
        returns = rewards @ discount ** jnp.arange(limit, dtype=jnp.float32)
        exact = envs.start_value(branching, policy, discount, time_limit=limit)
        assert abs(np.mean(returns) - exact) < 5 * np.std(returns) / np.sqrt(num)


def test_epsilon_greedy_mixes_with_the_uniform_policy():
    policy = envs.epsilon_greedy([[1.0, 0.0], [0.0, 1.0]], 0.1)
    np.testing.assert_allclose(policy, [[0.95, 0.05], [0.05, 0.95]], rtol=1e-6)

    assert jax.jit(envs.epsilon_greedy)(policy, 0.1).shape == (2, 2)
    np.testing.assert_allclose(jax.jit(envs.epsilon_greedy)(policy, 7.0), 0.5)  # traced: clipped


def test_traced_actions_out_of_range_give_no_reward(key):
    corridor = envs.short_corridor()
    *keys, key = jax.random.split(key, 3)
    for action, one in zip((-1, 2), keys, strict=True):
        path, _ = RUN(one, corridor, jax.tree_util.Partial(lambda k, o, a=action: jnp.int32(a)), num_steps=3)
        assert np.all(np.isnan(path.reward))
    moved = jax.jit(envs.step)(key, corridor, 0, 2)
    assert np.isnan(moved.reward)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda k: envs.tabular_mdp("a", [[0]], [1]), "transition"),
        (lambda k: envs.tabular_mdp(STAY, "a", [1, 0]), "reward"),
        (lambda k: envs.tabular_mdp(STAY, [[0], [0]], None), "initial"),
        (lambda k: envs.aliased_gridworld(skull_reward="a"), "skull_reward"),
        (lambda k: envs.aliased_gridworld(skull_reward=[1, 2]), "skull_reward"),
        (lambda k: envs.two_aliased_states([1, 2]), "reward"),
        (lambda k: envs.policy_value(envs.short_corridor(), [[0.5, 0.5]], "a"), "discount"),
        (lambda k: envs.policy_value(envs.short_corridor(), [[0.5, 0.5]], None), "discount"),
        (lambda k: envs.optimal_policy(envs.short_corridor(), None), "discount"),
        (lambda k: envs.policy_value(envs.short_corridor(), "a"), "policy"),
        (lambda k: envs.rollout(k, envs.short_corridor(), [[0.5, 0.25, 0.25]], 5), "policy"),
        (lambda k: envs.rollout(k, envs.aliased_gridworld(), [[0.25] * 4], 5), "policy"),
        (lambda k: envs.rollout(k, envs.short_corridor(), [[3.0, 1.0]], 5), "policy"),
        (lambda k: envs.rollout(k, envs.short_corridor(), [[np.nan, 1.0]], 5), "policy"),
        (lambda k: envs.rollout(k, envs.short_corridor(), lambda k, o: jnp.zeros(2, int), 5), "action"),
        (lambda k: envs.rollout(k, envs.short_corridor(), lambda k, o: jnp.zeros(()), 5), "action"),
        (lambda k: envs.rollout(k, envs.short_corridor(), lambda k, o: 2, 5), "action"),  # type: ignore[return-value]
        (lambda k: envs.step(k, envs.short_corridor(), 0, 2), "action"),
        (lambda k: envs.step(k, envs.short_corridor(), -1, 0), "state"),
        (lambda k: envs.step(k, envs.short_corridor(), 0, 0.5), "action"),
        (lambda k: envs.epsilon_greedy(3.0, 0.1), "policy"),
        (lambda k: envs.epsilon_greedy([[3.0, 1.0]], 0.1), "policy"),
        (lambda k: envs.epsilon_greedy([[1.0, 0.0]], "a"), "epsilon"),
        (lambda k: envs.tabular_mdp(np.eye(2), [[0], [0]], [1, 0]), "transition"),
        (lambda k: envs.tabular_mdp(STAY * 0.5, [[0], [0]], [1, 0]), "transition"),
        (lambda k: envs.tabular_mdp(STAY, [0, 0], [1, 0]), "reward"),
        (lambda k: envs.tabular_mdp(STAY, [[0], [np.nan]], [1, 0]), "reward"),
        (lambda k: envs.tabular_mdp(STAY, [[0], [0]], [1, 1]), "initial"),
        (lambda k: envs.tabular_mdp(STAY, [[0], [0]], [1, 0], terminal=[True, False]), "initial"),
        (lambda k: envs.tabular_mdp(STAY, [[0], [0]], [1, 0], terminal=[0, 1]), "terminal"),
        (lambda k: envs.tabular_mdp(STAY, [[0], [0]], [1, 0], observation=[0, -1]), "observation"),
        (lambda k: envs.tabular_mdp(STAY, [[0], [0]], [1, 0], observation=[0.0, 1.0]), "observation"),
        (lambda k: envs.epsilon_greedy([[1.0, 0.0]], 1.5), "epsilon"),
        (lambda k: envs.rollout(k, envs.short_corridor(), [[0.5, 0.5]], 0), "num_steps"),
        (lambda k: envs.rollout(k, envs.short_corridor(), [[0.5, 0.5]], 5, time_limit=0), "time_limit"),
        (lambda k: envs.policy_value(envs.short_corridor(), [[0.5, 0.6]]), "policy"),
        (lambda k: envs.policy_value(envs.short_corridor(), [[0.5, 0.25, 0.25]]), "policy"),
        (lambda k: envs.policy_value(envs.aliased_gridworld(), [[0.25] * 4]), "policy"),
        (lambda k: envs.policy_value(envs.short_corridor(), [[0.5, 0.5]], 1.1), "discount"),
        (lambda k: envs.occupancy(envs.short_corridor(), [[0.5, 0.5]], time_limit=0), "time_limit"),
        (lambda k: envs.policy_gradient(envs.short_corridor(), [0.0, 0.0]), "logits"),
        (lambda k: envs.reinforce_moments(envs.short_corridor(), [[0.0]]), "logits"),
        (lambda k: envs.reinforce_moments(envs.short_corridor(), [[0.0] * 2], baseline=[1.0]), "baseline"),
        (lambda k: envs.per_step_mean_gradient(envs.short_corridor(), [[0.0] * 2], num_nodes=0), "num_nodes"),
        (lambda k: envs.belief_mdp(envs.aliased_gridworld(), max_beliefs=5), "max_beliefs"),
        (lambda k: envs.optimal_policy(envs.two_aliased_states()), "discount"),
        (lambda k: envs.best_stochastic_policy(envs.short_corridor(), num_starts=0), "num_starts"),
        (lambda k: envs.aliased_gridworld(initial=[1.0]), "initial"),
        (lambda k: envs.aliased_gridworld(skull_reward=-np.inf), "skull_reward"),
        (lambda k: envs.two_aliased_states(np.nan), "reward"),
    ],
)
def test_bad_settings_are_refused_by_name(call, name, key):
    with pytest.raises(ValueError, match=f"^{name} "):
        call(key)
