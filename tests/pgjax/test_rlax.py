"""Returns and losses against rlax, where it defines the same; and the cases for which it is not wrapped."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

from pgjax import losses, returns
from pgjax.distributions import Categorical

T, NUM, DISCOUNT, LAMBDA = 12, 64, 0.9, 0.7


@pytest.fixture
def trajectories(rng):
    """Rewards, values of all T + 1 states, terminated, truncated, `[NUM, T]`."""
    rewards = rng.normal(size=(NUM, T)).astype(np.float32)
    values = rng.normal(size=(NUM, T + 1)).astype(np.float32)
    terminated, truncated = (rng.random((NUM, T)) < 0.2 for _ in range(2))
    return rewards, values, terminated, truncated & ~terminated


def going_on(terminated):
    """rlax's discounts: 0 where nothing comes after."""
    return np.float32(DISCOUNT) * ~terminated


def test_lambda_returns_are_rlaxs_with_lambda_0_where_an_episode_was_stopped(trajectories):
    rewards, values, terminated, truncated = trajectories
    ours = functools.partial(returns.lambda_returns, discount=DISCOUNT, lambda_=LAMBDA)
    found = jax.vmap(ours)(rewards, values[:, 1:], terminated, truncated)
    lambdas = np.float32(LAMBDA) * ~truncated
    expected = jax.vmap(rlax.lambda_returns)(rewards, going_on(terminated), values[:, 1:], lambdas)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_steps", [1, 3, T])
def test_n_step_returns_are_rlaxs(trajectories, num_steps):
    rewards, values, terminated, truncated = trajectories
    ours = functools.partial(returns.n_step_returns, discount=DISCOUNT, num_steps=num_steps)
    found = jax.vmap(ours)(rewards, values[:, 1:], terminated, truncated)
    theirs = jax.vmap(lambda r, d, v, cut: rlax.n_step_bootstrapped_returns(r, d, v, num_steps, cut))
    expected = theirs(rewards, going_on(terminated), values[:, 1:], np.float32(~truncated))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_gae_is_rlaxs_where_no_episode_was_stopped(trajectories):
    rewards, values, terminated, _ = trajectories
    ours = functools.partial(returns.gae, discount=DISCOUNT, lambda_=LAMBDA)
    found = jax.vmap(ours)(rewards, values[:, :-1], values[:, 1:], terminated)
    theirs = jax.vmap(rlax.truncated_generalized_advantage_estimation, (0, 0, None, 0))
    np.testing.assert_allclose(found, theirs(rewards, going_on(terminated), LAMBDA, values), rtol=1e-4, atol=1e-5)


@pytest.mark.deep
@pytest.mark.filterwarnings("ignore:Rlax softmax will be deprecated")
def test_categorical_losses_are_rlaxs_times_the_number_of_steps(rng):
    logits, advantages, old = (rng.normal(size=shape).astype(np.float32) for shape in ((T, 4), T, T))
    actions, weights = rng.integers(0, 4, T), rng.random(T).astype(np.float32)
    action_values = rng.normal(size=(T, 4)).astype(np.float32)

    def log_probs(x):
        return Categorical(x).log_prob(actions)

    for ours, theirs in (
        (
            lambda x: losses.policy_gradient_loss(log_probs(x), advantages, weights),
            lambda x: rlax.policy_gradient_loss(x, actions, advantages, weights),
        ),
        (
            lambda x: losses.ppo_loss(log_probs(x), old, advantages),
            lambda x: rlax.clipped_surrogate_pg_loss(jnp.exp(log_probs(x) - old), advantages, 0.2),
        ),
        (
            lambda x: losses.all_actions_loss(Categorical(x), action_values),
            lambda x: rlax.qpg_loss(x, action_values),
        ),
    ):
        found, expected = jax.grad(ours)(jnp.asarray(logits)), jax.grad(theirs)(jnp.asarray(logits))
        np.testing.assert_allclose(found, T * np.asarray(expected), rtol=1e-4, atol=1e-5)


def test_what_comes_after_an_end_is_left_out_even_where_it_is_nan():
    """In recursions that multiply it by 0, as rlax's do, it reaches every step before."""
    rewards, terminated = jnp.asarray([1.0, 1.0, jnp.nan]), np.asarray([False, True, False])
    values = jnp.asarray([1.0, jnp.nan, jnp.nan])
    for found in (
        returns.lambda_returns(rewards, values, terminated, discount=0.5, lambda_=1.0),
        returns.n_step_returns(rewards, values, terminated, discount=0.5, num_steps=3),
    ):
        np.testing.assert_allclose(found[:2], [1.5, 1.0])
    found = returns.gae(rewards, jnp.ones(3), values, terminated, discount=0.5, lambda_=1.0)
    np.testing.assert_allclose(found[:2], [0.5, 0.0])
