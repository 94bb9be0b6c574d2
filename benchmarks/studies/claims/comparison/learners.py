"""The four learners that claim g compares on tables, in a 2x2 design.

(value-based or policy-based) x (on-policy or replay), all with the same data: a segment of steps, then an update.
On-policy learners see each segment once and use its lambda returns; those with replay draw minibatches from all
steps so far and use one-step targets. Each has three settings and as many tries of them: (rate, epsilon, initial
values) on the value-based side, (the actor's rate, the critic's, the entropy's weight) on the other.
"""

from __future__ import annotations

import itertools
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
    """Logits of a policy and values of the actions, `[O, A]` each; state values are the first column."""

    actor: jax.Array
    critic: jax.Array


class Learner(NamedTuple):
    """One cell of the 2x2.

    Fields:
        update: (tables, steps, settings `[3]`) -> tables.
        by_values: whether it acts by its values, or by its logits.
        replay: whether the steps are minibatches of all that came, or the last segment.
        tries: the settings to choose from.
    """

    update: Callable[[Tables, environments.Trajectory, jax.Array], Tables]
    by_values: bool
    replay: bool
    tries: tuple[tuple[float, ...], ...]

    def init(self, settings: jax.Array) -> Tables:
        """Uniform choices; values of 0, or of the third setting on the value-based side."""
        zeros = jnp.zeros((NUM_STATES, NUM_ACTIONS))
        return Tables(zeros, zeros + settings[2] if self.by_values else zeros)

    def act(self, tables: Tables, settings: jax.Array) -> jax.Array:
        """Probabilities of the actions, `[O, A]`."""
        return act_by_values(tables, settings) if self.by_values else Categorical(tables.actor).probs

    def greedy(self, tables: Tables) -> jax.Array:
        """The same without exploration."""
        return Greedy(tables.critic if self.by_values else tables.actor).probs

    def learn(
        self,
        tables: Tables,
        steps: environments.Trajectory,
        batches: environments.Trajectory,
        settings: jax.Array,
    ) -> Tables:
        """From the last segment `[T]`, or from each of some minibatches `[N, B]`."""
        if not self.replay:
            return self.update(tables, steps, settings)
        return jax.lax.scan(lambda now, batch: (self.update(now, batch, settings), None), tables, batches)[0]

    def policies(self, tables: Tables, settings: jax.Array) -> jax.Array:
        """Both, `[2, O, A]`."""
        return jnp.stack([self.act(tables, settings), self.greedy(tables)])


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
        pi = Categorical(actor[steps.observation])
        main = losses.policy_gradient_loss(pi.log_prob(steps.action), advantages, 1 / len(advantages))
        return main - settings[2] * jnp.mean(pi.entropy())

    critic = toward(values, (steps.observation,), advantages + values[steps.observation], settings[1])
    return Tables(tables.actor - settings[0] * jax.grad(loss)(tables.actor), tables.critic.at[:, 0].set(critic))


def expected_actor_critic(tables: Tables, steps: environments.Trajectory, settings: jax.Array) -> Tables:
    """The expected policy gradient with Q from replayed steps: of the policy's own actions, whoever acted."""
    values = jnp.sum(Categorical(tables.actor).probs * tables.critic, axis=-1)
    critic = _update_values(tables, steps, settings[1:], values, trace=0.0).critic

    def loss(actor):
        pi = Categorical(actor[steps.observation])
        main = losses.all_actions_loss(pi, critic[steps.observation], 1 / len(steps.reward))
        return main - settings[2] * jnp.mean(pi.entropy())

    return Tables(tables.actor - settings[0] * jax.grad(loss)(tables.actor), critic)


VALUE_TRIES = tuple(itertools.product((0.05, 0.15, 0.4, 1.0), (0.02, 0.1), (0.0, 20.0)))
POLICY_TRIES = tuple(itertools.product((0.3, 1.0, 3.0, 10.0), (0.15, 1.0), (0.0, 0.02)))
LEARNERS = {
    "value, on-policy": Learner(sarsa, True, False, VALUE_TRIES),
    "value, replay": Learner(q_learning, True, True, VALUE_TRIES),
    "policy, on-policy": Learner(actor_critic, False, False, POLICY_TRIES),
    "policy, replay": Learner(expected_actor_critic, False, True, POLICY_TRIES),
}


def train(
    which: jax.Array, key: jax.Array, mdp: environments.TabularMDP, settings: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """One run of one of LEARNERS, by its number: its policies before and at each point, and its values.

    The number is traced so that one compilation does for all.

    Returns: the acting and the greedy policy's probabilities, shape `[NUM_POINTS + 1, 2, O, A]`; the last critic.
    """

    def choose(name, *args):
        return jax.lax.switch(which, [getattr(learner, name) for learner in LEARNERS.values()], *args)

    key_start, key_run = jax.random.split(key)
    tables = choose("init", settings)
    progress = environments.Progress(environments.reset(key_start, mdp), jnp.zeros((), jnp.int32))

    def segment(carry, number):
        key, progress, tables, memory = carry
        key, key_act, key_rows = jax.random.split(key, 3)
        acting = choose("act", tables, settings)
        steps, progress = environments.rollout(
            key_act, mdp, acting, SEGMENT, time_limit=TIME_LIMIT, start=progress
        )
        memory = jax.tree.map(
            lambda old, new: jax.lax.dynamic_update_slice(old, new, (number * SEGMENT,)), memory, steps
        )
        rows = jax.random.randint(key_rows, (NUM_BATCHES, BATCH_SIZE), 0, (number + 1) * SEGMENT)
        batches = jax.tree.map(lambda column: column[rows], memory)
        return (key, progress, choose("learn", tables, steps, batches, settings), memory), None

    def point(carry, numbers):
        carry, _ = jax.lax.scan(segment, carry, numbers)
        return carry, choose("policies", carry[2], settings)

    numbers = jnp.arange(NUM_POINTS * SEGMENTS_PER_POINT).reshape(NUM_POINTS, SEGMENTS_PER_POINT)
    carry = (key_run, progress, tables, _empty_memory())
    (_, _, last, _), policies = jax.lax.scan(point, carry, numbers)
    return jnp.concatenate([choose("policies", tables, settings)[None], policies]), last.critic


def _empty_memory() -> environments.Trajectory:
    size = SEGMENT * SEGMENTS_PER_POINT * NUM_POINTS
    whole, number, flag = (jnp.zeros(size, dtype) for dtype in (jnp.int32, float, bool))
    return environments.Trajectory(whole, whole, whole, number, whole, whole, flag, flag)
