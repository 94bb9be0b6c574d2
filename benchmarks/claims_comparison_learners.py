"""The four learners that claim g compares on tables, in a 2x2 design.

(value-based or policy-based) x (on-policy or replay), all with the same data: a segment of steps, then an update.
On-policy learners see each segment once and use its lambda returns; those with replay draw minibatches from all
steps so far and use one-step targets. Each has two settings and as many tries of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pgjax import environments, losses, returns
from pgjax.distributions import Categorical, EpsilonGreedy, Greedy

DISCOUNT, TIME_LIMIT, TRACE = 0.9, 50, 0.9
NUM_STATES, NUM_ACTIONS = 20, 4
SEGMENT, SEGMENTS_PER_POINT, NUM_POINTS = 16, 4, 50  # steps between updates, updates between points, points
BATCH_SIZE, NUM_BATCHES = 32, 4  # minibatches of a segment


class Tables(NamedTuple):
    """Logits `[O, A]` (not used by value-based learners), and action values `[O, A]` or state values `[O]`."""

    actor: jax.Array
    critic: jax.Array


class Learner(NamedTuple):
    """One cell of the 2x2.

    Fields:
        critic_shape: of its values.
        act: (tables, settings `[2]`) -> probabilities of the actions, `[O, A]`.
        greedy: tables -> the same without exploration.
        update: (tables, steps, settings `[2]`) -> tables.
        replay: whether the steps are minibatches of all that came, or the last segment.
        tries: the settings to choose from.
    """

    critic_shape: tuple[int, ...]
    act: Callable[[Tables, jax.Array], jax.Array]
    greedy: Callable[[Tables], jax.Array]
    update: Callable[[Tables, environments.Trajectory, jax.Array], Tables]
    replay: bool
    tries: tuple[tuple[float, float], ...]


def toward(table: jax.Array, index: tuple[jax.Array, ...], targets: jax.Array, rate: jax.Array) -> jax.Array:
    """A gradient step of `value_loss` that moves each entry by `rate` of the way to the mean of its targets."""
    visits = jnp.zeros_like(table).at[index].add(1.0)
    gradient = jax.grad(lambda table: losses.value_loss(table[index], targets, 1 / visits[index]))(table)
    return table - rate * gradient


def act_by_values(tables: Tables, settings: jax.Array) -> jax.Array:
    """Epsilon-greedy."""
    return EpsilonGreedy(tables.critic, settings[1]).probs


def act_by_policy(tables: Tables, settings: jax.Array) -> jax.Array:
    """Softmax of the logits."""
    del settings
    return Categorical(tables.actor).probs


def sarsa(tables: Tables, steps: environments.Trajectory, settings: jax.Array) -> Tables:
    """SARSA(lambda), forward view, with the expected value of the next action.

    Reference: Sutton & Barto (2018), Reinforcement learning, sections 6.6 and 12.7.
    """
    values = jnp.sum(act_by_values(tables, settings) * tables.critic, axis=-1)
    return _update_values(tables, steps, settings, values, trace=TRACE)


def q_learning(tables: Tables, steps: environments.Trajectory, settings: jax.Array) -> Tables:
    """Q-learning. Reference: Watkins & Dayan (1992), Q-learning."""
    return _update_values(tables, steps, settings, jnp.max(tables.critic, axis=-1), trace=0.0)


def _update_values(tables, steps, settings, values, trace):
    targets = returns.lambda_returns(
        steps.reward,
        values[steps.next_observation],
        steps.terminated,
        steps.truncated,
        discount=DISCOUNT,
        lambda_=trace,
    )
    critic = toward(tables.critic, (steps.observation, steps.action), targets, settings[0])
    return tables._replace(critic=critic)


def actor_critic(tables: Tables, steps: environments.Trajectory, settings: jax.Array) -> Tables:
    """The advantage actor-critic, with generalized advantage estimation and state values as its baseline."""
    values = tables.critic
    advantages = returns.gae(
        steps.reward,
        values[steps.observation],
        values[steps.next_observation],
        steps.terminated,
        steps.truncated,
        discount=DISCOUNT,
        lambda_=TRACE,
    )

    def loss(actor):
        log_probs = Categorical(actor[steps.observation]).log_prob(steps.action)
        return losses.policy_gradient_loss(log_probs, advantages, 1 / len(advantages))

    critic = toward(values, (steps.observation,), advantages + values[steps.observation], settings[1])
    return Tables(tables.actor - settings[0] * jax.grad(loss)(tables.actor), critic)


def expected_actor_critic(tables: Tables, steps: environments.Trajectory, settings: jax.Array) -> Tables:
    """The expected policy gradient with Q from replayed steps: of the policy's own actions, whoever acted."""
    values = jnp.sum(act_by_policy(tables, settings) * tables.critic, axis=-1)
    critic = _update_values(tables, steps, settings[::-1], values, trace=0.0).critic

    def loss(actor):
        pi = Categorical(actor[steps.observation])
        return losses.all_actions_loss(pi, critic[steps.observation], 1 / len(steps.reward))

    return Tables(tables.actor - settings[0] * jax.grad(loss)(tables.actor), critic)


def make_learners() -> dict[str, Learner]:
    """The four cells; value-based ones try (rate, epsilon), policy-based ones (the actor's, the critic's rate)."""

    def pairs(first, second):
        return tuple((x, y) for x in first for y in second)

    pair = (NUM_STATES, NUM_ACTIONS)
    by_values = functools.partial(Learner, pair, act_by_values, lambda tables: Greedy(tables.critic).probs)
    by_values = functools.partial(by_values, tries=pairs((0.05, 0.15, 0.4, 1.0), (0.02, 0.05, 0.1, 0.2)))
    policy = {"act": act_by_policy, "greedy": lambda tables: Greedy(tables.actor).probs}
    policy["tries"] = pairs((0.3, 1.0, 3.0, 10.0), (0.05, 0.15, 0.4, 1.0))
    return {
        "value, on-policy": by_values(sarsa, False),
        "value, replay": by_values(q_learning, True),
        "policy, on-policy": Learner((NUM_STATES,), update=actor_critic, replay=False, **policy),
        "policy, replay": Learner(pair, update=expected_actor_critic, replay=True, **policy),
    }


def train(
    learner: Learner, key: jax.Array, mdp: environments.TabularMDP, settings: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """One run: the policies that acted, before, at each point, and the last one without exploration; the values.

    Returns: probabilities, shape `[NUM_POINTS + 2, O, A]`, and the last critic.
    """
    key_start, key_run = jax.random.split(key)
    tables = Tables(jnp.zeros((NUM_STATES, NUM_ACTIONS)), jnp.zeros(learner.critic_shape))
    progress = environments.Progress(environments.reset(key_start, mdp), jnp.zeros((), jnp.int32))
    memory = _empty_memory(learner.replay)

    def segment(carry, number):
        key, progress, tables, memory = carry
        key, key_act, key_rows = jax.random.split(key, 3)
        acting = learner.act(tables, settings)
        steps, progress = environments.rollout(
            key_act, mdp, acting, SEGMENT, time_limit=TIME_LIMIT, start=progress
        )
        if not learner.replay:
            return (key, progress, learner.update(tables, steps, settings), memory), None
        memory = jax.tree.map(
            lambda old, new: jax.lax.dynamic_update_slice(old, new, (number * SEGMENT,)), memory, steps
        )
        rows = jax.random.randint(key_rows, (NUM_BATCHES, BATCH_SIZE), 0, (number + 1) * SEGMENT)
        batches = jax.tree.map(lambda column: column[rows], memory)
        tables, _ = jax.lax.scan(lambda now, steps: (learner.update(now, steps, settings), None), tables, batches)
        return (key, progress, tables, memory), None

    def point(carry, numbers):
        carry, _ = jax.lax.scan(segment, carry, numbers)
        return carry, learner.act(carry[2], settings)

    numbers = jnp.arange(NUM_POINTS * SEGMENTS_PER_POINT).reshape(NUM_POINTS, SEGMENTS_PER_POINT)
    first = learner.act(tables, settings)
    (_, _, tables, _), policies = jax.lax.scan(point, (key_run, progress, tables, memory), numbers)
    return jnp.concatenate([first[None], policies, learner.greedy(tables)[None]]), tables.critic


def _empty_memory(replay: bool) -> environments.Trajectory:
    size = SEGMENT * SEGMENTS_PER_POINT * NUM_POINTS if replay else 0
    whole, number, flag = (jnp.zeros(size, dtype) for dtype in (jnp.int32, float, bool))
    return environments.Trajectory(whole, whole, whole, number, whole, whole, flag, flag)
