"""The three Gaussian families against scipy, and what each promises beyond the common contract."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.test_util import check_grads

from pgjax.distributions import DiagonalNormal, MultivariateNormal, TanhNormal
from tests.deep import deep, deep_except
from tests.pgjax.distributions.families import new_key

MEAN = np.array([[0.3, -1.0], [2.0, 0.1], [-0.5, 4.0]], np.float32)
LOG_STD = np.array([[-1.0, 0.5], [0.2, -2.0], [1.0, 0.0]], np.float32)
ACTION = np.array([[0.1, 0.2], [1.5, 0.0], [0.4, 3.0]], np.float32)
LOW, HIGH = np.array([-2.0, 0.1], np.float32), np.array([1.0, 0.3], np.float32)
STDS = (1e-3, 1e-2, 0.1, 0.5, 1.0, 1.9, 2.1, 5.0, 30.0, 1e3)


def one(mean, std=1.0, low=-1.0, high=1.0, dtype=jnp.float32):
    """Return a TanhNormal of one dimension."""
    return TanhNormal(jnp.full((1,), mean, dtype), jnp.full((1,), np.log(std), dtype), low, high)


def scipy_tanh_log_prob(action, mean, log_std, low, high):
    """Return the log density of a squashed Gaussian by change of variables, in float64."""
    unit = 2 * (np.float64(action) - low) / (np.float64(high) - low) - 1
    normal = scipy.stats.norm.logpdf(np.arctanh(unit), mean, np.exp(np.float64(log_std)))
    return (normal - np.log1p(-(unit**2)) - np.log((np.float64(high) - low) / 2)).sum(-1)


def tanh_entropy(mean, std):
    """Return the entropy of tanh(Normal(mean, std)) and its gradient in mean and log_std, in float64."""
    u = np.linspace(mean - 12 * std, mean + 12 * std, 2_000_001)
    weight = scipy.stats.norm.pdf(u, mean, std) * (u[1] - u[0])
    log_det = 2 * (np.log(2) - np.abs(u) - np.log1p(np.exp(-2 * np.abs(u))))
    value = scipy.stats.norm.entropy(mean, std) + weight @ log_det
    slope = -2 * np.tanh(u) * weight
    return value, slope.sum(), 1 + slope @ (u - mean)


def test_diagonal_log_prob_and_entropy_equal_scipy():
    """DiagonalNormal against scipy.stats.norm, summed over the event."""
    pi = DiagonalNormal(MEAN, LOG_STD)
    normal = scipy.stats.norm(MEAN, np.exp(LOG_STD))
    np.testing.assert_allclose(pi.log_prob(ACTION), normal.logpdf(ACTION).sum(-1), rtol=1e-5)
    np.testing.assert_allclose(pi.entropy(), normal.entropy().sum(-1), rtol=1e-5)
    np.testing.assert_array_equal(pi.loc, MEAN)
    np.testing.assert_array_equal(pi.log_std, LOG_STD)


def test_log_std_without_batch_is_shared():
    """A log_std [N] beside a mean [B, N] gives what its repetition gives."""
    shared, repeated = DiagonalNormal(MEAN, LOG_STD[0]), DiagonalNormal(MEAN, np.tile(LOG_STD[0], (3, 1)))
    assert shared.batch_shape == (3,)
    assert shared.log_std.shape == (3, 2)
    np.testing.assert_array_equal(shared.log_prob(ACTION), repeated.log_prob(ACTION))
    np.testing.assert_array_equal(shared.sample(seed=new_key()), repeated.sample(seed=new_key()))


def test_multivariate_log_prob_and_entropy_equal_scipy():
    """MultivariateNormal against scipy.stats.multivariate_normal, each row with its own covariance."""
    tril = np.array([[[0.5, 0], [1.0, 2.0]], [[1.5, 0], [-0.3, 0.2]], [[1.0, 0], [0.0, 1.0]]], np.float32)
    pi = MultivariateNormal(MEAN, tril)
    rows = [scipy.stats.multivariate_normal(m, np.float64(L @ L.T)) for m, L in zip(MEAN, tril, strict=True)]
    expected = [row.logpdf(action) for row, action in zip(rows, ACTION, strict=True)]
    np.testing.assert_allclose(pi.log_prob(ACTION), expected, rtol=1e-4)
    np.testing.assert_allclose(pi.entropy(), [row.entropy() for row in rows], rtol=1e-5)


def test_diagonal_scale_tril_is_the_diagonal_normal():
    """With a diagonal factor the two families agree, in log_prob, entropy and KL."""
    tril = np.stack([np.diag(np.exp(row)) for row in LOG_STD])
    full, flat = MultivariateNormal(MEAN, tril), DiagonalNormal(MEAN, LOG_STD)
    full2, flat2 = (
        type(pi)(ACTION, part) for pi, part in ((full, tril[::-1].copy()), (flat, LOG_STD[::-1].copy()))
    )
    np.testing.assert_allclose(full.log_prob(ACTION), flat.log_prob(ACTION), rtol=1e-5)
    np.testing.assert_allclose(full.entropy(), flat.entropy(), rtol=1e-5)
    np.testing.assert_allclose(full.kl_divergence(full2), flat.kl_divergence(flat2), rtol=1e-5)


def test_diagonal_kl_closed_form():
    """KL against the textbook formula in float64, between narrow and wide."""
    p, q = DiagonalNormal(MEAN, LOG_STD), DiagonalNormal(ACTION, LOG_STD[::-1].copy())
    s, t = np.exp(2 * np.float64(LOG_STD)), np.exp(2 * np.float64(LOG_STD[::-1]))
    expected = 0.5 * ((s + (np.float64(MEAN) - ACTION) ** 2) / t - 1 + np.log(t / s)).sum(-1)
    np.testing.assert_allclose(p.kl_divergence(q), expected, rtol=1e-5)


def test_gaussian_mean_and_mode_are_loc():
    """Both defined moments of location are the mean that was given."""
    eye = np.tile(np.eye(2, dtype=np.float32), (3, 1, 1))
    for pi in (DiagonalNormal(MEAN, LOG_STD), MultivariateNormal(MEAN, eye)):
        np.testing.assert_array_equal(pi.mean(), MEAN)
        np.testing.assert_array_equal(pi.mode(), MEAN)


def test_samples_are_location_plus_scale_times_noise():
    """At a fixed key d sample / d mean is 1 and d sample / d log_std is sample - mean."""

    def draw(mean, log_std):
        return DiagonalNormal(mean, log_std).sample(seed=new_key())

    sample, tangent = jax.jvp(draw, (MEAN, LOG_STD), (np.ones_like(MEAN), np.ones_like(MEAN)))
    np.testing.assert_allclose(tangent, 1.0 + sample - MEAN, rtol=1e-4, atol=1e-5)


def test_tanh_log_prob_equals_scipy():
    """TanhNormal with bounds of its own in each dimension, by change of variables."""
    action = np.array([[-1.9, 0.11], [0.0, 0.2], [0.99, 0.299]], np.float32)
    pi = TanhNormal(MEAN, LOG_STD, LOW, HIGH)
    expected = scipy_tanh_log_prob(action, MEAN, LOG_STD, LOW, HIGH)
    np.testing.assert_allclose(pi.log_prob(action), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", deep("float16")])
@pytest.mark.parametrize("bound", [-1.0, deep(1.0)])
def test_tanh_log_prob_on_the_bound_is_finite(dtype, bound):
    """An action that rounding put on the bound has a finite log_prob with finite gradients."""

    def log_prob(mean, log_std, action):
        return TanhNormal(mean, log_std).log_prob(action)

    args = (jnp.full((1,), 0.3, dtype), jnp.full((1,), -0.5, dtype), jnp.full((1,), bound, dtype))
    value, gradients = jax.value_and_grad(log_prob, argnums=(0, 1, 2))(*args)
    assert jnp.isfinite(value)
    assert all(jnp.isfinite(g).all() for g in gradients[:2])
    assert not jnp.isnan(gradients[2]).any()


def test_tanh_log_prob_outside_the_box_is_minus_infinity():
    """One dimension outside is enough, by one float32 step too; gradients stay free of NaN."""
    pi = TanhNormal(MEAN[:1], LOG_STD[:1], LOW, HIGH)
    outside = [[np.nextafter(LOW[0], -9, dtype=np.float32), 0.2], [0.0, 5.0], [7.0, -7.0]]
    for action in jnp.array(outside, jnp.float32)[:, None]:
        assert (pi.log_prob(action) == -jnp.inf).all()
        gradient = jax.grad(lambda mean, a: TanhNormal(mean, LOG_STD[:1], LOW, HIGH).log_prob(a).sum())
        assert jnp.isfinite(gradient(jnp.asarray(MEAN[:1]), action)).all()


@pytest.mark.few(2)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", deep("float16")])
@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), deep(0.1, 0.3), (-0.7, 2.3), deep(-3.3, -0.1)])
def test_tanh_samples_stay_inside(dtype, low, high):
    """Saturated or not, no sample and no mode leaves the box as float32 sees it."""
    mean = jnp.array([[-1e4], [-9.0], [-3.0], [0.0], [3.0], [9.0], [1e4]], dtype)
    box = (jnp.float32(low), jnp.float32(high))
    pi = TanhNormal(mean, jnp.ones_like(mean), *box)
    actions = np.float32(jnp.concatenate([pi.sample(seed=new_key(), sample_shape=3000), pi.mode()[None]]))
    assert (actions >= box[0]).all()
    assert (actions <= box[1]).all()
    assert np.isfinite(pi.log_prob(pi.sample(seed=new_key(), sample_shape=100))).all()


@pytest.mark.parametrize("dtype", ["float32", deep("bfloat16"), deep("float16")])
def test_tanh_fused_log_prob_is_exact_where_saturated(dtype):
    """At mean 20 or 1e4, where tanh rounds to 1, log_prob is still that of the pre-action."""
    std = jnp.exp(jnp.asarray(-2.0, dtype)).astype(jnp.float32)
    for mean in (20.0, -20.0, 1e4):
        pi = TanhNormal(jnp.full((1,), mean, dtype), jnp.full((1,), -2.0, dtype))
        _, fused = pi.sample_and_log_prob(seed=new_key(), sample_shape=4000)
        expected = -scipy.stats.norm.entropy(0, std) - 2 * (np.log(2) - abs(float(pi.loc[0])))
        sigma = np.std(fused) / np.sqrt(4000)  # the fused log_prob is right on average, within 5 sigma
        assert abs(np.mean(np.float64(fused)) - expected) < 5 * sigma + 1e-6 * abs(expected)


entropy_and_gradient = jax.jit(
    jax.value_and_grad(lambda mean, log_std: TanhNormal(mean[None], log_std[None]).entropy(), argnums=(0, 1))
)


@pytest.mark.parametrize("mean", [deep(0.0), -0.7, deep(2.0), -30.0])
@pytest.mark.parametrize("std", deep_except(STDS, 1e-3, 0.5, 1.9, 2.1, 1e3))
def test_tanh_entropy_and_gradient(mean, std):
    """Entropy and its gradient against two million nodes in float64, std from 1e-3 to 1e3."""
    value, gradient = entropy_and_gradient(jnp.float32(mean), jnp.float32(np.log(std)))
    expected = tanh_entropy(mean, std)
    np.testing.assert_allclose((value, *gradient), expected, rtol=2e-5, atol=5e-5)


def test_tanh_entropy_is_differentiable_twice():
    """Second derivatives on both sides of every switch of method, in float64."""
    with jax.enable_x64(True):
        log_std = jnp.log(jnp.array([0.1, 1.9, 2.1, 20.0], jnp.float64))
        entropy = jax.jit(lambda mean, log_std: TanhNormal(mean, log_std).entropy())
        mean = jnp.array([0.3, -0.4, 0.8, 5.0], jnp.float64)
        check_grads(entropy, (mean, log_std), order=2, modes=("rev",), atol=1e-4, rtol=1e-4)


def test_tanh_mode_and_mean():
    """The mode is the squashed mean; the mean has no closed form and says so."""
    pi = TanhNormal(MEAN, LOG_STD, LOW, HIGH)
    expected = LOW + (HIGH - LOW) * (1 + np.tanh(np.float64(MEAN))) / 2
    np.testing.assert_allclose(pi.mode(), expected, rtol=1e-5)
    with pytest.raises(NotImplementedError):
        pi.mean()


def test_tanh_kl_needs_equal_bounds():
    """Equal bounds built apart give the Gaussians' KL; different ones are refused, or +inf where traced."""
    p, q = one(0.0, 1.0, -2.0, 2.0), one(1.0, 2.0, -2.0, 2.0)
    gaussian = DiagonalNormal(p.loc, p.log_std).kl_divergence(DiagonalNormal(q.loc, q.log_std))
    np.testing.assert_allclose(p.kl_divergence(q), gaussian, rtol=1e-6)
    traced = jax.jit(lambda low: one(0.0, 1.0, low, 2.0).kl_divergence(q))
    np.testing.assert_allclose(traced(jnp.float32(-2.0)), gaussian, rtol=1e-6)
    assert traced(jnp.float32(-1.0)) == jnp.inf
    with pytest.raises(ValueError, match="same low and high"):
        p.kl_divergence(one(1.0, 2.0, -2.0, 2.5))


ZEROS = {shape: jnp.zeros(shape) for shape in [(), (2,), (3,), (4, 2), (4, 3), (3, 2), (2, 2), (2, 3), (3, 3)]}
REFUSED = {
    "scalar mean": ("mean", lambda: DiagonalNormal(ZEROS[()], ZEROS[()])),
    "scalar tanh mean": ("mean", lambda: TanhNormal(ZEROS[()], ZEROS[()])),
    "scalar multivariate mean": ("mean", lambda: MultivariateNormal(ZEROS[()], ZEROS[(2, 2)])),
    "log_std of another size": ("log_std", lambda: DiagonalNormal(ZEROS[(4, 2)], ZEROS[(3,)])),
    "log_std of another batch": ("log_std", lambda: DiagonalNormal(ZEROS[(4, 2)], ZEROS[(3, 2)])),
    "tanh log_std of another size": ("log_std", lambda: TanhNormal(ZEROS[(4, 2)], ZEROS[(3,)])),
    "scale_tril not square": ("scale_tril", lambda: MultivariateNormal(ZEROS[(2,)], ZEROS[(2, 3)])),
    "scale_tril of another size": ("scale_tril", lambda: MultivariateNormal(ZEROS[(2,)], ZEROS[(3, 3)])),
    "scale_tril a vector": ("scale_tril", lambda: MultivariateNormal(ZEROS[(2,)], ZEROS[(2,)])),
    "low of another size": ("low", lambda: TanhNormal(ZEROS[(2,)], ZEROS[(2,)], ZEROS[(3,)] - 1.0)),
    "high of another size": ("high", lambda: TanhNormal(ZEROS[(2,)], ZEROS[(2,)], -1.0, ZEROS[(3,)] + 1.0)),
    "low above high": ("low", lambda: TanhNormal(ZEROS[(2,)], ZEROS[(2,)], 1.0, -1.0)),
}


@pytest.mark.parametrize(("name", "build"), REFUSED.values(), ids=REFUSED)
def test_wrong_parameters_are_refused(name, build):
    """A wrong shape or bound raises a ValueError that names the argument."""
    with pytest.raises(ValueError, match=rf"\b{name}\b"):
        build()


@pytest.mark.parametrize("shape", [(), (3,), (4, 3), (4, 1), (3, 2)])
@pytest.mark.parametrize("family", [DiagonalNormal, TanhNormal, MultivariateNormal])
def test_wrong_actions_are_refused(family, shape):
    """An action whose last dimension is not N, or whose batch differs, raises instead of broadcasting."""
    scale = jnp.tile(jnp.eye(2), (4, 1, 1)) if family is MultivariateNormal else ZEROS[(4, 2)]
    with pytest.raises(ValueError, match=r"\b(value|action)\b"):
        family(ZEROS[(4, 2)], scale).log_prob(jnp.zeros(shape))


def test_one_dimensional_batch_needs_an_event_axis():
    """Parameters [B, 1] take actions [B, 1]; the last axis of a [B] array is the event and is summed."""
    assert DiagonalNormal(jnp.zeros((5, 1)), jnp.zeros((5, 1))).log_prob(jnp.zeros((5, 1))).shape == (5,)
    assert DiagonalNormal(jnp.zeros(5), jnp.zeros(5)).log_prob(jnp.zeros(5)).shape == ()
