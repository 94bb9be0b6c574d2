"""Natural gradients: Fisher products and solutions against the matrix written out."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import pgjax
from pgjax import losses
from pgjax.distributions import Categorical, DiagonalNormal, TanhNormal
from tests.deep import deep_except
from tests.pgjax.distributions.families import FAMILIES, cast

DISCRETE = [name for name, family in FAMILIES.items() if family.sizes and "Greedy" not in name]


def as_matrix(product, params):
    """The matrix of a linear function from trees like params to such trees."""

    @jax.jit
    def columns(params):
        flat, unravel = ravel_pytree(params)
        return jax.vmap(lambda column: ravel_pytree(product(unravel(column)))[0])(jnp.eye(len(flat)))

    return np.asarray(columns(params)).T


def fisher_of(build, params):
    """The product with the Fisher matrix of a policy, made anew where it is called: inside jit, too."""
    return lambda vector: losses.kl_fisher(build, params)(vector)


def enumerated_fisher(log_prob_fn, params):
    """Mean over states of sum_a p score score^T, from log probabilities `[actions, states]`."""

    @jax.jit
    def log_probs_and_scores(params):
        flat, unravel = ravel_pytree(params)
        return log_prob_fn(params), jax.jacrev(lambda flat: log_prob_fn(unravel(flat)))(flat)

    log_probs, scores = (np.asarray(x, np.float64) for x in log_probs_and_scores(params))
    probs = np.exp(log_probs)[..., None]
    scores = np.where(probs > 0, scores, 0).reshape(-1, scores.shape[-1])
    return scores.T @ (probs.reshape(-1, 1) * scores) / log_probs.shape[1]


@pytest.mark.few(1)
@pytest.mark.parametrize("name", deep_except(DISCRETE, "Categorical-masked", "MultiCategorical-masked"))
def test_both_products_are_the_enumerated_matrix(name):
    family = FAMILIES[name]
    params = cast(family.parameters)
    events = np.asarray(list(itertools.product(*map(range, family.sizes))), np.int32)
    events = events.reshape(-1, 1, *family.event_shape)

    def log_prob_fn(params):
        return family.build(*params).log_prob(events)

    def possible_log_prob_fn(params):
        log_probs = log_prob_fn(params)
        return jnp.where(log_probs == -jnp.inf, 0, log_probs)

    expected = enumerated_fisher(log_prob_fn, params)
    assert np.linalg.matrix_rank(expected, tol=1e-5) > 1
    by_kl = fisher_of(lambda params: family.build(*params), params)
    np.testing.assert_allclose(as_matrix(by_kl, params), expected, atol=2e-6)

    def by_score(vector):
        return losses.score_fisher(possible_log_prob_fn, params, jnp.exp(log_prob_fn(params)) / 3)(vector)

    np.testing.assert_allclose(as_matrix(by_score, params), expected, atol=2e-6)


@pytest.mark.parametrize("build", [DiagonalNormal, TanhNormal])
def test_a_gaussians_matrix_is_the_inverse_covariance_and_two(build):
    log_std = np.float32([-0.7, 0.4, 1.5])
    params = (jnp.float32([0.3, -0.5, 0.1]), jnp.asarray(log_std))
    fisher = jax.jit(lambda params, v: losses.kl_fisher(lambda p: build(*p), params)(v))
    expected = np.diag(np.append(np.exp(-2 * log_std), [2, 2, 2]))
    np.testing.assert_allclose(as_matrix(lambda v: fisher(params, v), params), expected, rtol=1e-5, atol=1e-6)


def test_a_full_covariance_gaussians_matrix_is_the_sampled_one(key):
    """In the mean exactly Sigma^-1, and all of it within 5 sigma of the outer products of sampled scores."""
    family, num = FAMILIES["MultivariateNormal"], 100_000
    params = tuple(x[0] for x in cast(family.parameters))
    given = as_matrix(fisher_of(lambda params: family.build(*params), params), params)
    scale = np.asarray(params[1], np.float64)
    np.testing.assert_allclose(given[:2, :2], np.linalg.inv(scale @ scale.T), rtol=1e-5)
    actions = family.build(*params).sample(seed=key, sample_shape=num)
    scores = jax.jit(jax.vmap(jax.grad(lambda params, a: family.build(*params).log_prob(a)), (None, 0)))(
        params, actions
    )
    scores = np.concatenate([np.float64(x).reshape(num, -1) for x in scores], axis=1)
    products = scores[:, :, None] * scores[:, None]
    assert np.all(np.abs(products.mean(axis=0) - given) <= 5 * products.std(axis=0) / np.sqrt(num) + 1e-6)


POLICIES = {
    "categorical": pgjax.CategoricalPolicy(3, hidden_sizes=(4,)),
    "diagonal": pgjax.GaussianPolicy(2, hidden_sizes=(3,), std="per_state"),
    "full": pgjax.GaussianPolicy(2, hidden_sizes=(3,), covariance="full"),
    "box": pgjax.GaussianPolicy(2, hidden_sizes=(3,), box=pgjax.Box([-1.0, 0.0], [1.0, 3.0])),
}


@pytest.mark.deep
@pytest.mark.parametrize("name", deep_except(POLICIES.keys(), "diagonal"))
def test_conjugate_gradients_solve_for_a_networks_parameters(name, key, rng):
    policy, observations = POLICIES[name], jax.random.normal(jax.random.key(1), (6, 2))
    params = jax.jit(policy.init)(key, observations)
    fisher = fisher_of(lambda params: pgjax.distribution(policy, params, observations), params)
    gradient = jax.tree.map(lambda x: np.float32(rng.normal(size=x.shape)), params)
    flat_gradient = np.concatenate([x.ravel() for x in jax.tree.leaves(gradient)])
    matrix = np.float64(as_matrix(fisher, params))
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-5 * np.max(np.abs(matrix)))
    assert np.linalg.eigvalsh(matrix)[0] > -1e-5 * np.max(np.abs(matrix))

    @jax.jit
    def solve(gradient):
        steps = losses.natural_gradient(fisher, gradient, damping=0.05, num_iterations=3 * len(matrix))
        return ravel_pytree(steps)[0], ravel_pytree(losses.natural_gradient(fisher, gradient, num_iterations=3))[0]

    given, early = solve(gradient)
    expected = np.linalg.solve(matrix + 0.05 * np.eye(len(matrix)), np.float64(flat_gradient))
    np.testing.assert_allclose(given, expected, rtol=1e-3, atol=1e-4 * np.max(np.abs(expected)))
    assert early @ flat_gradient > 0


def test_the_network_matrices_are_the_enumerated_ones(key):
    policy, observations = POLICIES["categorical"], jax.random.normal(jax.random.key(1), (6, 2))
    params = jax.jit(policy.init)(key, observations)

    def log_prob_fn(params):
        return pgjax.log_prob(policy, params, observations, jnp.arange(3, dtype=jnp.int32)[:, None])

    fisher = fisher_of(lambda params: pgjax.distribution(policy, params, observations), params)
    np.testing.assert_allclose(as_matrix(fisher, params), enumerated_fisher(log_prob_fn, params), atol=1e-5)


def test_the_step_does_not_depend_on_the_parameterization():
    """A Bernoulli policy in its logit, and in a third of it: the natural gradient moves the probability alike."""

    @jax.jit
    def step(scale):
        def build(x):
            return Categorical(jnp.stack([jnp.zeros(1), scale * x], axis=-1))

        x = jnp.full(1, 0.7) / scale
        gradient = jax.grad(lambda x: losses.all_actions_loss(build(x), jnp.float32([[1.0, 3.0]])))(x)
        return scale * losses.natural_gradient(losses.kl_fisher(build, x), gradient, damping=0.0), gradient

    (natural, gradient), (other_natural, other_gradient) = step(1.0), step(3.0)
    np.testing.assert_allclose(natural, other_natural, rtol=1e-5)
    np.testing.assert_allclose(natural, -2.0, rtol=1e-5)  # minus the advantage of action 1 over action 0
    np.testing.assert_allclose(3 * gradient, other_gradient, rtol=1e-5)


def test_no_gradient_no_step_and_many_iterations_no_nan():
    params = (jnp.zeros(2), jnp.zeros(2))
    fisher = losses.kl_fisher(lambda params: DiagonalNormal(*params), params)
    zero = jax.jit(functools.partial(losses.natural_gradient, fisher))(params)
    solve = jax.jit(functools.partial(losses.natural_gradient, fisher, damping=0.0, num_iterations=50))
    assert all(np.all(x == 0) for x in zero)
    for size in (1e-12, 1.0, 1e12):
        gradient = (jnp.full(2, size), jnp.full(2, size))
        mean, log_std = solve(gradient)
        np.testing.assert_allclose(mean, size, rtol=1e-5)
        np.testing.assert_allclose(log_std, size / 2, rtol=1e-5)


def test_nothing_is_hidden_in_extreme_gradients():
    matrix = jnp.asarray([[2.0, 0.5], [0.5, 1.0]])
    solve = functools.partial(losses.natural_gradient, lambda x: matrix @ x, damping=0.0)
    assert np.all(np.isnan(solve(jnp.asarray([jnp.nan, 1.0]))))
    expected = np.linalg.solve(np.float64(matrix), [1.0, 3.0])
    for size in (1e20, 1e-20, 1e37):
        given = np.float64(solve(jnp.float32(size) * jnp.asarray([1.0, 3.0])))
        np.testing.assert_allclose(given / size, expected, rtol=1e-5)
    for gradient in ([1.0, 1.0, 1.0], [0.0, 0.0, 1.0]):  # the third direction has no curvature
        singular = jnp.diag(jnp.asarray([1.0, 3.0, 0.0]))
        given = losses.natural_gradient(lambda x: singular @ x, jnp.asarray(gradient), damping=0.0)  # noqa: B023
        assert np.all(np.abs(given) < 100)


def test_a_singular_fisher_matrix_needs_no_damping_where_the_gradient_is_in_its_range(rng):
    """Of four logits only three count; further iterations must not blow up the fourth's rounding."""

    @jax.jit
    def step(logits, values):
        gradient = jax.grad(lambda x: jnp.vdot(jax.nn.softmax(x), values))(logits)
        return losses.natural_gradient(losses.kl_fisher(Categorical, logits), gradient, damping=0.0)

    for _ in range(20):
        logits, values = rng.normal(size=(2, 4)).astype(np.float32)
        found = step(logits, values)
        np.testing.assert_allclose(found - np.mean(found), values - np.mean(values), rtol=2e-2, atol=2e-2)


def test_mixed_and_narrow_dtypes_are_solved_in_float32():
    curvature = {"a": jnp.float32(3), "b": jnp.asarray(0.37, jnp.bfloat16)}

    def fisher(x):
        return jax.tree.map(lambda c, x: c * x, curvature, x)

    gradient = {"a": jnp.ones(2), "b": jnp.ones(3, jnp.bfloat16)}
    given = losses.natural_gradient(fisher, gradient, damping=0.001)
    assert {name: x.dtype for name, x in given.items()} == {"a": jnp.float32, "b": jnp.bfloat16}
    np.testing.assert_allclose(given["a"], 1 / 3.001, rtol=1e-2)
    np.testing.assert_allclose(np.float32(given["b"]), 1 / 0.371, rtol=1e-2)


def test_bad_arguments_are_refused_by_name():
    params = jnp.zeros(2)
    with pytest.raises(ValueError, match="num_iterations must be"):
        losses.natural_gradient(lambda x: x, params, num_iterations=0)
    with pytest.raises(ValueError, match="damping must be"):
        losses.natural_gradient(lambda x: x, params, damping=-1.0)
    with pytest.raises(ValueError, match="damping must be"):
        losses.natural_gradient(lambda x: x, params, damping=np.float32(-1))
    for empty in (None, jnp.zeros(2, jnp.int32)):
        with pytest.raises(ValueError, match="gradient must be a tree"):
            losses.natural_gradient(lambda x: x, empty)
    with pytest.raises(ValueError, match="params must be a tree"):
        losses.kl_fisher(lambda x: DiagonalNormal(x, x), {})
    with pytest.raises(ValueError, match="params must give a policy"):
        losses.kl_fisher(lambda x: DiagonalNormal(*x), (jnp.zeros((0, 2)), jnp.zeros((0, 2))))
    with pytest.raises(ValueError, match="weights must be a scalar"):
        losses.score_fisher(lambda x: x, params, jnp.ones(3))
