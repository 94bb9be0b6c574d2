"""REINFORCE and its baselines: against exact gradients and variances, and against the usual mistakes."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from pgjax import losses, returns
from pgjax.distributions import Categorical
from tests.deep import deep
from tests.pgjax.distributions.families import OPTIMIZED
from tests.pgjax.losses.exact_policy_gradients import (
    corridor_episodes,
    corridor_gradient,
    corridor_gradient_per_step,
    corridor_moments,
    corridor_optimal_baseline,
    corridor_values,
    enumerate_episodes,
)

BEST = 2 - np.sqrt(2)
NUM_EPISODES = 120_000
LOGITS = np.asarray([0.4, -0.7])
EPISODES = enumerate_episodes()


@functools.lru_cache
def corridor_gradients(p, num_episodes=NUM_EPISODES):
    """A function from baselines and the reward to many episodes' gradients in the logit, states and lengths."""
    states, actions, ended = corridor_episodes(np.random.default_rng(0), p, num_episodes)

    def loss(logit, action, end, baseline, reward):
        logits = jnp.broadcast_to(jnp.stack([jnp.zeros_like(logit), logit])[None], (len(action), 2))
        rewards = jnp.full(len(action), reward)
        log_probs = Categorical(logits).log_prob(action)
        return losses.reinforce_loss(log_probs, rewards, end, baseline, discount=1.0)

    logit = jnp.float32(np.log(p / (1 - p)))
    batch = jax.jit(jax.vmap(jax.grad(loss), (None, 0, 0, 0, None)), compiler_options=OPTIMIZED)
    return functools.partial(batch, logit, actions, ended), states, np.argmax(ended, axis=1) + 1


@pytest.mark.parametrize("p", [deep(0.2), 0.5, deep(BEST), deep(0.9)])
def test_return_and_gradient_are_those_known_in_closed_form(p):
    num = 4000
    gradients, states, lengths = corridor_gradients(p, num)
    ended = np.arange(states.shape[1]) == lengths[:, None] - 1
    rewards = np.full(states.shape, -1, np.float32)
    sums = jax.vmap(functools.partial(returns.discounted_returns, discount=1.0))(rewards, ended)[:, 0]
    given = -np.float64(gradients(np.zeros(states.shape, np.float32), jnp.float32(-1)))
    value, slope = -(4 - 2 * p) / (p * (1 - p)), (2 * p**2 - 8 * p + 4) / (p * (1 - p))
    assert corridor_values(p)[0] == pytest.approx(value)
    assert corridor_gradient(p)[0] == pytest.approx(slope, abs=1e-8)
    assert corridor_moments(p).sum(axis=0)[:2] == pytest.approx([1, 0], abs=1e-9)
    for samples, exact in ((np.float64(sums), value), (given, slope)):
        assert abs(samples.mean() - exact) < 5 * samples.std() / np.sqrt(num)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("name", "known"), [("none", 733), ("return", 277), ("optimal", 830 / 3), ("state values", None)]
)
def test_mean_and_variance_are_the_exact_ones_with_every_baseline(name, known):
    p = 0.5
    gradients, states, _ = corridor_gradients(p)
    values = corridor_values(p)
    baseline = {
        "none": np.zeros(3),
        "return": np.full(3, values[0]),
        "optimal": np.full(3, corridor_optimal_baseline(p)),
        "state values": values,
    }[name]
    mean, variance = corridor_gradient(p, baseline)
    assert mean == pytest.approx(2)
    assert known is None or variance == pytest.approx(known, abs=1e-6 if name == "optimal" else 0.5)
    given = -np.float64(gradients(np.append(baseline, 0).astype(np.float32)[states], jnp.float32(-1)))
    assert abs(given.mean() - mean) < 5 * np.sqrt(variance / NUM_EPISODES)
    squares = (given - mean) ** 2
    assert abs(squares.mean() - variance) < 5 * squares.std() / np.sqrt(NUM_EPISODES)


def test_the_optimal_baseline_is_found_from_a_batch():
    gradients, states, _ = corridor_gradients(0.5)
    zero = np.zeros(states.shape, np.float32)
    x = gradients(zero, jnp.float32(-1))
    y = -gradients(zero - 1, jnp.float32(0))  # returns 0 less baseline -1: minus the loss is the sum of log_probs
    baselines = losses.optimal_baseline({"logit": x}, {"logit": y})
    exact = corridor_optimal_baseline(0.5)
    assert exact == pytest.approx(-37 / 3)
    errors = -np.float64(x) * y - exact * np.float64(y) ** 2
    sigma = errors.std() / np.sqrt(NUM_EPISODES) / np.mean(np.float64(y) ** 2)
    assert np.all(np.abs(baselines - exact) < 5 * sigma)
    assert sigma < 0.2


@pytest.mark.deep
def test_an_episodes_gradient_divided_by_its_length_leads_elsewhere():
    """The mistake of averaging over each episode's own steps has another fixed point, seen in the gradients."""
    wrong_point = brentq(corridor_gradient_per_step, 0.5, 0.7)
    assert wrong_point == pytest.approx(0.61114, abs=1e-5)
    assert brentq(lambda p: corridor_gradient(p)[0], 0.5, 0.7) == pytest.approx(BEST)
    gradients, states, lengths = corridor_gradients(BEST)
    right = -np.float64(gradients(np.zeros(states.shape, np.float32), jnp.float32(-1)))
    for given, exact in ((right, 0.0), (right / lengths, corridor_gradient_per_step(BEST))):
        assert abs(given.mean() - exact) < 5 * given.std() / np.sqrt(NUM_EPISODES)
    assert corridor_gradient_per_step(BEST) > 5 * (right / lengths).std() / np.sqrt(NUM_EPISODES)


def expected_update(logits, loss):
    """The exact expectation of a loss's gradient; the episodes' probabilities are those of the logits."""

    @jax.jit
    def update(logits):
        gradients = jax.jacrev(lambda logits: losses_of_all(logits, loss))(logits)
        return jnp.einsum("i,ij->j", EPISODES.probabilities(logits), gradients)

    return update(logits)


def losses_of_all(logits, loss):
    """The loss of each episode."""
    return jnp.stack([loss(logits, i) for i in range(len(EPISODES.actions))])


def reinforce(logits, i, baseline=0.0, **kwargs):
    return losses.reinforce_loss(
        EPISODES.log_probs(logits)[i], EPISODES.rewards[i], EPISODES.ended[i], baseline, **kwargs
    )


@pytest.mark.deep
def test_the_expected_update_is_exactly_the_gradient():
    with jax.enable_x64(True):
        exact = jax.grad(EPISODES.objective)(LOGITS, 0.6)
        for baseline in (0.0, 3.0, np.asarray([1.0, -2.0, 5.0])):
            update = expected_update(LOGITS, functools.partial(reinforce, baseline=baseline, discount=0.6))
            np.testing.assert_allclose(update, -exact, rtol=1e-12)


@pytest.mark.deep
def test_without_its_discounts_the_update_is_no_gradient_of_anything():
    def jacobian(discount, **kwargs):
        loss = functools.partial(reinforce, discount=discount, **kwargs)
        return np.asarray(jax.jacfwd(lambda x: expected_update(x, loss))(LOGITS))

    with jax.enable_x64(True):
        true, dropped = jacobian(0.6), jacobian(0.6, discount_steps=False)
        assert float(true[0, 1]) == pytest.approx(float(true[1, 0]), rel=1e-12)
        assert abs(dropped[0, 1] - dropped[1, 0]) > 0.05 * abs(dropped[0, 1])
        np.testing.assert_allclose(jacobian(1.0), jacobian(1.0, discount_steps=False), rtol=1e-12)


def test_entropy_in_the_objective_counts_what_comes_later():
    discount, temperature = 0.6, 0.5

    def regularized(logits, i):
        return losses.entropy_regularized_loss(
            EPISODES.log_probs(logits)[i],
            EPISODES.entropies(logits)[i],
            EPISODES.rewards[i],
            EPISODES.ended[i],
            discount=discount,
            temperature=temperature,
        )

    def bonus_alone(logits, i):
        weights = EPISODES.inside[i] * discount ** np.arange(3)
        bonus = jnp.sum(weights * EPISODES.entropies(logits)[i])
        return reinforce(logits, i, discount=discount) - temperature * bonus

    with jax.enable_x64(True):
        exact = jax.grad(EPISODES.objective)(LOGITS, discount, temperature)
        np.testing.assert_allclose(expected_update(LOGITS, regularized), -exact, rtol=1e-12)
        assert np.max(np.abs(expected_update(LOGITS, bonus_alone) + exact)) > 0.01


def written_out_gradients(discount, temperature, values, coefficient):
    """Each episode's ascent direction `[num, 2]` by hand: temperature in the returns, coefficient in the bonus."""
    p = 1 / (1 + np.exp(-LOGITS))
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    entropy_slope = -LOGITS * p * (1 - p)
    result = np.zeros((len(EPISODES.actions), 2))
    for i, (states, actions, rewards, inside) in enumerate(
        zip(EPISODES.states, EPISODES.actions, EPISODES.rewards, EPISODES.inside, strict=True)
    ):
        length, after = int(np.sum(inside)), 0.0
        for t in reversed(range(length)):
            s = states[t]
            after = rewards[t] + temperature * entropy[s] + discount * after
            direction = (after - values[s]) * (actions[t] - p[s]) + coefficient * entropy_slope[s]
            result[i, s] += discount**t * direction
    return result


@pytest.mark.parametrize("name", ["entropy_regularized", "actor_critic"])
def test_mean_and_variance_are_the_exact_ones_by_enumeration(name):
    discount, coefficient, values = 0.6, 0.5, np.asarray([0.4, -1.1])

    def loss(logits, i):
        log_probs, entropies = EPISODES.log_probs(logits)[i], EPISODES.entropies(logits)[i]
        rewards, ended = EPISODES.rewards[i], EPISODES.ended[i]
        if name == "entropy_regularized":
            return losses.entropy_regularized_loss(
                log_probs, entropies, rewards, ended, discount=discount, temperature=coefficient
            )
        now = values[EPISODES.states[i]]
        following = np.append(now[1:], 0.0)
        advantages = returns.gae(rewards, now, following, ended, discount=discount, lambda_=1.0)
        weights = returns.padding_weights(ended) * returns.discount_weights(ended, discount=discount)
        return losses.actor_critic_loss(
            log_probs, advantages, now, now, entropies, weights, entropy_coefficient=coefficient
        )

    with jax.enable_x64(True):
        given = -np.asarray(jax.jit(jax.jacrev(lambda logits: losses_of_all(logits, loss)))(LOGITS))
        probabilities = np.asarray(EPISODES.probabilities(LOGITS))
        exact = np.asarray(jax.grad(EPISODES.objective)(LOGITS, discount, coefficient))
        plain = np.asarray(jax.grad(EPISODES.objective)(LOGITS, discount))
    regularized = name == "entropy_regularized"
    ours = written_out_gradients(
        discount, coefficient if regularized else 0.0, np.zeros(2) if regularized else values, coefficient
    )
    mean = probabilities @ given
    np.testing.assert_allclose(mean, probabilities @ ours, rtol=1e-10)
    np.testing.assert_allclose(probabilities @ (given - mean) ** 2, probabilities @ (ours - mean) ** 2, rtol=1e-10)
    if regularized:
        np.testing.assert_allclose(mean, exact, rtol=1e-10)
    else:  # the bonus is no part of the return's gradient
        np.testing.assert_allclose(
            probabilities @ written_out_gradients(discount, 0.0, values, 0.0), plain, rtol=1e-10
        )


def expected_batch_update(baselines_of, num=3):
    """The exact expectation over batches of episodes, their baselines estimated from the batch."""
    batches = np.asarray(list(itertools.product(range(len(EPISODES.actions)), repeat=num)))

    def per_episode(rewards, baseline):
        loss = jax.vmap(functools.partial(losses.reinforce_loss, discount=1.0))
        baselines = jnp.full(len(rewards), baseline)
        return jax.jacrev(lambda x: loss(EPISODES.log_probs(x), rewards, EPISODES.ended, baselines))(LOGITS)

    x = per_episode(jnp.asarray(EPISODES.rewards), 0.0)
    y = -per_episode(jnp.zeros(EPISODES.rewards.shape), -1.0)
    sums = jnp.sum(jnp.where(EPISODES.inside, EPISODES.rewards, 0), axis=1)
    b = jax.vmap(baselines_of)(x[batches], y[batches], sums[batches])
    updates = jnp.mean(x[batches] + b[..., None] * y[batches], axis=1)
    return np.asarray(jnp.einsum("b,bj->j", jnp.prod(EPISODES.probabilities(LOGITS)[batches], axis=1), updates))


@pytest.mark.deep
def test_baselines_that_leave_the_episode_out_are_unbiased_and_others_are_not():
    with jax.enable_x64(True):
        exact = -np.asarray(jax.grad(EPISODES.objective)(LOGITS, 1.0))
        left_out = expected_batch_update(lambda x, y, g: losses.leave_one_out_baseline(g))
        optimal = expected_batch_update(lambda x, y, g: losses.optimal_baseline(x, y))
        mean = expected_batch_update(lambda x, y, g: jnp.full(3, jnp.mean(g)))
    np.testing.assert_allclose(left_out, exact, rtol=1e-12)
    np.testing.assert_allclose(optimal, exact, rtol=1e-12)
    np.testing.assert_allclose(mean, exact * (1 - 1 / 3), rtol=1e-12)


def test_baselines_by_their_definitions(rng):
    sums = rng.normal(size=6).astype(np.float32)
    x, y = ({"a": rng.normal(size=(6, 2, 2)).astype(np.float32), "b": rng.normal(size=6)} for _ in range(2))
    x, y = (jax.tree.map(np.float32, tree) for tree in (x, y))
    for i in range(6):
        others = np.arange(6) != i
        assert losses.leave_one_out_baseline(sums)[i] == pytest.approx(sums[others].mean(), rel=1e-5)
        products, squares = (
            sum(np.sum(np.float64(left[k][others]) * right[k][others]) for k in "ab")
            for left, right in ((x, y), (y, y))
        )
        assert losses.optimal_baseline(x, y)[i] == pytest.approx(-products / squares, rel=1e-5)
    np.testing.assert_array_equal(losses.optimal_baseline(x, jax.tree.map(np.zeros_like, y)), 0)


def test_what_the_padding_holds_has_no_part(rng):
    ended = np.arange(8) == 4
    arrays = [rng.normal(size=8).astype(np.float32) for _ in range(4)]
    spoiled = [np.where(np.arange(8) > 4, np.nan, x) for x in arrays]

    def loss(log_probs, entropies, rewards, baseline):
        return losses.entropy_regularized_loss(
            log_probs, entropies, rewards, ended[: len(rewards)], baseline, discount=0.9, temperature=0.3
        )

    value, gradients = jax.value_and_grad(loss, (0, 1, 2, 3))(*map(jnp.asarray, spoiled))
    expected, short = jax.value_and_grad(loss, (0, 1, 2, 3))(*(jnp.asarray(x[:5]) for x in arrays))
    assert value == pytest.approx(float(expected), rel=1e-6)
    for gradient, part in zip(gradients, short, strict=True):
        np.testing.assert_allclose(gradient, np.append(part, np.zeros(3)), rtol=1e-5)
    assert np.all(gradients[2] == 0)
    assert np.all(gradients[3] == 0)  # neither rewards nor baselines are trained


ONES = np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.reinforce_loss(np.ones((2, 3)), ONES, discount=1.0), r"log_probs must have shape \[T\]"),
        (lambda: losses.reinforce_loss(ONES, ONES, ONES[:2], discount=1.0), "ended must have shape"),
        (lambda: losses.reinforce_loss(ONES, ONES, None, ONES[:2], discount=1.0), "baseline must be a scalar"),
        (lambda: losses.policy_gradient_loss(ONES, ONES, ONES[:2]), "weights must be a scalar"),
        (lambda: losses.leave_one_out_baseline(ONES[:1]), "B >= 2"),
        (lambda: losses.optimal_baseline({"a": ONES}, {"b": ONES}), "scores must be a tree like gradients"),
        (lambda: losses.optimal_baseline({"a": ONES}, {"a": ONES[:2]}), "of the same shapes"),
        (lambda: losses.reinforce_loss(ONES, ONES, discount=1.5), "discount must be"),
        (
            lambda: losses.entropy_regularized_loss(ONES, ONES, ONES, discount=1.0, temperature=-1),
            "temperature must be",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
