"""Estimators from action values, on a quadratic bandit whose gradients and variances have closed forms."""

import functools
import itertools

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pgjax import losses
from pgjax.distributions import (
    Categorical,
    DiagonalNormal,
    EpsilonGreedy,
    MultiCategorical,
    MultivariateNormal,
    Softmax,
    TanhNormal,
)
from tests.deep import deep_except

NUM = 100_000
# Reward -(a - c)^T H (a - c); a ~ Normal(mu, sigma).
CURVATURE = np.asarray([[1.5, -0.6], [-0.6, 0.8]])
CENTER, MEAN, STD = np.asarray([0.4, -0.3]), np.asarray([0.9, 0.5]), np.asarray([0.7, 1.3])
SHIFT = MEAN - CENTER
GRADIENT = np.concatenate([-2 * CURVATURE @ SHIFT, -2 * np.diag(CURVATURE) * STD**2])  # in mu, then in log sigma


def reward(_, action):
    shift = action - jnp.asarray(CENTER, action.dtype)
    return -shift @ jnp.asarray(CURVATURE, action.dtype) @ shift


def parameters():
    """One row for each sample, so that the gradient in a row is one estimate."""
    return tuple(jnp.broadcast_to(jnp.asarray(x, jnp.float32)[None], (NUM, 2)) for x in (MEAN, np.log(STD)))


def score_function(key, pi):
    actions = jax.lax.stop_gradient(pi.sample(seed=key))
    return losses.policy_gradient_loss(pi.log_prob(actions), jax.vmap(reward, (None, 0))(None, actions))


ESTIMATORS = {
    "score function": score_function,
    "pathwise": lambda key, pi: losses.pathwise_loss(key, reward, jnp.zeros(NUM), pi),
    "measure-valued": lambda key, pi: losses.measure_valued_loss(key, reward, jnp.zeros(NUM), pi),
}


def exact_variances(name):
    """Of one estimate of (d/d mu, d/d log sigma)."""
    if name == "measure-valued":
        squares = (CURVATURE @ SHIFT) ** 2 + (CURVATURE[0, 1] * STD[::-1]) ** 2
        of_mean = 16 / np.pi * squares - GRADIENT[:2] ** 2
        return np.append(of_mean, 4 * np.diag(CURVATURE) ** 2 * STD**4 + 4 * STD**2 * squares)
    # Gauss-Hermite quadrature, exact for these polynomials.
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    epsilon = np.asarray(list(itertools.product(nodes, repeat=2)))
    weights = np.prod(list(itertools.product(weights, repeat=2)), axis=1) / (2 * np.pi)
    slope = -2 * (SHIFT + STD * epsilon) @ CURVATURE
    value = 0.5 * np.sum((SHIFT + STD * epsilon) * slope, axis=1, keepdims=True)
    scores = np.concatenate([epsilon / STD, epsilon**2 - 1], axis=1)
    paths = np.concatenate([slope, slope * STD * epsilon], axis=1)
    estimates = {"score function": value * scores, "pathwise": paths}[name]
    np.testing.assert_allclose(weights @ estimates, GRADIENT)
    return weights @ estimates**2 - GRADIENT**2


@functools.lru_cache
def sampled(name):
    """Estimates of the gradient, shape `[NUM, 4]`."""
    gradients = jax.jit(jax.grad(lambda x: ESTIMATORS[name](jax.random.key(0), DiagonalNormal(*x))))(parameters())
    return -np.concatenate(gradients, axis=1, dtype=np.float64)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_mean_and_variance_are_the_exact_ones(name):
    estimates = sampled(name)
    variances = exact_variances(name)
    np.testing.assert_array_less(np.abs(estimates.mean(axis=0) - GRADIENT), 5 * np.sqrt(variances / NUM))
    squares = (estimates - GRADIENT) ** 2
    np.testing.assert_array_less(np.abs(squares.mean(axis=0) - variances), 5 * squares.std(axis=0) / np.sqrt(NUM))


def test_the_estimators_rank_as_known_on_the_quadratic():
    score, path, measure = (sampled(name).var(axis=0) for name in ESTIMATORS)
    assert np.all(path < score)
    assert np.all(measure < score)
    assert np.all(measure[2:] < path[2:])  # in log sigma the coupled measure-valued one is the best


def test_a_jump_has_a_measure_valued_derivative_and_no_pathwise_one(key):
    """d/d mu P(a > 0) is the density of a at 0; the path's derivative is zero everywhere."""

    def above_zero(_, action):
        return jnp.where(action[0] > 0, 1.0, 0.0)

    def gradient(loss):
        def total(mean):
            return loss(jax.random.key(0), above_zero, jnp.zeros(NUM), DiagonalNormal(mean, jnp.zeros((NUM, 1))))

        return -np.float64(jax.jit(jax.grad(total))(jnp.full((NUM, 1), 0.5)))

    np.testing.assert_array_equal(gradient(losses.pathwise_loss), 0)
    given = gradient(losses.measure_valued_loss)
    density = np.exp(-0.125) / np.sqrt(2 * np.pi)
    assert abs(given.mean() - density) < 5 * given.std() / np.sqrt(NUM)


def test_values_are_those_of_sampled_actions_and_weights_count(key):
    states, pi = jnp.arange(4.0), DiagonalNormal(jnp.zeros((4, 2)), jnp.full((4, 2), -20.0))
    for loss in (losses.pathwise_loss, losses.measure_valued_loss):
        given = loss(jax.random.key(1), lambda s, a: s + jnp.sum(a), states, pi, jnp.asarray([0.0, 1.0, 0.0, 2.0]))
        assert given == pytest.approx(-7, rel=1e-6)


@pytest.mark.deep
def test_the_pathwise_loss_with_entropy_of_a_squashed_gaussian():
    """Against quadrature of E[Q - tau log pi]: sampled actions in a box, as in soft actor-critic."""
    tau, num = 0.4, 40_000
    mean, log_std = jnp.full((num, 1), 0.3), jnp.full((num, 1), -0.2)

    def loss(parameters):
        objective = lambda _, a: jnp.sin(2 * a[0])  # noqa: E731
        pi = TanhNormal(*parameters)
        return losses.pathwise_loss(jax.random.key(2), objective, jnp.zeros(num), pi, temperature=tau)

    def exact(mean, log_std):
        pi = TanhNormal(mean[None], log_std[None])
        nodes, weights = np.polynomial.hermite_e.hermegauss(60)
        actions = jnp.tanh(mean + jnp.exp(log_std) * nodes.astype(np.float32))
        return jnp.sum(weights / np.sqrt(2 * np.pi) * jnp.sin(2 * actions)) + tau * pi.entropy()

    expected = jax.grad(exact, (0, 1))(jnp.float32(0.3), jnp.float32(-0.2))
    for given, value in zip(jax.jit(jax.grad(loss))((mean, log_std)), expected, strict=True):
        estimates = -np.float64(given)
        assert abs(estimates.mean() - value) < 5 * estimates.std() / np.sqrt(num)


@pytest.mark.deep
def test_the_sum_over_all_actions_is_exact(rng):
    logits, values = (rng.normal(size=(5, 3)).astype(np.float32) for _ in range(2))
    mask = jnp.asarray([[1, 1, 1], [1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], bool)
    weights = jnp.asarray([1.0, 2.0, 0.5, 1.0, 0.0])
    read = mask & (weights > 0)[:, None]
    gradient = jax.grad(
        lambda x: losses.all_actions_loss(Categorical(x, mask), jnp.where(read, values, jnp.nan), weights)
    )(jnp.asarray(logits))
    probs = np.float64(Categorical(logits, mask).probs)
    mean = np.sum(probs * values, axis=1, keepdims=True)
    np.testing.assert_allclose(gradient, -weights[:, None] * probs * (values - mean), rtol=1e-4, atol=1e-6)
    two = jax.grad(lambda x: losses.all_actions_loss(Categorical(x), values[:, :2]))(jnp.asarray(logits[:, :2]))
    p = np.float64(Categorical(logits[:, :2]).probs[:, 1])
    np.testing.assert_allclose(two[:, 1], -p * (1 - p) * (values[:, 1] - values[:, 0]), rtol=1e-4)
    for pi in (Softmax(values, 0.5), EpsilonGreedy(values, 0.1)):
        assert losses.all_actions_loss(pi, values) == pytest.approx(-float(jnp.sum(pi.probs * values)), rel=1e-5)


def smooth(_, action):
    """A function of a `[2]` action, not additive."""
    x = action.astype(jnp.float32)
    return jnp.sin(x[0] + 0.5 * x[1]) + 0.3 * x[0] * x[1]


def mean_over_grid(action_of, num=40):
    """E[smooth(action_of(z))] for two standard normal numbers z, by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(num)
    z = jnp.asarray(list(itertools.product(nodes, repeat=2)), jnp.float32)
    weights = np.prod(list(itertools.product(weights, repeat=2)), axis=1) / (2 * np.pi)
    return jnp.sum(jnp.asarray(weights, jnp.float32) * jax.vmap(lambda z: smooth(None, action_of(z)))(z))


def mean_over_choices(first, second):
    values = jnp.asarray([[smooth(None, jnp.asarray([i, j])) for j in range(3)] for i in range(2)])
    return jax.nn.softmax(first) @ values @ jax.nn.softmax(second)


MEASURE_VALUED = {
    "diagonal": (DiagonalNormal, lambda m, s: mean_over_grid(lambda z: m + jnp.exp(s) * z), [MEAN, np.log(STD)]),
    "full": (
        MultivariateNormal,
        lambda m, scale: mean_over_grid(lambda z: m + jnp.tril(scale) @ z),
        [MEAN, np.asarray([[0.7, 9.0], [-0.6, 0.9]])],
    ),
    "squashed": (
        lambda m, s: TanhNormal(m, s, -1.0, 2.0),
        lambda m, s: mean_over_grid(lambda z: 0.5 + 1.5 * jnp.tanh(m + jnp.exp(s) * z)),
        [MEAN, np.log([0.7, 0.5])],
    ),
    "choices": (
        lambda *logits: MultiCategorical(logits),
        mean_over_choices,
        [np.asarray([0.3, -0.5]), np.asarray([0.1, 0.9, -0.4])],
    ),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("name", deep_except(MEASURE_VALUED.keys(), "full", "choices"))
def test_the_measure_valued_mean_is_the_exact_gradient(name):
    build, exact, numbers = MEASURE_VALUED[name]
    parameters = tuple(jnp.asarray(x, jnp.float32) for x in numbers)
    num = 20_000
    rows = tuple(jnp.broadcast_to(x[None], (num, *x.shape)) for x in parameters)

    def loss(rows):
        return losses.measure_valued_loss(jax.random.key(3), smooth, jnp.zeros(num), build(*rows))

    for given, expected in zip(jax.jit(jax.grad(loss))(rows), jax.grad(exact, (0, 1))(*parameters), strict=True):
        given = -np.float64(given)
        error = 5 * given.std(axis=0) / np.sqrt(num) + 1e-5
        np.testing.assert_array_less(np.abs(given.mean(axis=0) - expected), error)
        assert np.all(error < 0.2)


def test_the_measure_valued_gradient_of_a_single_choice_is_exact(key, rng):
    logits, values = (jnp.asarray(rng.normal(size=(5, 3)), jnp.float32) for _ in range(2))

    def loss(logits):
        return losses.measure_valued_loss(key, lambda row, a: row[a], values, Categorical(logits))

    expected = jax.grad(lambda x: losses.all_actions_loss(Categorical(x), values))(logits)
    np.testing.assert_allclose(jax.grad(loss)(logits), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("loss", [losses.pathwise_loss, losses.measure_valued_loss])
def test_padding_has_no_part_in_any_loss(loss):
    inside = np.arange(4) < 2
    states = jnp.where(inside, 2.0, jnp.nan)
    spoiled = jnp.where(inside[:, None], jnp.float32(MEAN)[None], jnp.nan)

    def total(scale, mean, log_std, states):
        pi = DiagonalNormal(mean, log_std)
        return loss(jax.random.key(0), lambda s, a: scale * jnp.log(s) * jnp.sum(a**2), states, pi, inside)

    value_and_grad = jax.value_and_grad(total, (0, 1, 2))
    log_std = jnp.zeros((4, 2))
    value, gradients = value_and_grad(jnp.float32(1), spoiled, log_std, states)
    clean = jnp.broadcast_to(jnp.float32(MEAN)[None], (4, 2))
    expected, clean_gradients = value_and_grad(jnp.float32(1), clean, log_std, jnp.full(4, 2.0))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for given, other in zip(gradients, clean_gradients, strict=True):
        np.testing.assert_allclose(given, other, rtol=1e-6)
    assert np.all(gradients[1][2:] == 0)


@functools.cache
def gaussian():
    return DiagonalNormal(np.zeros((2, 1), np.float32), np.zeros((2, 1), np.float32))


@functools.cache
def categorical():
    return Categorical(np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda k: losses.pathwise_loss(k, reward, jnp.zeros(2), categorical()), "continuous actions"),
        (
            lambda k: losses.measure_valued_loss(k, reward, jnp.zeros(2), distrax.Normal(jnp.zeros(2), 1.0)),
            "DiagonalNormal",
        ),
        (
            lambda k: losses.pathwise_loss(k, lambda s, a: a, jnp.zeros(2), gaussian()),
            "objective must return a scalar",
        ),
        (
            lambda k: losses.measure_valued_loss(k, lambda s, a: a, jnp.zeros(2), gaussian()),
            "objective must return a",
        ),
        (lambda k: losses.measure_valued_loss(k, reward, jnp.zeros(3), gaussian()), "states must be a tree"),
        (
            lambda k: losses.pathwise_loss(k, reward, jnp.zeros(2), gaussian(), temperature=-1),
            "temperature must be",
        ),
        (lambda k: losses.pathwise_loss(k, reward, None, DiagonalNormal([0.0], [0.0])), "batch shape"),
        (lambda k: losses.all_actions_loss(gaussian(), np.zeros((2, 3))), "must be a Categorical"),
        (lambda k: losses.all_actions_loss(categorical(), np.zeros((2, 2))), "action_values must have shape"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, message, key):
    with pytest.raises(ValueError, match=message):
        call(key)
