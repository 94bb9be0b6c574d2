"""Policies that learn to output argmax_a Q(s, a) of the six-joint arm: the amortized search of actor-critic."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import pgjax

NUM_BINS = 11
TRAINING_TARGETS = 65_536


@functools.partial(jax.jit, static_argnums=(0, 3, 4, 5))
def train(
    loss: Callable[[Any, jax.Array, jax.Array], jax.Array],
    params: Any,
    key: jax.Array,
    num_steps: int,
    batch_size: int,
    learning_rate: float,
    states: jax.Array,
) -> Any:
    """Minimize loss(params, key, states) over random batches of the states, by Adam with a cosine schedule."""
    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps))

    def step(carry, key):
        params, optimizer_state = carry
        key_batch, key_loss = jax.random.split(key)
        batch = states[jax.random.randint(key_batch, (batch_size,), 0, states.shape[0])]
        gradients = jax.grad(loss)(params, key_loss, batch)
        updates, optimizer_state = optimizer.update(gradients, optimizer_state)
        return (optax.apply_updates(params, updates), optimizer_state), None

    keys = jax.random.split(key, num_steps)
    return jax.lax.scan(step, (params, optimizer.init(params)), keys)[0][0]


def gaussian_policy(problem: pgjax.problems.Problem) -> pgjax.GaussianPolicy:
    """The chapter's network with its actions squashed into the problem's box."""
    return pgjax.GaussianPolicy(action_size=problem.box.num_dims, box=problem.box)


def train_gaussian(problem: pgjax.problems.Problem, key: jax.Array, num_steps: int) -> Any:
    """Parameters that maximize E[Q(s, a)], a ~ pi(. | s), by the pathwise gradient (dQ/da through the sample)."""
    policy = gaussian_policy(problem)

    def loss(params, key, states):
        actions = pgjax.sample(policy, params, key, states)
        return -jnp.mean(jax.vmap(problem.objective)(states, actions))

    key_init, key_states, key_train = jax.random.split(key, 3)
    states = pgjax.problems.six_joint_arm(key_states, TRAINING_TARGETS).states
    params = policy.init(key_init, states[0])
    return train(loss, params, key_train, num_steps, 512, 3e-3, states)


def categorical_policy(problem: pgjax.problems.Problem) -> pgjax.CategoricalPolicy:
    """One categorical for each dimension, over bins of the box: the discretized policy."""
    return pgjax.CategoricalPolicy(num_actions=(NUM_BINS,) * problem.box.num_dims)


def bin_centers(box: pgjax.Box, choice: jax.Array) -> jax.Array:
    """The action of bins `[..., N]`: the middle of each."""
    low, high = (jnp.asarray(bound, jnp.float32) for bound in (box.low, box.high))
    shape = (1,) * (choice.ndim - 1) + low.shape
    width = ((high - low) / NUM_BINS).reshape(shape)
    return low.reshape(shape) + width * (choice.astype(jnp.float32) + 0.5)


def train_categorical(problem: pgjax.problems.Problem, key: jax.Array, num_steps: int) -> Any:
    """Parameters that maximize E[Q(s, a)] by the score function, each sample's baseline the mean of the others."""
    policy, num_samples = categorical_policy(problem), 8

    def loss(params, key, states):
        pi = pgjax.distribution(policy, params, states)
        choices = pi.sample(seed=key, sample_shape=(num_samples,))
        values = jax.vmap(jax.vmap(problem.objective), (None, 0))(states, bin_centers(problem.box, choices))
        advantages = (values - jnp.mean(values, axis=0)[None]) * (num_samples / (num_samples - 1))
        return -jnp.mean(advantages * pi.log_prob(choices))

    key_init, key_states, key_train = jax.random.split(key, 3)
    states = pgjax.problems.six_joint_arm(key_states, TRAINING_TARGETS).states
    params = policy.init(key_init, states[0])
    return train(loss, params, key_train, num_steps, 256, 3e-3, states)
