"""The learners that claim g compares on a bandit of six continuous joints: a policy, three kinds of values, both.

All pull NUM_PULLS times in rounds, and learn after each; then each settles for an action, whose regret is exact.
Each has one setting and as many tries of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import pgjax
from pgjax import environments, losses, maximizers
from pgjax.distributions import DiagonalNormal, EpsilonGreedy

NUM_JOINTS, NUM_PULLS, ROUND = 6, 2048, 32  # pulls in all, and between updates
BOX = pgjax.Box(low=[-1.0] * NUM_JOINTS, high=[1.0] * NUM_JOINTS)
GRID = np.array(list(np.ndindex((3,) * NUM_JOINTS)), np.float32) - 1  # three positions a joint
SEARCH, SEARCH_STEPS = maximizers.cross_entropy(num_samples=64, num_elites=6), 8
CRITIC, CRITIC_BATCH, CRITIC_STEPS = pgjax.ValueNetwork((32, 32)), 64, 16  # of the action alone; steps a round
EXPLORATION_STD, RIDGE = 0.3, 0.1


class BanditLearner(NamedTuple):
    """A learner of one continuous action.

    Fields:
        init: key -> state.
        act: (key, state) -> actions to pull, `[ROUND, N]`.
        update: (key, state, Pulls, setting) -> state.
        best: (key, state) -> the action it would settle for, `[N]`.
        tries: the settings to choose from.
    """

    init: Callable[[jax.Array], Any]
    act: Callable[[jax.Array, Any, jax.Array], jax.Array]
    update: Callable[[jax.Array, Any, Pulls, jax.Array], Any]
    best: Callable[[jax.Array, Any], jax.Array]
    tries: tuple[float, ...]


class Pulls(NamedTuple):
    """All pulls so far, the last round at the end of `count`; what comes after is 0."""

    actions: jax.Array
    rewards: jax.Array
    count: jax.Array

    def last(self) -> tuple[jax.Array, jax.Array]:
        """The actions and rewards of the last round."""
        start = self.count - ROUND
        return tuple(jax.lax.dynamic_slice_in_dim(x, start, ROUND) for x in self[:2])


def pull_all(
    learner: BanditLearner, key: jax.Array, bandit: environments.QuadraticBandit, setting: jax.Array
) -> jax.Array:
    """The exact regret of the action that a learner settles for after NUM_PULLS pulls."""
    key_init, key_run, key_best = jax.random.split(key, 3)
    pulls = Pulls(jnp.zeros((NUM_PULLS, NUM_JOINTS)), jnp.zeros(NUM_PULLS), jnp.zeros((), jnp.int32))

    def one_round(carry, _):
        key, state, pulls = carry
        key, key_act, key_pull, key_update = jax.random.split(key, 4)
        actions = learner.act(key_act, state, setting)
        rewards = jax.vmap(bandit.pull)(jax.random.split(key_pull, ROUND), actions)
        write = functools.partial(jax.lax.dynamic_update_slice_in_dim, start_index=pulls.count, axis=0)
        pulls = Pulls(write(pulls.actions, actions), write(pulls.rewards, rewards), pulls.count + ROUND)
        return (key, learner.update(key_update, state, pulls, setting), pulls), None

    carry = (key_run, learner.init(key_init), pulls)
    (_, state, _), _ = jax.lax.scan(one_round, carry, length=NUM_PULLS // ROUND)
    return regret(bandit, learner.best(key_best, state))


def regret(bandit: environments.QuadraticBandit, action: jax.Array) -> jax.Array:
    """What one action loses against the best: its expected reward, which is 0 at most."""
    return -bandit.expected_reward(DiagonalNormal(action, jnp.full_like(action, -40.0)))


def reinforce_learner() -> BanditLearner:
    """A Gaussian policy, by REINFORCE with a leave-one-out baseline. Setting: the rate."""

    def update(key, state, pulls, rate):
        actions, rewards = pulls.last()
        advantages = rewards - losses.leave_one_out_baseline(rewards)

        def loss(state):
            return losses.policy_gradient_loss(DiagonalNormal(*state).log_prob(actions), advantages, 1 / ROUND)

        return jax.tree.map(lambda x, slope: x - rate * slope, state, jax.grad(loss)(state))

    return BanditLearner(
        init=lambda key: (jnp.zeros(NUM_JOINTS), jnp.full(NUM_JOINTS, jnp.log(EXPLORATION_STD))),
        act=lambda key, state, _: DiagonalNormal(*state).sample(seed=key, sample_shape=(ROUND,)),
        update=update,
        best=lambda key, state: state[0],
        tries=(0.003, 0.01, 0.03, 0.1),
    )


def grid_learner() -> BanditLearner:
    """Values of the actions of a grid, three a joint, averaged, epsilon-greedy. Setting: epsilon."""

    def act(key, state, epsilon):
        chosen = EpsilonGreedy(state[0] / jnp.maximum(state[1], 1), epsilon).sample(
            seed=key, sample_shape=(ROUND,)
        )
        return jnp.asarray(GRID)[chosen]

    def update(key, state, pulls, epsilon):
        actions, rewards = pulls.last()
        index = jnp.round(actions + 1).astype(jnp.int32) @ 3 ** np.arange(NUM_JOINTS - 1, -1, -1)
        return state[0].at[index].add(rewards), state[1].at[index].add(1.0)

    def best(key, state):
        tried = state[1] > 0
        return jnp.asarray(GRID)[jnp.argmax(jnp.where(tried, state[0] / jnp.maximum(state[1], 1), -jnp.inf))]

    size = len(GRID)
    return BanditLearner(lambda key: (jnp.zeros(size), jnp.zeros(size)), act, update, best, (0.02, 0.05, 0.1, 0.2))


def search(key: jax.Array, value: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """The action of the greatest value that CEM finds in the box."""
    return pgjax.maximize(key, value, BOX, SEARCH, num_steps=SEARCH_STEPS).action


def around(key: jax.Array, action: jax.Array, std: jax.Array | float) -> jax.Array:
    """A round of actions about one, in the box."""
    noise = jax.random.normal(key, (ROUND, NUM_JOINTS))
    return jnp.clip(action[None] + std * noise, BOX.low[None], BOX.high[None])


def quadratic_learner() -> BanditLearner:
    """A quadratic critic (the reward's own shape) by least squares, and CEM. Setting: the exploration's std."""
    rows, columns = jnp.triu_indices(NUM_JOINTS + 1)

    def features(actions):
        padded = jnp.concatenate([jnp.ones_like(actions[..., :1]), actions], axis=-1)
        return padded[..., rows] * padded[..., columns]

    def act(key, state, std):
        key_search, key_noise = jax.random.split(key)
        return around(key_noise, best(key_search, state), std)

    def update(key, state, pulls, std):
        known = features(pulls.actions) * (jnp.arange(NUM_PULLS) < pulls.count)[:, None].astype(float)
        return jnp.linalg.solve(known.T @ known + RIDGE * jnp.eye(len(rows)), known.T @ pulls.rewards)

    def best(key, state):
        return search(key, lambda action: features(action) @ state)

    return BanditLearner(lambda key: jnp.zeros(len(rows)), act, update, best, (0.1, 0.2, 0.4, 0.8))


def critic_learner(*, policy: bool) -> BanditLearner:
    """An MLP critic on replayed pulls, and CEM or a policy that climbs it (both). Setting: Adam's rate."""

    def init(key):
        params = CRITIC.init(key, jnp.zeros(NUM_JOINTS)), jnp.zeros(NUM_JOINTS)
        return params, optax.scale_by_adam().init(params)

    def best(key, state):
        params, mean = state[0]
        return jnp.clip(mean, BOX.low, BOX.high) if policy else search(key, lambda a: CRITIC.apply(params, a))

    def act(key, state, rate):
        key_search, key_noise = jax.random.split(key)
        return around(key_noise, best(key_search, state), EXPLORATION_STD)

    def loss(both, key, pulls):
        params, mean = both
        key_rows, key_actions = jax.random.split(key)
        rows = jax.random.randint(key_rows, (CRITIC_BATCH,), 0, pulls.count)
        values = CRITIC.apply(params, pulls.actions[rows])
        fit = losses.value_loss(values, pulls.rewards[rows], 1 / CRITIC_BATCH)
        if not policy:
            return fit
        fixed = jax.lax.stop_gradient(params)
        pi = DiagonalNormal(jnp.tile(mean[None], (ROUND, 1)), jnp.full(NUM_JOINTS, jnp.log(EXPLORATION_STD)))
        climb = losses.pathwise_loss(
            key_actions, lambda _, action: CRITIC.apply(fixed, action), jnp.zeros(ROUND), pi, 1 / ROUND
        )
        return fit + climb

    def update(key, state, pulls, rate):
        def step(carry, key):
            both, moments = carry
            change, moments = optax.scale_by_adam().update(jax.grad(loss)(both, key, pulls), moments)
            return (jax.tree.map(lambda x, y: x - rate * y, both, change), moments), None

        return jax.lax.scan(step, state, jax.random.split(key, CRITIC_STEPS))[0]

    return BanditLearner(init, act, update, best, (0.001, 0.003, 0.01, 0.03))
