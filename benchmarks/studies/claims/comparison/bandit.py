"""The learners that claim g compares on a bandit of six continuous joints: a policy, three kinds of values, both.

All pull NUM_PULLS times in rounds, and learn after each; then each settles for an action, whose regret is exact.
Each has one setting and as many tries of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

import pgjax
from pgjax import environments, losses, maximizers, noise
from pgjax.distributions import DiagonalNormal, EpsilonGreedy

NUM_JOINTS, NUM_PULLS, ROUND = 6, 2048, 32  # pulls in all, and between updates
BOX = pgjax.Box(low=np.full(NUM_JOINTS, -1.0), high=np.full(NUM_JOINTS, 1.0))
GRID = np.array(list(np.ndindex((3,) * NUM_JOINTS)), np.float32) - 1  # three positions a joint
SEARCH, SEARCH_STEPS = maximizers.cross_entropy(num_samples=64, num_elites=6), 8
CRITIC, CRITIC_BATCH, CRITIC_STEPS = pgjax.ValueNetwork((32, 32)), 64, 16  # of the action alone; steps a round
EXPLORATION_STD, RIDGE = 0.3, 0.1


class Pulls(NamedTuple):
    """All pulls so far, the last round's at the end of `num_pulls`; what comes after is 0."""

    actions: jax.Array
    rewards: jax.Array
    num_pulls: jax.Array

    def last(self) -> tuple[jax.Array, jax.Array]:
        """The actions and rewards of the last round."""
        actions, rewards = (
            jax.lax.dynamic_slice_in_dim(x, self.num_pulls - ROUND, ROUND) for x in (self.actions, self.rewards)
        )
        return actions, rewards


class BanditLearner(NamedTuple):
    """A learner of one continuous action.

    Fields:
        init: key -> state.
        best: (key, state, kind) -> the action it would settle for, `[N]`.
        act: (key, state, that action, setting) -> actions to pull, `[ROUND, N]`.
        update: (key, state, Pulls, setting) -> state.
        tries: the settings to choose from.
    """

    init: Callable[[jax.Array], Any]
    best: Callable[[jax.Array, Any, jax.Array | bool], jax.Array]
    act: Callable[[jax.Array, Any, jax.Array, jax.Array], jax.Array]
    update: Callable[[jax.Array, Any, Pulls, jax.Array], Any]
    tries: tuple[float, ...]


def pull_all(
    learner: BanditLearner,
    kind: jax.Array | bool,
    key: jax.Array,
    bandit: environments.QuadraticBandit,
    setting: jax.Array,
) -> jax.Array:
    """The exact regret of the action that a learner settles for after NUM_PULLS pulls."""
    key_init, key_run = jax.random.split(key)
    num_rounds = (
        NUM_PULLS // ROUND + 1
    )  # one more than are learned from, so that the last action is the settled one
    size = num_rounds * ROUND
    pulls = Pulls(jnp.zeros((size, NUM_JOINTS)), jnp.zeros(size), jnp.zeros((), jnp.int32))

    def one_round(carry, _):
        key, state, pulls = carry
        key, key_best, key_act, key_pull, key_update = jax.random.split(key, 5)
        best = learner.best(key_best, state, kind)
        actions = learner.act(key_act, state, best, setting)
        rewards = jax.vmap(bandit.pull)(jax.random.split(key_pull, ROUND), actions)
        write = functools.partial(jax.lax.dynamic_update_slice_in_dim, start_index=pulls.num_pulls, axis=0)
        pulls = Pulls(write(pulls.actions, actions), write(pulls.rewards, rewards), pulls.num_pulls + ROUND)
        return (key, learner.update(key_update, state, pulls, setting), pulls), best

    _, best = jax.lax.scan(one_round, (key_run, learner.init(key_init), pulls), length=num_rounds)
    return regret(bandit, best[-1])


@functools.partial(jax.jit, static_argnums=0)
def pull_all_seeds(
    learner: BanditLearner,
    kind: jax.Array | bool,
    keys: jax.Array,
    bandit: environments.QuadraticBandit,
    settings: jax.Array,
) -> jax.Array:
    """The same for each of several keys, bandits and settings."""
    return jax.vmap(functools.partial(pull_all, learner, kind))(keys, bandit, settings)


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
        best=lambda key, state, kind: state[0],
        act=lambda key, state, best, rate: DiagonalNormal(*state).sample(seed=key, sample_shape=(ROUND,)),
        update=update,
        tries=(0.003, 0.01, 0.03, 0.1),
    )


def grid_learner() -> BanditLearner:
    """Values of the actions of a grid, three a joint, averaged, epsilon-greedy. Setting: epsilon."""

    def act(key, state, best, epsilon):
        chosen = EpsilonGreedy(state[0] / jnp.maximum(state[1], 1), epsilon).sample(
            seed=key, sample_shape=(ROUND,)
        )
        return jnp.asarray(GRID)[chosen]

    def update(key, state, pulls, epsilon):
        actions, rewards = pulls.last()
        index = jnp.round(actions + 1).astype(jnp.int32) @ 3 ** np.arange(NUM_JOINTS - 1, -1, -1)
        return state[0].at[index].add(rewards), state[1].at[index].add(1.0)

    def best(key, state, kind):
        tried = state[1] > 0
        return jnp.asarray(GRID)[jnp.argmax(jnp.where(tried, state[0] / jnp.maximum(state[1], 1), -jnp.inf))]

    def init(key):
        return jnp.zeros(len(GRID)), jnp.zeros(len(GRID))

    return BanditLearner(init, best, act, update, (0.02, 0.05, 0.1, 0.2))


def search(key: jax.Array, value: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """The action of the greatest value that CEM finds in the box."""
    return pgjax.maximize(key, value, BOX, SEARCH, num_steps=SEARCH_STEPS).action


def around(key: jax.Array, action: jax.Array, std: jax.Array | float) -> jax.Array:
    """A round of actions about one, in the box."""
    normal = jax.random.normal(key, (ROUND, NUM_JOINTS))
    return jnp.clip(action[None] + std * normal, BOX.low[None], BOX.high[None])


def quadratic_learner() -> BanditLearner:
    """A quadratic critic (the reward's own shape) by least squares, and CEM. Setting: the exploration's std."""
    rows, columns = np.triu_indices(NUM_JOINTS + 1)

    def features(actions):
        padded = jnp.concatenate([jnp.ones_like(actions[..., :1]), actions], axis=-1)
        return padded[..., rows] * padded[..., columns]

    def update(key, state, pulls, std):
        known = features(pulls.actions) * (jnp.arange(len(pulls.rewards)) < pulls.num_pulls)[:, None].astype(float)
        return jnp.linalg.solve(known.T @ known + RIDGE * jnp.eye(len(rows)), known.T @ pulls.rewards)

    return BanditLearner(
        init=lambda key: jnp.zeros(len(rows)),
        best=lambda key, state, kind: search(key, lambda action: features(action) @ state),
        act=lambda key, state, best, std: around(key, best, std),
        update=update,
        tries=(0.1, 0.2, 0.4, 0.8),
    )


def critic_value(params: Any, action: jax.Array) -> jax.Array:
    """The MLP critic's value of an action, or of several."""
    return cast(jax.Array, CRITIC.apply(params, action))


def critic_learner() -> BanditLearner:
    """An MLP critic on replayed pulls, and CEM or a policy that climbs it (both). Setting: Adam's rate."""

    def init(key):
        params = CRITIC.init(key, jnp.zeros(NUM_JOINTS)), jnp.zeros(NUM_JOINTS)
        return params, optax.scale_by_adam().init(params)

    def best(key, state, kind):
        params, mean = state[0]
        found = functools.partial(search, value=lambda action: critic_value(params, action))
        return jax.lax.cond(kind, lambda key: jnp.clip(mean, BOX.low, BOX.high), found, key)

    def loss(both, key, pulls):
        params, mean = both
        key_rows, key_actions = jax.random.split(key)
        rows = jax.random.randint(key_rows, (CRITIC_BATCH,), 0, pulls.num_pulls)
        values = critic_value(params, pulls.actions[rows])
        fit = losses.value_loss(values, pulls.rewards[rows], 1 / CRITIC_BATCH)
        fixed = jax.lax.stop_gradient(params)
        pi = DiagonalNormal(jnp.tile(mean[None], (ROUND, 1)), jnp.full(NUM_JOINTS, jnp.log(EXPLORATION_STD)))
        climb = losses.pathwise_loss(
            key_actions, lambda _, action: critic_value(fixed, action), jnp.zeros(ROUND), pi, 1 / ROUND
        )
        return fit + climb

    def update(key, state, pulls, rate):
        def step(carry, key):
            both, moments = carry
            gradient = jax.grad(loss)(both, key, pulls)
            with jax.numpy_dtype_promotion("standard"):  # optax counts on it
                change, moments = optax.scale_by_adam().update(gradient, moments)
            return (jax.tree.map(lambda x, y: x - rate * y, both, change), moments), None

        return noise.scan_keys(step, state, key, CRITIC_STEPS)[0]

    def act(key, state, best, rate):
        return around(key, best, EXPLORATION_STD)

    return BanditLearner(init, best, act, update, (0.001, 0.003, 0.01, 0.03))


SEARCHED, FOLLOWED = False, True  # a network's maximum: found by CEM, or by the policy; traced, to compile once
_CRITIC_LEARNER = critic_learner()
LEARNERS: dict[str, tuple[BanditLearner, bool]] = {
    "Gaussian policy": (reinforce_learner(), SEARCHED),
    "grid of 729": (grid_learner(), SEARCHED),
    "quadratic critic + CEM": (quadratic_learner(), SEARCHED),
    "MLP critic + CEM": (_CRITIC_LEARNER, SEARCHED),
    "MLP critic + Gaussian policy": (_CRITIC_LEARNER, FOLLOWED),
}
