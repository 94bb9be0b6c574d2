"""Two learners side by side on a contextual bandit, and how far each one's way of acting moves in one update.

A Q network by regression on replayed pulls (epsilon-greedy), and a policy by PPO on its last round of pulls. Both
have the same network, Adam at the same learning rate, equally many minibatches of the same size, the same states.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import pgjax
from pgjax import losses, noise
from pgjax.distributions import Categorical, EpsilonGreedy, Softmax

NUM_ARMS, STATE_SIZE, NUM_FEATURES, LENGTH_SCALE, NOISE_STD = 10, 4, 32, 2.0, 0.5
NUM_ROUNDS, ROUND, NUM_EPOCHS, MINIBATCH = 48, 128, 4, 32  # ROUND pulls, then NUM_EPOCHS of minibatches
LEARNING_RATE, EPSILON = 1e-3, 0.1
NUM_HELD_OUT = 128  # states where changes are measured
COLD = 1e-4  # a temperature far below the differences between values
Q_NETWORK = pgjax.QValues(NUM_ARMS, activation=nn.tanh)  # the policy's network
POLICY = pgjax.CategoricalPolicy(NUM_ARMS)
OPTIMIZER = optax.flatten(optax.adam(LEARNING_RATE))  # one vector, as that compiles faster


class Problem(NamedTuple):
    """A smooth random reward for each arm: about a Gaussian process with a squared exponential kernel, variance 1.

    Fields: frequencies `[F, D]`, weights `[2 F, K]`.
    """

    frequencies: jax.Array
    weights: jax.Array

    def expected_rewards(self, states: jax.Array) -> jax.Array:
        """Of each arm, at states `[B, D]`: shape `[B, K]`."""
        angles = states @ self.frequencies.T
        features = jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)
        return NUM_FEATURES**-0.5 * features @ self.weights


class Networks(NamedTuple):
    """Parameters, or their gradients: `q` of Q_NETWORK, `policy` of POLICY."""

    q: Any
    policy: Any


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
        q_step, policy_step: length of the step of the network's parameters.
    """

    greedy: jax.Array
    softmax: jax.Array
    cold: jax.Array
    policy: jax.Array
    mode: jax.Array
    greedy_reward: jax.Array
    policy_reward: jax.Array
    bound: jax.Array
    q_step: jax.Array
    policy_step: jax.Array


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


class Noise(NamedTuple):
    """What is random in rounds, drawn ahead of them as that compiles faster.

    Fields: key `[R]`, of the actions; states `[R, ROUND, D]`; rewards `[R, ROUND]`; replayed `[R, U, MINIBATCH]`
        in [0, 1), the pulls to replay; order `[R, U, MINIBATCH]`, the round's pulls in random order,
        epoch by epoch.
    """

    key: jax.Array
    states: jax.Array
    rewards: jax.Array
    replayed: jax.Array
    order: jax.Array


def random_problem(key: jax.Array) -> Problem:
    """A random reward function."""
    normal = noise.normal(key, (NUM_FEATURES, STATE_SIZE + 2 * NUM_ARMS))
    weights = normal[:, STATE_SIZE:].reshape(2 * NUM_FEATURES, NUM_ARMS)
    return Problem(normal[:, :STATE_SIZE] / LENGTH_SCALE, weights)


def random_networks(key: jax.Array) -> Networks:
    """Both networks with the same random parameters (their last layers differ in name only).

    Kernels are normal with variance 1 / fan-in, biases 0, as by the networks' own `init`, which takes longer to
    compile than all the rest.
    """
    shapes, structure = jax.tree.flatten(jax.eval_shape(Q_NETWORK.init, key, jnp.zeros((1, STATE_SIZE))))
    keys = jax.random.split(key, len(shapes))
    leaves = [
        noise.normal(keys[i], x.shape) / x.shape[0] ** 0.5 if x.ndim == 2 else jnp.zeros(x.shape)
        for i, x in enumerate(shapes)
    ]
    q = jax.tree.unflatten(structure, leaves)
    return Networks(q, {"params": {{"values": "logits"}.get(name, name): x for name, x in q["params"].items()}})


def draw_noise(key: jax.Array, num_rounds: int) -> Noise:
    """The noise of all rounds."""
    key_actions, key_normal, key_uniform = jax.random.split(key, 3)
    normal = noise.normal(key_normal, (num_rounds, ROUND, STATE_SIZE + 1))
    uniform = noise.uniform(key_uniform, (2, num_rounds, NUM_EPOCHS, ROUND))
    by_update = (num_rounds, NUM_EPOCHS * ROUND // MINIBATCH, MINIBATCH)
    return Noise(
        noise.split(key_actions, num_rounds),
        normal[..., :-1],
        NOISE_STD * normal[..., -1],
        uniform[0].reshape(by_update),
        jnp.argsort(uniform[1], axis=-1).reshape(by_update),
    )


def train(key: jax.Array, num_rounds: int) -> Course:
    """Both learners on a random problem."""
    key_problem, key_held_out, key_networks, key_noise = jax.random.split(key, 4)
    problem = random_problem(key_problem)
    held_out = noise.normal(key_held_out, (NUM_HELD_OUT, STATE_SIZE))
    networks = random_networks(key_networks)
    num_pulls = num_rounds * ROUND
    replay = Pulls(jnp.zeros((num_pulls, STATE_SIZE)), jnp.zeros(num_pulls, jnp.int32), jnp.zeros(num_pulls))
    carry = (networks, OPTIMIZER.init(networks), replay)
    advance = functools.partial(one_round, problem, held_out)
    return jax.lax.scan(advance, carry, (draw_noise(key_noise, num_rounds), jnp.arange(num_rounds)))[1]


def one_round(problem: Problem, held_out: jax.Array, carry: Any, inputs: tuple[Noise, jax.Array]) -> Any:
    """Pull, then update in minibatches; measures every update."""
    (networks, optimizer, replay), (drawn, i) = carry, inputs
    shown = show(networks, drawn.states)
    acting = jnp.stack([EpsilonGreedy(shown.q_values, EPSILON).log_probs, shown.log_probs])
    actions = Categorical(acting).sample(seed=drawn.key)
    expected = problem.expected_rewards(drawn.states)
    rewards = jnp.take_along_axis(expected[None], actions[..., None], axis=-1)[..., 0] + drawn.rewards[None]
    replay = jax.tree.map(
        lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, i * ROUND, 0),
        replay,
        Pulls(drawn.states, actions[0], rewards[0]),
    )
    advantages = (rewards[1] - jnp.mean(rewards[1])) / jnp.std(rewards[1])
    own = (Pulls(drawn.states, actions[1], advantages), chosen(shown.log_probs, actions[1]))
    replayed = (drawn.replayed * ((i + 1) * ROUND).astype(drawn.replayed.dtype)).astype(jnp.int32)

    before, truth = show(networks, held_out), problem.expected_rewards(held_out)
    entropy = jnp.mean(Categorical(before.log_probs).entropy())
    temperature = temperature_of_entropy(before.q_values, entropy)

    def update(carry, indices):
        networks, optimizer, before = carry
        batches = [
            jax.tree.map(lambda x, i=i: x[i], pulls) for pulls, i in zip((replay, own), indices, strict=True)
        ]
        steps, optimizer = OPTIMIZER.update(jax.grad(loss)(networks, *batches), optimizer)
        networks = optax.apply_updates(networks, steps)
        after = show(networks, held_out)
        lengths = [jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(step))) for step in steps]
        return (networks, optimizer, after), Changes(*changes(before, after, truth, temperature), *lengths)

    carry, changed = jax.lax.scan(update, (networks, optimizer, before), (replayed, drawn.order))
    return (*carry[:2], replay), Course(changed, *regrets(before, truth), temperature, entropy)


def loss(networks: Networks, replayed: Pulls, own: tuple[Pulls, jax.Array]) -> jax.Array:
    """Half the mean squared error of Q, plus PPO's clipped surrogate; they share no parameter."""
    pulls, old_log_probs = own
    q_values, log_probs = values_of(networks.q, replayed.states), log_probs_of(networks.policy, pulls.states)
    of_q = 0.5 * jnp.mean((chosen(q_values, replayed.actions) - replayed.rewards) ** 2)
    new_log_probs = chosen(log_probs, pulls.actions)
    return of_q + losses.ppo_loss(new_log_probs, old_log_probs, pulls.rewards, 1 / MINIBATCH)


def chosen(values: jax.Array, actions: jax.Array) -> jax.Array:
    """The value `[T]` of each action taken, of values `[T, K]`."""
    return jnp.take_along_axis(values, actions[:, None], axis=-1)[:, 0]


def show(networks: Networks, states: jax.Array) -> Shown:
    return Shown(values_of(networks.q, states), log_probs_of(networks.policy, states))


def values_of(params: Any, states: jax.Array) -> jax.Array:
    """What Q_NETWORK says, `[B, K]`."""
    return cast(jax.Array, Q_NETWORK.apply(params, states))


def log_probs_of(params: Any, states: jax.Array) -> jax.Array:
    """What POLICY says, `[B, K]`."""
    return cast(Categorical, POLICY.apply(params, states)).log_probs


def changes(before: Shown, after: Shown, truth: jax.Array, temperature: jax.Array) -> tuple[jax.Array, ...]:
    """The fields of `Changes` but the steps; `truth` are the expected rewards `[B, K]`."""
    q_values, log_probs = (jnp.stack(pair) for pair in zip(before, after, strict=True))
    greedy, modes = (jnp.argmax(x, axis=-1) for x in (q_values, log_probs))
    policies = {
        "greedy": jax.nn.one_hot(greedy, NUM_ARMS),
        "softmax": Softmax(q_values, temperature).probs,
        "cold": Softmax(q_values, COLD).probs,
        "policy": jnp.exp(log_probs),
    }
    tv = {name: total_variation(*probs) for name, probs in policies.items()}
    mode = (modes[0] != modes[1]).astype(truth.dtype)
    moved = jnp.max(jnp.abs(log_probs[1] - log_probs[0]), axis=-1)
    bound = jnp.maximum(jnp.tanh(moved / 2), jnp.finfo(moved.dtype).tiny)
    rewards = (
        jnp.abs(jnp.sum((policies[name][1] - policies[name][0]) * truth, axis=-1)) for name in ("greedy", "policy")
    )
    means = jnp.stack([*tv.values(), mode, *rewards]).mean(axis=-1)
    return *means, jnp.max(tv["policy"] / bound)


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
