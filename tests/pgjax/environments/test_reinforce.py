"""The exact moments of REINFORCE's gradient: against the corridor's numbers, enumeration and sampled episodes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pgjax import environments as envs

EVEN = np.zeros((1, 2))


@pytest.fixture
def float64():
    """Exact to float64's precision."""
    with jax.enable_x64(True):
        yield


def episode_gradients(key, mdp, logits, discount, baseline, num, limit):
    """Sampled REINFORCE gradients `[num, O, A]` and lengths, from steps that the rollout took."""
    policy = jax.nn.softmax(jnp.asarray(logits))
    baseline = jnp.broadcast_to(jnp.asarray(baseline), mdp.reward.shape[:1])

    def one(key):
        path, _ = envs.rollout(key, mdp, policy, limit)
        ended = path.terminated.astype(jnp.int32)
        alive = jnp.cumsum(ended) - ended == 0
        powers = discount ** jnp.arange(limit, dtype=policy.dtype)
        rewards = jnp.where(alive, path.reward * powers, 0)
        to_go = jnp.cumsum(rewards[::-1])[::-1]  # gamma^t G_t
        weight = jnp.where(alive, to_go - powers * baseline[path.state], 0)
        actions = jax.nn.one_hot(path.action, policy.shape[1], dtype=policy.dtype)
        score = actions - policy[path.observation]
        return jnp.zeros_like(policy).at[path.observation].add(weight[:, None] * score), jnp.sum(alive)

    return jax.jit(jax.vmap(one))(jax.random.split(key, num))


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("baseline", "variance"),
    [(0.0, 733.0), (-12.0, 277.0), (-37 / 3, 830 / 3)],  # 733, 277, 276.67
)
def test_corridor_mean_and_variance_at_one_half(baseline, variance, float64):
    moments = envs.reinforce_moments(envs.short_corridor(), EVEN, baseline=baseline)
    np.testing.assert_allclose(moments.mean, [[-2, 2]], rtol=1e-10)
    np.testing.assert_allclose(moments.variance[0, 1], variance, rtol=1e-10)
    np.testing.assert_allclose(moments.covariance[0, 0, 0, 1], -moments.variance[0, 1])
    np.testing.assert_allclose(moments.total_variance, 2 * moments.variance[0, 1])


def test_corridor_optimal_baseline(float64):
    corridor = envs.short_corridor()
    best = envs.optimal_baseline(corridor, EVEN)
    assert float(best) == pytest.approx(-37 / 3, abs=1e-9)
    least = envs.reinforce_moments(corridor, EVEN, baseline=best).total_variance
    for shift in (-0.1, 0.1):
        assert envs.reinforce_moments(corridor, EVEN, baseline=best + shift).total_variance > least


@pytest.mark.deep
@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_the_mean_is_the_policy_gradient_whatever_the_baseline(discount, float64):
    grid, rng = envs.aliased_gridworld(), np.random.default_rng(1)
    logits = rng.normal(size=(4, 4))
    value = envs.policy_value(grid, jax.nn.softmax(logits), discount)
    gradient = envs.policy_gradient(grid, logits, discount)
    moments = jax.jit(lambda b: envs.reinforce_moments(grid, logits, discount, baseline=b))
    totals = []
    for baseline in (jnp.zeros(8), jnp.full(8, -3.0), value):
        given = moments(baseline)
        np.testing.assert_allclose(given.mean, gradient, rtol=1e-8, atol=1e-9)
        eigenvalues = np.linalg.eigvalsh(given.covariance.reshape(16, 16))
        assert eigenvalues[0] > -1e-8 * eigenvalues[-1]
        totals.append(float(given.total_variance))
    assert totals[2] < totals[1] < totals[0]


@pytest.mark.deep
def test_moments_of_one_step_by_enumeration(float64):
    """A bandit: score (r - b), action by action."""
    reward, logits, baseline = np.array([1.0, -2.0, 0.5]), np.array([[0.2, -0.3, 0.6]]), 0.4
    transition = np.zeros((2, 3, 2))
    transition[:, :, 1] = 1
    bandit = envs.tabular_mdp(
        transition, np.stack([reward, 0 * reward]), [1, 0], observation=[0, 0], terminal=[False, True]
    )
    pi = np.asarray(jax.nn.softmax(logits))[0]
    samples = (np.eye(3) - pi) * (reward - baseline)[:, None]
    mean = pi @ samples
    covariance = np.einsum("a,ai,aj->ij", pi, samples, samples) - np.outer(mean, mean)
    moments = envs.reinforce_moments(bandit, logits, baseline=baseline)
    np.testing.assert_allclose(moments.mean[0], mean, atol=1e-14)
    np.testing.assert_allclose(moments.covariance[0, :, 0], covariance, atol=1e-14)
    np.testing.assert_allclose(envs.per_step_mean_gradient(bandit, logits, baseline=baseline)[0], mean)


@pytest.mark.deep
@pytest.mark.parametrize("discount", [1.0, 0.8])
def test_moments_match_sampled_episodes_within_five_sigma(discount, key):
    rng, num = np.random.default_rng(3), 20_000
    transition = rng.dirichlet(np.ones(4), (4, 2))
    transition[:, :, 3] += 0.5
    mdp = envs.tabular_mdp(
        transition / transition.sum(-1, keepdims=True),
        rng.normal(size=(4, 2)),
        [0.5, 0.5, 0, 0],
        observation=[0, 1, 0, 1],
        terminal=np.arange(4) == 3,
    )
    logits = np.array([[0.3, -0.5], [-1.0, 0.2]], np.float32)
    baseline = np.array([0.5, -1.0, 0.3, 0.0], np.float32)
    exact = envs.reinforce_moments(mdp, logits, discount, baseline=baseline)
    gradients, lengths = episode_gradients(key, mdp, logits, discount, baseline, num, limit=40)
    assert np.max(lengths) < 40  # no episode was cut

    def check(samples, expected):
        error = np.abs(np.mean(samples, axis=0) - expected) / (np.std(samples, axis=0) / np.sqrt(num))
        assert np.max(error) < 5

    flat = np.asarray(gradients).reshape(num, 4)
    check(flat, np.ravel(exact.mean))
    centered = flat - np.ravel(exact.mean)
    check(centered[:, :, None] * centered[:, None], np.reshape(exact.covariance, (4, 4)))
    per_step = envs.per_step_mean_gradient(mdp, logits, discount, baseline=baseline)
    check(flat / np.asarray(lengths)[:, None], np.ravel(per_step))


def test_per_step_mean_does_not_depend_on_the_number_of_nodes(float64):
    few, many = (envs.per_step_mean_gradient(envs.short_corridor(), EVEN, num_nodes=n) for n in (24, 96))
    np.testing.assert_allclose(few, many, rtol=1e-9)


@pytest.mark.deep
def test_moments_of_episodes_without_an_end_are_infinite_and_the_gradient_is_zero():
    two = envs.two_aliased_states()
    moments = envs.reinforce_moments(two, EVEN)
    assert np.all(np.isposinf(moments.mean))
    assert np.all(np.isposinf(moments.covariance))
    np.testing.assert_array_equal(envs.policy_gradient(two, EVEN), 0)
    np.testing.assert_array_equal(envs.per_step_mean_gradient(two, EVEN), 0)
    assert envs.optimal_baseline(two, EVEN) == 0
    assert envs.optimal_baseline(envs.short_corridor(), [[0.0, 200.0]]) == 0
    free = two._replace(reward=np.zeros((2, 2)))  # for ever, for nothing
    np.testing.assert_array_equal(envs.policy_gradient(free, EVEN), 0)
    assert np.all(np.isfinite(envs.reinforce_moments(two, EVEN, 0.9).covariance))
