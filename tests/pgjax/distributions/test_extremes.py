"""No finite input gives NaN: chosen extremes with known answers, and a search by hypothesis."""

import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies

from pgjax import distributions
from tests.deep import deep, deep_except
from tests.pgjax.distributions.families import new_key

HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)
SIZE = 3


def full(value):
    """Return one float32 event of equal numbers."""
    return jnp.full(SIZE, value, jnp.float32)


def tril_normal(mean, log_std):
    """Build a MultivariateNormal whose factor has off-diagonal entries as large as its diagonal."""
    scale = jnp.exp(0.15 * log_std)  # 3e-7 to 3e6
    return distributions.MultivariateNormal(mean, jnp.tril(jnp.broadcast_to(scale[:, None], (SIZE, SIZE))))


GAUSSIANS = {
    "DiagonalNormal": distributions.DiagonalNormal,
    "MultivariateNormal": tril_normal,
    "TanhNormal": distributions.TanhNormal,
    "TanhNormal-box": lambda mean, log_std: distributions.TanhNormal(mean, log_std, full(0.1), full(0.3)),
}
DISCRETE = {
    "Categorical": lambda x, y: distributions.Categorical(x),
    "Categorical-masked": lambda x, y: distributions.Categorical(x, y > 0),
    "MultiCategorical": lambda x, y: distributions.MultiCategorical((x, y), (y > 0, None)),
    "Greedy": lambda x, y: distributions.Greedy(x, y > 0),
    "EpsilonGreedy": lambda x, y: distributions.EpsilonGreedy(x, jnp.abs(jnp.sin(y[0])), y > 0),
    "Softmax": lambda x, y: distributions.Softmax(x, jnp.abs(y[0]), y > 0),
}


@pytest.mark.parametrize("mean", deep_except([0.0, 3.0, 1e20, -1e20], 3.0, -1e20))
@pytest.mark.parametrize("log_std", [-100.0, -60.0, 60.0, 100.0])
def test_diagonal_normal_at_extreme_scales(mean, log_std):
    """Where std under- or overflows float32, the densities are those of log_std."""
    pi = distributions.DiagonalNormal(full(mean), full(log_std))
    np.testing.assert_allclose(pi.log_prob(full(mean)), -SIZE * (log_std + HALF_LOG_2PI), rtol=1e-6)
    np.testing.assert_allclose(pi.entropy(), SIZE * (log_std + HALF_LOG_2PI + 0.5), rtol=1e-6)
    assert pi.kl_divergence(pi) == 0.0
    _, fused = pi.sample_and_log_prob(seed=new_key())
    assert abs(float(fused) + SIZE * (log_std + HALF_LOG_2PI)) < 50  # three squared normal numbers at most


@pytest.mark.parametrize(
    ("p", "q", "expected"), [(-100.0, 100.0, 199.5), (-100.0, 0.0, 99.5), (-50.0, 50.0, 99.5)]
)
def test_diagonal_kl_at_extreme_scales(p, q, expected):
    """KL of a point against a plain is log(q / p) - 1/2; the other way round it overflows to +inf, not NaN."""
    narrow, wide = (
        distributions.DiagonalNormal(full(0.0), full(p)),
        distributions.DiagonalNormal(full(0.0), full(q)),
    )
    np.testing.assert_allclose(narrow.kl_divergence(wide), SIZE * expected, rtol=1e-6)
    assert wide.kl_divergence(narrow) > 1e30


@pytest.mark.parametrize("low_high", [deep((-1.0, 1.0)), (0.1, 0.3)])
@pytest.mark.parametrize("mean", deep_except([-1e4, -50.0, 50.0, 1e4], -1e4, 50.0))
def test_tanh_normal_far_out(mean, low_high):
    """At |mean| up to 1e4 the entropy, its gradient and the samples are those of exp(-2|u|)."""
    low, high = low_high

    def entropy(mean):
        return distributions.TanhNormal(mean, full(0.0), low, high).entropy()

    value, gradient = jax.value_and_grad(entropy)(full(mean))
    expected = HALF_LOG_2PI + 0.5 + np.log((high - low) / 2) + 2 * np.log(2) - 2 * abs(mean)
    np.testing.assert_allclose(value, SIZE * expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, -2 * np.sign(mean) * np.ones(SIZE), rtol=1e-5)
    sample, fused = distributions.TanhNormal(full(mean), full(0.0), low, high).sample_and_log_prob(seed=new_key())
    np.testing.assert_allclose(sample, high if mean > 0 else low, rtol=1e-6)
    assert abs(float(fused) + SIZE * expected) < 50


@pytest.mark.parametrize("family", [distributions.Categorical, distributions.Softmax, distributions.Greedy])
def test_categorical_at_extreme_logits(family):
    """Logits +-1e30 give one-hot, entropy 0, and gradients without NaN."""
    logits = jnp.array([1e30, -1e30, 0.0])
    pi = family(logits)
    np.testing.assert_array_equal(pi.probs, [1, 0, 0])
    assert pi.entropy() == 0.0
    assert pi.log_prob(jnp.int32(0)) == 0.0
    assert pi.sample(seed=new_key()) == 0
    uniform = family(jnp.full(3, -1e30))
    np.testing.assert_allclose(uniform.probs, 1 / 3, rtol=1e-6)
    gradient = jax.grad(lambda x: family(x).kl_divergence(family(jnp.ones(3))))(jnp.full(3, 1e30))
    assert jnp.isfinite(gradient).all()


def numbers(limit, special):
    """Return a strategy of float32 events up to a size, drawn often from its special values."""
    number = strategies.one_of(
        strategies.sampled_from([*special, *(-x for x in special)]),
        strategies.floats(-limit, limit, width=32),
        strategies.floats(-3, 3, width=32),
    )
    return strategies.lists(number, min_size=SIZE, max_size=SIZE).map(np.float32)


LARGEST = float(np.finfo(np.float32).max)
means = numbers(float(np.float32(1e20)), [0.0, 1e4, float(np.float32(1e20)), float(np.float32(1e-30))])
log_stds = numbers(100.0, [100.0, 50.0, 20.0, 0.0])
logits = numbers(LARGEST, [0.0, 1e4, float(np.float32(1e30)), LARGEST])


@functools.cache
def results(build, actions_in_box=False, largest=np.inf):
    """Return the jitted function to all values, and to the gradients of the densities smaller than `largest`."""

    densities = (
        lambda parameters, other, action: build(*parameters).log_prob(action),
        lambda parameters, other, action: build(*parameters).entropy(),
        lambda parameters, other, action: build(*parameters).kl_divergence(build(*other)),
    )

    def everything(parameters, other, action):
        pi = build(*parameters)
        if actions_in_box:  # any finite number -> the box, the bounds included
            action = jnp.clip(action, pi.low, pi.high)
        elif jnp.issubdtype(pi.dtype, jnp.integer):
            action = pi.sample(seed=new_key(7))
        values, slopes = [], []
        for density in densities:
            value, gradient = jax.value_and_grad(density, argnums=(0, 1))(parameters, other, action)
            values.append(value)
            slopes += [jnp.where(jnp.abs(value) < largest, leaf, 0.0) for leaf in jax.tree.leaves(gradient)]
        drawn = pi.sample_and_log_prob(seed=new_key())
        return (values, drawn, pi.mode(), pi.log_prob(drawn[0])), slopes

    return jax.jit(everything)


def assert_no_nan(tree, what):
    """Assert that no floating leaf holds a NaN."""
    for leaf in jax.tree.leaves(tree):
        assert not np.isnan(np.float64(leaf)).any(), f"NaN among {what}: {leaf}"


@pytest.mark.few(1)
@pytest.mark.parametrize("name", deep_except(GAUSSIANS.keys(), "MultivariateNormal", "TanhNormal-box"))
@hypothesis.settings(max_examples=150)
@hypothesis.given(
    parameters=strategies.tuples(means, log_stds), other=strategies.tuples(means, log_stds), action=means
)
def test_finite_gaussian_parameters_give_no_nan(name, parameters, other, action):
    """|mean| and |action| to 1e20, |log_std| to 100: no value is NaN, no gradient of a finite density is.

    Gradients through a triangular solve add terms of both signs, which may each overflow where the density
    is beyond 1e20: there, and for MultivariateNormal only, they are not looked at.
    """
    largest = 1e20 if name == "MultivariateNormal" else np.inf
    values, slopes = results(GAUSSIANS[name], name.startswith("Tanh"), largest)(parameters, other, action)
    assert_no_nan(values, "values")
    assert_no_nan(slopes, "gradients")


@pytest.mark.few(1)
@pytest.mark.parametrize("name", deep_except(DISCRETE.keys(), "MultiCategorical", "EpsilonGreedy", "Softmax"))
@hypothesis.settings(max_examples=150)
@hypothesis.given(parameters=strategies.tuples(logits, logits), other=strategies.tuples(logits, logits))
def test_finite_logits_give_no_nan(name, parameters, other):
    """Any finite float32 logits and Q-values, any mask: no value is NaN, no gradient of a finite density is."""
    values, slopes = results(DISCRETE[name])(parameters, other, np.int32(0))
    assert_no_nan(values, "values")
    assert_no_nan(slopes, "gradients")
    assert values[0][1] >= 0, "entropy is never negative"
    assert values[0][2] >= 0, "KL is never negative"


def test_full_covariance_kl_at_far_apart_scales():
    """sum log ratio down to 1e-8, where 1 + (ratio - 1) would round to 0."""
    one, other = (
        distributions.MultivariateNormal(jnp.zeros(1), jnp.eye(1) * 1e-8),
        distributions.MultivariateNormal(jnp.zeros(1), jnp.eye(1)),
    )
    np.testing.assert_allclose(one.kl_divergence(other), 17.920680743952367, rtol=1e-6)


def test_nan_actions_have_nan_densities():
    for pi in (
        distributions.DiagonalNormal(jnp.zeros(1), jnp.zeros(1)),
        distributions.TanhNormal(jnp.zeros(1), jnp.zeros(1)),
    ):
        assert jnp.isnan(pi.log_prob(jnp.asarray([jnp.nan])))


def test_softmax_gradients_at_tiny_temperatures():
    for temperature in (0.0, 1e-30, 1e-3, 1e30):
        slope = jax.grad(lambda t: distributions.Softmax(jnp.asarray([1.0, 2.0, 3.0]), t).entropy())(temperature)
        assert jnp.isfinite(slope)


def test_softmax_gradients_when_a_forbidden_action_is_far_better():
    mask = jnp.asarray([True, False, False])
    slope = jax.grad(lambda t: distributions.Softmax(jnp.asarray([-1e4, 0.0, 0.0]), t, mask).log_prob(0))(1.3e-32)
    assert slope == 0
