"""The four learners that claim g compares on tables, in a 2x2 design.

(value-based or policy-based) x (on-policy or replay), all with the same data: a segment of steps, then an update.
On-policy learners see each segment once and use its lambda returns; those with replay draw minibatches from all
steps so far and use one-step targets. Each has two settings and as many tries of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
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
    """Logits of a policy and values of the actions, `[O, A]` each; state values are the first column."""

    actor: jax.Array
    critic: jax.Array


class Learner(NamedTuple):
    """One cell of the 2x2.

    Fields:
        update: (tables, steps, settings `[2]`) -> tables.
        by_values: whether it acts by its values, or by its logits.
        replay: whether the steps are minibatches of all that came, or the last segment.
        tries: the settings to choose from.
    """

    update: Callable[[Tables, environments.Trajectory, jax.Array], Tables]
    by_values: bool
    replay: bool
    tries: tuple[tuple[float, float], ...]

    def act(self, tables: Tables, settings: jax.Array) -> jax.Array:
        """Probabilities of the actions, `[O, A]`."""
        return act_by_values(tables, settings) if self.by_values else Categorical(tables.actor).probs

    def greedy(self, tables: Tables) -> jax.Array:
        """The same without exploration."""
        return Greedy(tables.critic if self.by_values else tables.actor).probs


def toward(table: jax.Array, index: tuple[jax.Array, ...], targets: jax.Array, rate: jax.Array) -> jax.Array:
    """A gradient step of `value_loss` that moves each entry by `rate` of the way to the mean of its targets."""
    visits = jnp.zeros_like(table).at[index].add(1.0)
    gradient = jax.grad(lambda table: losses.value_loss(table[index], targets, 1 / visits[index]))(table)
    return table - rate * gradient


def act_by_values(tables: Tables, settings: jax.Array) -> jax.Array:
    """Epsilon-greedy."""
    return EpsilonGreedy(tables.critic, settings[1]).probs


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
    values = tables.critic[:, 0]
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
    return Tables(tables.actor - settings[0] * jax.grad(loss)(tables.actor), tables.critic.at[:, 0].set(critic))


def expected_actor_critic(tables: Tables, steps: environments.Trajectory, settings: jax.Array) -> Tables:
    """The expected policy gradient with Q from replayed steps: of the policy's own actions, whoever acted."""
    values = jnp.sum(Categorical(tables.actor).probs * tables.critic, axis=-1)
    critic = _update_values(tables, steps, settings[::-1], values, trace=0.0).critic

    def loss(actor):
        pi = Categorical(actor[steps.observation])
        return losses.all_actions_loss(pi, critic[steps.observation], 1 / len(steps.reward))

    return Tables(tables.actor - settings[0] * jax.grad(loss)(tables.actor), critic)


def _pairs(first: Sequence[float], second: Sequence[float]) -> tuple[tuple[float, float], ...]:
    return tuple((x, y) for x in first for y in second)


# Value-based learners try (rate, epsilon), policy-based ones (the actor's rate, the critic's).
VALUE_TRIES = _pairs((0.05, 0.15, 0.4, 1.0), (0.02, 0.05, 0.1, 0.2))
POLICY_TRIES = _pairs((0.3, 1.0, 3.0, 10.0), (0.05, 0.15, 0.4, 1.0))
LEARNERS = {
    "value, on-policy": Learner(sarsa, True, False, VALUE_TRIES),
    "value, replay": Learner(q_learning, True, True, VALUE_TRIES),
    "policy, on-policy": Learner(actor_critic, False, False, POLICY_TRIES),
    "policy, replay": Learner(expected_actor_critic, False, True, POLICY_TRIES),
}


def train(
    which: jax.Array, key: jax.Array, mdp: environments.TabularMDP, settings: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """One run of one of LEARNERS, by its number: the policies that acted, at each point, and the values.

    The number is traced so that one compilation does for all.

    Returns: probabilities, the first ones, those at each point and the last ones without exploration, shape
        `[NUM_POINTS + 2, O, A]`; and the last critic.
    """
    made = LEARNERS.values()
    key_start, key_run = jax.random.split(key)
    tables = Tables(*(jnp.zeros((NUM_STATES, NUM_ACTIONS)) for _ in Tables._fields))
    progress = environments.Progress(environments.reset(key_start, mdp), jnp.zeros((), jnp.int32))

    def act(tables):
        return jax.lax.switch(which, [learner.act for learner in made], tables, settings)

    def segment(carry, number):
        key, progress, tables, memory = carry
        key, key_act, key_rows = jax.random.split(key, 3)
        steps, progress = environments.rollout(
            key_act, mdp, act(tables), SEGMENT, time_limit=TIME_LIMIT, start=progress
        )
        memory = jax.tree.map(
            lambda old, new: jax.lax.dynamic_update_slice(old, new, (number * SEGMENT,)), memory, steps
        )
        rows = jax.random.randint(key_rows, (NUM_BATCHES, BATCH_SIZE), 0, (number + 1) * SEGMENT)
        batches = jax.tree.map(lambda column: column[rows], memory)
        updates = [functools.partial(_update, learner, settings) for learner in made]
        return (key, progress, jax.lax.switch(which, updates, tables, steps, batches), memory), None

    def point(carry, numbers):
        carry, _ = jax.lax.scan(segment, carry, numbers)
        return carry, act(carry[2])

    numbers = jnp.arange(NUM_POINTS * SEGMENTS_PER_POINT).reshape(NUM_POINTS, SEGMENTS_PER_POINT)
    carry = (key_run, progress, tables, _empty_memory())
    (_, _, last, _), policies = jax.lax.scan(point, carry, numbers)
    greedy = jax.lax.switch(which, [learner.greedy for learner in made], last)
    return jnp.concatenate([act(tables)[None], policies, greedy[None]]), last.critic


def _update(learner, settings, tables, steps, batches):
    if not learner.replay:
        return learner.update(tables, steps, settings)
    return jax.lax.scan(lambda now, batch: (learner.update(now, batch, settings), None), tables, batches)[0]


def _empty_memory() -> environments.Trajectory:
    size = SEGMENT * SEGMENTS_PER_POINT * NUM_POINTS
    whole, number, flag = (jnp.zeros(size, dtype) for dtype in (jnp.int32, float, bool))
    return environments.Trajectory(whole, whole, whole, number, whole, whole, flag, flag)
