"""Bandits: exact values and gradients, the rate of exact ascent, and what full covariance gains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from pgjax import distributions
from pgjax import environments as envs
from tests.deep import deep

CURVATURE = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])
OPTIMUM = np.array([0.5, -1.0, 2.0])
WIDE = distributions.DiagonalNormal(np.zeros((4, 3)), np.zeros((4, 3)))


@pytest.fixture
def float64():
    """Exact to float64's precision."""
    with jax.enable_x64(True):
        yield


def test_pulls_have_the_arms_mean_and_std(key):
    bandit, num = envs.gaussian_bandit([1.0, -2.0], [0.5, 2.0]), 20_000
    keys = jax.random.split(key, (2, num))
    for arm in range(2):
        rewards = jax.vmap(lambda k, a=arm: bandit.pull(k, a))(keys[arm])
        assert abs(np.mean(rewards) - bandit.mean[arm]) < 5 * bandit.std[arm] / np.sqrt(num)
        np.testing.assert_allclose(np.std(rewards), bandit.std[arm], rtol=5 / np.sqrt(2 * num))


def test_the_bandits_policy_gradient_is_the_derivative(float64):
    bandit, logits = envs.gaussian_bandit([1.0, -2.0, 0.3]), np.array([0.1, 0.7, -0.4])
    derivative = jax.grad(bandit.expected_reward)(logits)
    np.testing.assert_allclose(bandit.policy_gradient(logits), derivative, atol=1e-14)
    check_grads(bandit.expected_reward, (logits,), order=1)
    np.testing.assert_allclose(bandit.regret(logits), 1 - bandit.expected_reward(logits))


@pytest.mark.parametrize("gap", [deep(0.1), 1.0, deep(10.0)])
def test_two_arms_lose_one_half_over_time_whatever_the_gap(gap, float64):
    """With exact gradients, two logits, and time = step size x steps."""
    bandit, step_size, num_steps = envs.gaussian_bandit([gap, 0.0]), 0.5 / gap, 40_000
    logits = jax.jit(lambda: envs.gradient_ascent(bandit, np.zeros(2), step_size, num_steps))()
    regret = jax.vmap(bandit.regret)(logits)
    times = step_size * np.arange(num_steps + 1)
    assert times[-1] * regret[-1] == pytest.approx(0.5, rel=2e-3)
    assert np.all(np.diff(regret) < 0)
    x = logits[:, 0] - logits[:, 1]
    flow = jnp.exp(x) + 2 * x - jnp.exp(-x)  # 2 gap t of gradient flow
    np.testing.assert_allclose(flow[-1] / (2 * gap * times[-1]), 1, rtol=2e-3)


def test_one_logit_loses_twice_as_much(float64):
    """The gradient in the first logit, the second held at 0, is half of that of their difference."""
    bandit = envs.gaussian_bandit([1.0, 0.0])

    def advance(x, _):
        return x + 0.5 * bandit.policy_gradient(jnp.stack([x, jnp.zeros(())]))[0], None

    x, _ = jax.lax.scan(advance, jnp.zeros(()), length=40_000)
    regret = bandit.regret(jnp.stack([x, jnp.zeros(())]))
    assert 0.5 * 40_000 * regret == pytest.approx(1, rel=2e-3)


def test_quadratic_pulls_have_the_exact_mean(key):
    bandit, num = envs.quadratic_bandit(OPTIMUM, CURVATURE, noise_std=0.3), 20_000
    key_actions, key_rewards, key = jax.random.split(key, 3)
    pi = distributions.DiagonalNormal(jnp.array([0.0, -0.5, 1.0]), jnp.array([-0.5, 0.2, 0.0]))
    actions = pi.sample(seed=key_actions, sample_shape=num)
    rewards = jax.jit(jax.vmap(bandit.pull))(jax.random.split(key_rewards, num), actions)
    assert abs(np.mean(rewards) - bandit.expected_reward(pi)) < 5 * np.std(rewards) / np.sqrt(num)
    noiseless = bandit._replace(noise_std=jnp.zeros(()))
    assert noiseless.pull(key, bandit.optimum) == 0


def test_the_quadratic_gradient_is_the_derivative(float64):
    bandit = envs.quadratic_bandit(OPTIMUM, CURVATURE)
    mean, log_std = np.array([0.0, -0.5, 1.0]), np.array([-0.5, 0.2, 0.0])

    def value(mean, log_std):
        return bandit.expected_reward(distributions.DiagonalNormal(mean, log_std))

    for given, expected in zip(
        bandit.policy_gradient(mean, log_std), jax.grad(value, argnums=(0, 1))(mean, log_std), strict=True
    ):
        np.testing.assert_allclose(given, expected, rtol=1e-12)
    check_grads(value, (mean, log_std), order=1)


@pytest.mark.parametrize(
    ("correlation", "gap"), [deep(0.5, 1.10649), (0.9, 4.90409), deep(0.99, 10.62123)]
)  # 1.106, 4.904, 10.62
def test_what_full_covariance_gains(correlation, gap, float64):
    curvature = np.full((6, 6), correlation) + (1 - correlation) * np.eye(6)
    bandit, temperature = envs.quadratic_bandit(np.zeros(6), curvature), 0.3

    def objective(pi):
        return bandit.expected_reward(pi) + temperature * pi.entropy()

    gained = objective(bandit.best_full(temperature)) - objective(bandit.best_diagonal(temperature))
    np.testing.assert_allclose(gained, bandit.covariance_gap(temperature), rtol=1e-9)
    assert float(bandit.covariance_gap(1.0)) == pytest.approx(gap, abs=6e-6)
    eigenvalues = np.array([1 + 5 * correlation] + 5 * [1 - correlation])
    assert float(bandit.covariance_gap(1.0)) == pytest.approx(-0.5 * np.sum(np.log(eigenvalues)), rel=1e-9)


def test_the_best_gaussians_are_stationary(float64):
    bandit, temperature = envs.quadratic_bandit(OPTIMUM, CURVATURE), 0.3

    def objective(pi):
        return bandit.expected_reward(pi) + temperature * pi.entropy()

    diagonal, full = bandit.best_diagonal(temperature), bandit.best_full(temperature)
    slopes = jax.grad(lambda m, s: objective(distributions.DiagonalNormal(m, s)), (0, 1))(
        diagonal.loc, diagonal.log_std
    )
    slopes += jax.grad(lambda m, s: objective(distributions.MultivariateNormal(m, s)), (0, 1))(
        full.loc, full.scale_tril
    )
    for slope in slopes:
        np.testing.assert_allclose(slope, 0, atol=1e-12)
    np.testing.assert_allclose(full.covariance(), temperature / 2 * np.linalg.inv(CURVATURE), rtol=1e-10)


@pytest.mark.parametrize("batch", [deep((3,)), (2, 4)])
def test_the_expected_reward_of_a_batch_of_policies_is_that_of_each(batch, rng, float64):
    bandit = envs.quadratic_bandit(OPTIMUM, CURVATURE)
    mean, log_std = rng.normal(size=(2, *batch, 3))
    scale_tril = np.tril(rng.normal(size=(*batch, 3, 3)), -1) + np.eye(3)
    for make, spread in ((distributions.DiagonalNormal, log_std), (distributions.MultivariateNormal, scale_tril)):
        given = bandit.expected_reward(make(mean, spread))
        assert given.shape == batch
        for index in np.ndindex(batch):
            pi = make(mean[index], spread[index])
            away = mean[index] - OPTIMUM
            covariance = np.diag(np.exp(2 * log_std[index]))
            if spread is scale_tril:
                covariance = scale_tril[index] @ scale_tril[index].T
            np.testing.assert_allclose(given[index], -away @ CURVATURE @ away - np.sum(CURVATURE * covariance))
            np.testing.assert_allclose(bandit.expected_reward(pi), given[index])


def test_a_traced_arm_out_of_range_gives_no_reward(key):
    bandit = envs.gaussian_bandit([0.0, 1.0])
    assert np.isnan(jax.jit(bandit.pull)(key, 2))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: envs.gaussian_bandit("a"), "mean"),
        (lambda: envs.gaussian_bandit([0.0, 1.0]).pull(jax.random.key(0), 2), "action"),
        (lambda: envs.gaussian_bandit([0.0, 1.0]).policy_gradient(np.zeros((2, 2))), "logits"),
        (lambda: envs.quadratic_bandit([0.0], [[1.0]], noise_std="a"), "noise_std"),
        (lambda: envs.quadratic_bandit([0.0], [[1.0]], noise_std=[1.0, 2.0]), "noise_std"),
        (lambda: envs.quadratic_bandit([0.0], [[1.0]]).pull(jax.random.key(0), np.zeros((1, 1))), "action"),
        (lambda: envs.quadratic_bandit([0.0], [[1.0]]).policy_gradient(np.zeros(2), np.zeros(2)), "mean"),
        (lambda: envs.quadratic_bandit([0.0], [[1.0]]).expected_reward(WIDE), "pi"),
        (lambda: envs.gaussian_bandit([[1.0]]), "mean"),
        (lambda: envs.gaussian_bandit([1.0], -1.0), "std"),
        (lambda: envs.quadratic_bandit([np.nan], [[1.0]]), "optimum"),
        (lambda: envs.quadratic_bandit([0.0], [1.0]), "curvature"),
        (lambda: envs.quadratic_bandit([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]]), "curvature"),
        (lambda: envs.quadratic_bandit([0.0], [[1.0]], noise_std=-1.0), "noise_std"),
        (lambda: envs.quadratic_bandit([0.0], [[1.0]]).covariance_gap(0.0), "temperature"),
        (lambda: envs.gradient_ascent(envs.gaussian_bandit([0.0, 1.0]), [0.0], 0.1, 5), "logits"),
        (lambda: envs.gradient_ascent(envs.gaussian_bandit([0.0, 1.0]), [0.0, 0.0], 0.1, 0), "num_steps"),
    ],
)
def test_bad_settings_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=f"^{name} "):
        call()
