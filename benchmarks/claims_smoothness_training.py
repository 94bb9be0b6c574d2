"""Two learners side by side on a contextual bandit, and how far each one's way of acting moves in one update.

A Q network by regression on replayed pulls (epsilon-greedy), and a policy by PPO on its last round of pulls. Both
have the same network, Adam at the same learning rate, equally many minibatches of the same size, the same states.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import pgjax
from pgjax import losses
from pgjax.distributions import Categorical, EpsilonGreedy, Softmax

NUM_ARMS, STATE_SIZE, NUM_FEATURES, LENGTH_SCALE, NOISE_STD = 10, 4, 32, 2.0, 0.5
NUM_ROUNDS, ROUND, NUM_EPOCHS, MINIBATCH = 48, 128, 4, 32  # ROUND pulls, then NUM_EPOCHS of minibatches
LEARNING_RATE, EPSILON = 1e-3, 0.1
NUM_HELD_OUT = 64  # states where changes are measured
COLD = 1e-4  # a temperature far below the differences between values
Q_NETWORK = pgjax.QValues(NUM_ARMS, activation=nn.tanh)  # the policy's network
POLICY = pgjax.CategoricalPolicy(NUM_ARMS)
OPTIMIZER = optax.adam(LEARNING_RATE)


class Problem(NamedTuple):
    """A smooth random reward for each arm: about a Gaussian process with a squared exponential kernel, variance 1.

    Fields: frequencies `[F, D]`, phases `[F]`, weights `[F, K]`.
    """

    frequencies: jax.Array
    phases: jax.Array
    weights: jax.Array

    def expected_rewards(self, states: jax.Array) -> jax.Array:
        """Of each arm, at states `[B, D]`: shape `[B, K]`."""
        features = jnp.cos(states @ self.frequencies.T + self.phases[None])
        return (2 / NUM_FEATURES) ** 0.5 * features @ self.weights


class Learner(NamedTuple):
    """A network's parameters and Adam's state."""

    params: Any
    optimizer: Any


class Shown(NamedTuple):
    """What the two networks say at the held-out states, shapes `[B, K]`."""

    q_values: jax.Array
    log_probs: jax.Array


class Changes(NamedTuple):
    """What one update changes, means over the held-out states.

    Fields:
        greedy: share of states where the action of the greatest Q changes: the greedy policy's total variation.
        softmax: total variation of softmax(Q / temperature), as random as the policy.
        cold: the same at the temperature COLD.
        policy: total variation of the policy.
        mode: share of states where the policy's most probable action changes.
        greedy_reward, policy_reward: absolute change of a state's expected reward.
        bound: greatest total variation of the policy over its bound tanh(|z - z'| / 2).
    """

    greedy: jax.Array
    softmax: jax.Array
    cold: jax.Array
    policy: jax.Array
    mode: jax.Array
    greedy_reward: jax.Array
    policy_reward: jax.Array
    bound: jax.Array


class Course(NamedTuple):
    """A run's course: changes at each update `[R, U]`, the rest at the start of each round `[R]`.

    Fields: changes; greedy_regret, policy_regret: at the held-out states, relative to the uniform policy's;
        temperature: of softmax(Q / temperature); entropy: of the policy.
    """

    changes: Changes
    greedy_regret: jax.Array
    policy_regret: jax.Array
    temperature: jax.Array
    entropy: jax.Array


class Pulls(NamedTuple):
    """States `[T, D]`, actions `[T]`, rewards `[T]`."""

    states: jax.Array
    actions: jax.Array
    rewards: jax.Array


def random_problem(key: jax.Array) -> Problem:
    """A random reward function."""
    key_frequencies, key_phases, key_weights = jax.random.split(key, 3)
    return Problem(
        jax.random.normal(key_frequencies, (NUM_FEATURES, STATE_SIZE)) / LENGTH_SCALE,
        jax.random.uniform(key_phases, (NUM_FEATURES,), maxval=2 * np.pi),
        jax.random.normal(key_weights, (NUM_FEATURES, NUM_ARMS)),
    )


def train(key: jax.Array, num_rounds: int) -> Course:
    """Both learners on a random problem."""
    key_problem, key_held_out, key_q, key_policy, key_rounds = jax.random.split(key, 5)
    problem = random_problem(key_problem)
    held_out = jax.random.normal(key_held_out, (NUM_HELD_OUT, STATE_SIZE))
    q, policy = new_learner(Q_NETWORK, key_q), new_learner(POLICY, key_policy)
    num_pulls = num_rounds * ROUND
    replay = Pulls(jnp.zeros((num_pulls, STATE_SIZE)), jnp.zeros(num_pulls, jnp.int32), jnp.zeros(num_pulls))
    advance = functools.partial(one_round, problem, held_out)
    numbered = (jax.random.split(key_rounds, num_rounds), jnp.arange(num_rounds))
    return jax.lax.scan(advance, (q, policy, replay), numbered)[1]


def one_round(problem: Problem, held_out: jax.Array, carry: Any, numbered: tuple[jax.Array, jax.Array]) -> Any:
    """Pull, then update in minibatches; measures every update."""
    (q, policy, replay), (key, i) = carry, numbered
    key_states, key_noise, key_greedy, key_policy, key_replay, key_order = jax.random.split(key, 6)
    states = jax.random.normal(key_states, (ROUND, STATE_SIZE))
    noise = NOISE_STD * jax.random.normal(key_noise, (ROUND,))
    expected = problem.expected_rewards(states)
    pi = POLICY.apply(policy.params, states)

    def pull(actions):
        return Pulls(states, actions, jnp.take_along_axis(expected, actions[:, None], axis=-1)[:, 0] + noise)

    greedy = EpsilonGreedy(Q_NETWORK.apply(q.params, states), EPSILON)
    pulls = pull(greedy.sample(seed=key_greedy))
    replay = jax.tree.map(
        lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, i * ROUND, 0), replay, pulls
    )
    own = pull(pi.sample(seed=key_policy))
    num_updates = NUM_EPOCHS * ROUND // MINIBATCH
    replayed = jax.random.randint(key_replay, (num_updates, MINIBATCH), 0, (i + 1) * ROUND)
    order = jax.vmap(lambda key: jax.random.permutation(key, ROUND))(jax.random.split(key_order, NUM_EPOCHS))
    advantages = (own.rewards - jnp.mean(own.rewards)) / jnp.std(own.rewards)
    batch = (own, pi.log_prob(own.actions), advantages)

    before = show(q, policy, held_out)
    truth = problem.expected_rewards(held_out)
    entropy = jnp.mean(Categorical(before.log_probs).entropy())
    temperature = temperature_of_entropy(before.q_values, entropy)

    def update(carry, indices):
        q, policy, before = carry
        of_replay, of_own = indices
        q = descend(functools.partial(q_loss, jax.tree.map(lambda x: x[of_replay], replay)), q)
        policy = descend(functools.partial(policy_loss, jax.tree.map(lambda x: x[of_own], batch)), policy)
        after = show(q, policy, held_out)
        return (q, policy, after), changes(before, after, truth, temperature)

    indices = (replayed, order.reshape(num_updates, MINIBATCH))
    (q, policy, _), changed = jax.lax.scan(update, (q, policy, before), indices)
    return (q, policy, replay), Course(changed, *regrets(before, truth), temperature, entropy)


def new_learner(network: nn.Module, key: jax.Array) -> Learner:
    params = network.init(key, jnp.zeros((1, STATE_SIZE)))
    return Learner(params, OPTIMIZER.init(params))


def descend(loss: Callable[[Any], jax.Array], learner: Learner) -> Learner:
    """One update by Adam."""
    updates, optimizer = OPTIMIZER.update(jax.grad(loss)(learner.params), learner.optimizer)
    return Learner(optax.apply_updates(learner.params, updates), optimizer)


def q_loss(pulls: Pulls, params: Any) -> jax.Array:
    """Half the mean squared error at the arms pulled."""
    predicted = jnp.take_along_axis(Q_NETWORK.apply(params, pulls.states), pulls.actions[:, None], axis=-1)[:, 0]
    return 0.5 * jnp.mean((predicted - pulls.rewards) ** 2)


def policy_loss(batch: tuple[Pulls, jax.Array, jax.Array], params: Any) -> jax.Array:
    """PPO's clipped surrogate, a mean over the minibatch."""
    pulls, old_log_probs, advantages = batch
    log_probs = POLICY.apply(params, pulls.states).log_prob(pulls.actions)
    return losses.ppo_loss(log_probs, old_log_probs, advantages, 1 / MINIBATCH)


def show(q: Learner, policy: Learner, held_out: jax.Array) -> Shown:
    return Shown(Q_NETWORK.apply(q.params, held_out), POLICY.apply(policy.params, held_out).log_probs)


def changes(before: Shown, after: Shown, truth: jax.Array, temperature: jax.Array) -> Changes:
    """What an update changed; `truth` are the expected rewards `[B, K]`."""
    both = (before, after)
    policies = [jnp.exp(shown.log_probs) for shown in both]
    tv = total_variation(*policies)
    moved = jnp.max(jnp.abs(after.log_probs - before.log_probs), axis=-1)
    greedy = [jax.nn.one_hot(jnp.argmax(shown.q_values, axis=-1), NUM_ARMS) for shown in both]
    modes = [jnp.argmax(shown.log_probs, axis=-1) for shown in both]
    greedy_reward, policy_reward = (
        jnp.abs(jnp.sum((new - old) * truth, axis=-1)) for old, new in (greedy, policies)
    )
    means = jnp.stack(
        [
            total_variation(*greedy),
            *(
                total_variation(*(Softmax(shown.q_values, heat).probs for shown in both))
                for heat in (temperature, COLD)
            ),
            tv,
            (modes[0] != modes[1]).astype(tv.dtype),
            greedy_reward,
            policy_reward,
        ]
    ).mean(axis=-1)
    return Changes(*means, bound=jnp.max(tv / jnp.maximum(jnp.tanh(moved / 2), jnp.finfo(tv.dtype).tiny)))


def total_variation(probs: jax.Array, other_probs: jax.Array) -> jax.Array:
    """Half the sum of absolute differences, of distributions `[..., K]`."""
    return 0.5 * jnp.sum(jnp.abs(probs - other_probs), axis=-1)


def regrets(shown: Shown, truth: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of the greedy policy and of the learned one, relative to the uniform policy's."""
    best = jnp.max(truth, axis=-1)
    greedy = jnp.take_along_axis(truth, jnp.argmax(shown.q_values, axis=-1)[:, None], axis=-1)[:, 0]
    policy = jnp.sum(jnp.exp(shown.log_probs) * truth, axis=-1)
    uniform = jnp.mean(best - jnp.mean(truth, axis=-1))
    return jnp.mean(best - greedy) / uniform, jnp.mean(best - policy) / uniform


def temperature_of_entropy(q_values: jax.Array, entropy: jax.Array, num_steps: int = 30) -> jax.Array:
    """The temperature at which softmax(Q / temperature) has a given mean entropy, between 1e-4 and 1e4."""

    def halve(ends, _):
        middle = jnp.mean(ends)
        too_cold = jnp.mean(Softmax(q_values, jnp.exp(middle)).entropy()) < entropy
        return jnp.where(too_cold, jnp.stack([middle, ends[1]]), jnp.stack([ends[0], middle])), None

    ends = jnp.log(jnp.array([1e-4, 1e4], q_values.dtype))
    return jnp.exp(jnp.mean(jax.lax.scan(halve, ends, length=num_steps)[0]))
