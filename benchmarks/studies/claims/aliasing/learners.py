"""Claim d's learners in the aliased gridworld, and REINFORCE's gradients from sampled episodes; for one seed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pgjax import environments as envs
from pgjax import losses, returns
from pgjax.distributions import Categorical, EpsilonGreedy

TIME_LIMIT = 50  # steps of an episode
# Actor-critic: streams of steps side by side, steps of each between two updates.
NUM_STREAMS, NUM_STEPS, NUM_UPDATES, LEARNING_RATE, LAMBDA = 8, 16, 500, 0.1, 0.95
NUM_Q_STEPS, STEP_SIZE, EPSILON = 10_000, 0.1, 0.1
NUM_EPISODES, MAX_STEPS = 8192, 150  # in the corridor; one episode in ten million is longer


def remembering(mdp: envs.TabularMDP) -> envs.TabularMDP:
    """The environment in which a policy also sees the observation before this one; 0 of O + 1 before the first.

    State s with memory m is number s (O + 1) + m, and its observation m O + o(s), so that mod O it is o(s).
    """
    size, (num_states, num_actions) = int(np.max(mdp.observation)) + 1, mdp.reward.shape
    transition = np.zeros((num_states, size + 1, num_actions, num_states, size + 1))
    for state, seen in enumerate(mdp.observation):
        transition[state, ..., seen + 1] = mdp.transition[state]
    initial = np.zeros((num_states, size + 1))
    initial[:, 0] = mdp.initial
    total = initial.size
    return envs.tabular_mdp(
        transition.reshape(total, num_actions, total),
        np.repeat(mdp.reward, size + 1, axis=0),
        initial.ravel(),
        observation=(np.arange(size + 1) * size + np.asarray(mdp.observation)[:, None]).ravel(),
        terminal=np.repeat(mdp.terminal, size + 1),
    )


def actor_critic(key: jax.Array, mdp: envs.TabularMDP, discount: jax.Array) -> jax.Array:
    """Softmax policy gradient from GAE with a value for each observation; returns the logits `[O, A]`."""
    size, num_actions = int(np.max(mdp.observation)) + 1, mdp.reward.shape[1]
    optimizer = optax.adam(optax.linear_schedule(LEARNING_RATE, 0.0, NUM_UPDATES))

    def loss(params, path, first_step):
        values, pi = params["values"], Categorical(params["logits"][path.observation])
        ended = path.terminated | path.truncated
        advantages = returns.gae(
            path.reward,
            values[path.observation],
            values[path.next_observation],
            path.terminated,
            path.truncated,
            discount=discount,
            lambda_=LAMBDA,
        )
        return losses.actor_critic_loss(
            pi.log_prob(path.action),
            advantages,
            values[path.observation],
            advantages + values[path.observation],
            pi.entropy(),
            returns.discount_weights(ended, discount=discount, first_step=first_step) / NUM_STEPS,
            entropy_coefficient=0.0,
        )

    def update(carry, _):
        key, params, state, progress = carry
        key, key_paths = jax.random.split(key)
        pi = jax.nn.softmax(params["logits"])
        paths, following = jax.vmap(
            lambda k, start: envs.rollout(k, mdp, pi, NUM_STEPS, time_limit=TIME_LIMIT, start=start)
        )(jax.random.split(key_paths, NUM_STREAMS), progress)
        batch = jax.vmap(loss, (None, 0, 0))
        gradient = jax.grad(lambda p: jnp.mean(batch(p, paths, progress.elapsed)))(params)
        with jax.numpy_dtype_promotion("standard"):  # optax raises a float to the power of its integer count
            change, state = optimizer.update(gradient, state)
        return (key, optax.apply_updates(params, change), state, following), None

    key, key_start = jax.random.split(key)
    params = {"logits": jnp.zeros((size, num_actions)), "values": jnp.zeros(size)}
    starts = jax.vmap(lambda k: envs.reset(k, mdp))(jax.random.split(key_start, NUM_STREAMS))
    progress = envs.Progress(starts, jnp.zeros(NUM_STREAMS, jnp.int32))
    carry = key, params, optimizer.init(params), progress
    return jax.lax.scan(update, carry, length=NUM_UPDATES)[0][1]["logits"]


def q_learning(
    key: jax.Array, mdp: envs.TabularMDP, discount: jax.Array, remembers: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Epsilon-greedy Q-learning without memory (`remembers` 0) or with that of the last observation (1).

    Returns: Q `[O (O + 1), A]`, its rows numbered as the observations of `remembering` (without memory the first O
        count), and the mean return of the last quarter's episodes.
    """
    size = int(np.max(mdp.observation)) + 1

    def row(memory, observation):
        return remembers * memory * size + observation

    def update(carry, _):
        key, q, progress, memory = carry
        key, key_path = jax.random.split(key)

        def act(key, observation):
            return EpsilonGreedy(q[row(memory, observation)], EPSILON).sample(seed=key)

        path, progress = envs.rollout(key_path, mdp, act, 1, time_limit=TIME_LIMIT, start=progress)
        now = jax.tree.map(lambda x: x[0], path)
        here, there = row(memory, now.observation), row(now.observation + 1, now.next_observation)
        target = now.reward + jnp.where(now.terminated, 0, discount * jnp.max(q[there]))
        q = q.at[here, now.action].add(STEP_SIZE * (target - q[here, now.action]))
        ended = now.terminated | now.truncated
        return (key, q, progress, jnp.where(ended, 0, now.observation + 1)), (now.reward, ended)

    key, key_start = jax.random.split(key)
    zero = jnp.zeros((), jnp.int32)
    q = jnp.zeros((size * (size + 1), mdp.reward.shape[1]))
    carry = key, q, envs.Progress(envs.reset(key_start, mdp), zero), zero
    (_, q, _, _), (rewards, ended) = jax.lax.scan(update, carry, length=NUM_Q_STEPS)
    last = NUM_Q_STEPS // 4
    return q, jnp.mean(rewards[-last:]) / jnp.mean(ended[-last:])


def reinforce_samples(
    key: jax.Array, mdp: envs.TabularMDP, logits: jax.Array, baselines: jax.Array
) -> tuple[jax.Array, ...]:
    """Moments of REINFORCE's gradient in the logit of observation 0 and action 1, over one seed's episodes.

    Args:
        logits: of the policy, shape `[O, A]`.
        baselines: constants to try, two different ones or more, shape `[K]`.

    Returns: means `[K]`, variances `[K]`, and the estimated best constant baseline `[]`.
    """

    def gradients(path, baseline):
        def loss(x):
            log_probs = Categorical(x[path.observation]).log_prob(path.action)
            return losses.reinforce_loss(log_probs, path.reward, path.terminated, baseline, discount=1.0)

        return jax.grad(loss)(logits)

    keys = jax.random.split(key, NUM_EPISODES)
    paths, _ = jax.vmap(lambda k: envs.rollout(k, mdp, jax.nn.softmax(logits), MAX_STEPS))(keys)
    found = jax.vmap(jax.vmap(gradients, (0, None)), (None, 0))(paths, baselines)
    scores = (found[1] - found[0]) / (baselines[1] - baselines[0])  # the loss is linear in the baseline
    best = losses.optimal_baseline(found[0] - baselines[0] * scores, scores)
    upward = -found[:, :, 0, 1]
    return jnp.mean(upward, axis=1), jnp.var(upward, axis=1, ddof=1), jnp.mean(best)
