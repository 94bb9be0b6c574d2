"""What every family promises: one test for each property, over the table of families.py.

The references are summation over all actions, or the midpoint rule on a grid that holds all the mass:
log_prob is tested against them and against scipy (test_gaussian.py), all else against log_prob.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pgjax.distributions import TanhNormal
from tests.deep import deep
from tests.gradients import assert_gradients_are_differences
from tests.pgjax.distributions.families import (
    assert_same,
    cast,
    continuous_families,
    densities_jit,
    densities_of,
    every_family,
    make,
    new_key,
)

NUM_DRAWS = 20_000
SIGMAS = 5.0

log_prob_of = jax.jit(lambda pi, action: pi.log_prob(action))
draw_many = jax.jit(lambda pi: pi.sample_and_log_prob(seed=new_key(), sample_shape=NUM_DRAWS))


def all_events(family):
    """Return every event (discrete) or a grid of them, [K, 3, ...], and the volume of one cell."""
    if family.sizes:
        events, volume = np.array(list(itertools.product(*map(range, family.sizes)))), 1.0
        events = events.reshape(-1, *family.event_shape)
    else:
        ends = [np.linspace(low, high, 401) for low, high in family.limits]
        axes = [(x[1:] + x[:-1]) / 2 for x in ends]
        events = np.stack(np.meshgrid(*axes), -1).reshape(-1, len(axes))
        volume = np.prod([x[1] - x[0] for x in ends])
    events = np.repeat(events[:, None], 3, axis=1)
    return jnp.asarray(events, jnp.int32 if family.sizes else jnp.float32), volume


def expectation(log_probs, volume, values):
    """Return the expectation of values [K, 3, ...] under log_probs [K, 3]; a term of probability 0 is 0."""
    mass = np.exp(np.float64(log_probs)) * volume
    values = np.asarray(values, np.float64)
    mass = mass.reshape(mass.shape + (1,) * (values.ndim - 2))
    return np.sum(mass * np.where(mass > 0, values, 0.0), axis=0)


def statistics(family, actions):
    """Return what the moments are taken of: x and x x^T, or for discrete families which event it was."""
    actions = np.float64(actions)
    if not family.sizes:
        products = actions[..., :, None] * actions[..., None, :]
        return np.concatenate([actions, products.reshape(*actions.shape[:-1], -1)], axis=-1)
    actions = actions.reshape(*actions.shape[:2], -1)
    events = np.array(list(itertools.product(*map(range, family.sizes))))
    return np.float64((actions[:, :, None] == events).all(-1))


@every_family
def test_shapes(family):
    """batch_shape, event_shape and the shapes of every method's result."""
    pi, other, action = make(family)
    shape = (3, *family.event_shape)
    assert (pi.batch_shape, pi.event_shape) == ((3,), family.event_shape)
    assert jax.eval_shape(lambda: pi.mode()).shape == action.shape == shape
    assert {x.shape for x in jax.eval_shape(densities_of, pi, other, action).values()} == {(3,)}


@every_family
@pytest.mark.parametrize("sample_shape", [deep(4), (2, 3), (0,)])
def test_sample_shape(family, sample_shape):
    """sample_shape leads; sample and sample_and_log_prob agree on it, and no two draws share their noise."""
    pi, _, _ = make(family)
    lead = (sample_shape,) if isinstance(sample_shape, int) else sample_shape

    @jax.jit
    def draw(pi):
        action, log_prob = pi.sample_and_log_prob(seed=new_key(), sample_shape=sample_shape)
        return pi.sample(seed=new_key(), sample_shape=sample_shape), action, log_prob, pi.log_prob(action)

    sample, action, log_prob, again = draw(pi)
    assert_same(sample, action)
    assert action.shape == (*lead, 3, *family.event_shape)
    assert log_prob.shape == again.shape == (*lead, 3)
    if not family.sizes:
        assert np.unique(action).size == action.size


@every_family
def test_log_prob_normalizes(family):
    """exp(log_prob) sums or integrates to 1."""
    events, volume = all_events(family)
    pi, _, _ = make(family)
    mass = expectation(log_prob_of(pi, events), volume, np.ones(events.shape[:2]))
    np.testing.assert_allclose(mass, 1.0, atol=1e-4)


@every_family
def test_sampled_moments(family):
    """Frequencies, or first and second moments, of the samples agree with log_prob within 5 sigma."""
    pi, _, _ = make(family)
    events, volume = all_events(family)
    of = functools.partial(expectation, log_prob_of(pi, events), volume)
    expected, square = of(statistics(family, events)), of(statistics(family, events) ** 2)
    sigma = np.sqrt(np.maximum(square - expected**2, 0.0) / NUM_DRAWS)
    samples, _ = draw_many(pi)
    error = np.abs(statistics(family, samples).mean(0) - expected)
    assert (error <= SIGMAS * sigma + 1e-5).all(), (error, sigma)


@every_family
def test_entropy(family):
    """Entropy is minus the expected log_prob: by summation, and by Monte Carlo within 5 sigma."""
    pi, _, _ = make(family)
    events, volume = all_events(family)
    log_probs = log_prob_of(pi, events)
    np.testing.assert_allclose(pi.entropy(), expectation(log_probs, volume, -log_probs), atol=2e-4)
    _, fused = draw_many(pi)
    sigma = np.std(fused, axis=0) / np.sqrt(NUM_DRAWS)
    assert (np.abs(-np.mean(fused, axis=0) - pi.entropy()) <= SIGMAS * sigma + 1e-4).all()


@every_family
def test_kl_divergence(family):
    """KL is the expected log ratio: by summation, and by Monte Carlo within 5 sigma; KL(p || p) is 0."""
    pi, other, _ = make(family)
    events, volume = all_events(family)
    kl = pi.kl_divergence(other)
    with np.errstate(invalid="ignore"):  # -inf minus -inf, of probability 0
        ratio = np.float64(log_prob_of(pi, events)) - np.float64(log_prob_of(other, events))
    np.testing.assert_allclose(kl, expectation(log_prob_of(pi, events), volume, ratio), atol=2e-4)
    action, fused = draw_many(pi)
    ratio = np.float64(fused) - np.float64(log_prob_of(other, action))
    sigma = ratio.std(0) / np.sqrt(NUM_DRAWS)
    assert (np.abs(ratio.mean(0) - kl) <= SIGMAS * sigma + 1e-4).all()
    np.testing.assert_allclose(pi.kl_divergence(pi), 0.0, atol=1e-6)


@every_family
def test_fused_log_prob(family):
    """sample_and_log_prob gives the log_prob of its own sample."""
    pi, _, _ = make(family)
    action, fused = draw_many(pi)
    np.testing.assert_allclose(fused, log_prob_of(pi, action), rtol=1e-4, atol=1e-4)


@every_family
def test_mode_is_most_probable(family):
    """No event is more probable than the mode (TanhNormal's mode is the squashed mean, documented)."""
    pi, _, _ = make(family)
    if isinstance(pi, TanhNormal):
        mean, log_std = cast(family.parameters)
        assert_same(pi.mode(), family.build(mean, log_std - 40.0).sample(seed=new_key()))
        return
    events, _ = all_events(family)
    assert (np.max(log_prob_of(pi, events), axis=0) <= pi.log_prob(pi.mode()) + 1e-6).all()


@pytest.mark.few(3)
@every_family
def test_gradients(family):
    """Gradients of all densities in all parameters agree with finite differences in float64."""
    with jax.enable_x64(True):
        action = make(family, "float64")[2]

        def densities(parameters, other):
            return densities_of(family.build(*parameters), family.build(*other), action)

        args = cast(family.parameters, "float64"), cast(family.other, "float64")
        assert_gradients_are_differences(densities, *args)


@continuous_families
def test_samples_are_reparameterized(family):
    """Samples and their log_prob are differentiable in the parameters at fixed noise."""
    with jax.enable_x64(True):

        def draw(*parameters):
            return family.build(*parameters).sample_and_log_prob(seed=new_key(), sample_shape=5)

        parameters = cast(family.parameters, "float64")
        assert_gradients_are_differences(draw, *parameters)
        ones = tuple(map(jnp.ones_like, parameters))
        moved = jax.jit(lambda *parameters: jax.jvp(draw, parameters, ones))(*parameters)[1][0]
        assert (np.abs(moved) > 1e-3).mean() > 0.5


@pytest.mark.few(2)
@every_family
@pytest.mark.parametrize("dtype", ["bfloat16", *map(deep, ("float16", "float32", "float64"))])
def test_dtypes(family, dtype):
    """Samples have the parameters' dtype; densities have at least float32, and its accuracy."""
    with jax.enable_x64(dtype == "float64"):
        pi, other, action = make(family, dtype)
        density = densities_jit(pi, other, action)
        fused = pi.sample_and_log_prob(seed=new_key())
        expected = jnp.dtype(jnp.int32 if family.sizes else dtype)
        assert pi.dtype == action.dtype == pi.mode().dtype == fused[0].dtype == expected
        wide = jnp.dtype("float64" if dtype == "float64" else "float32")
        assert {x.dtype for x in density.values()} | {fused[1].dtype} == {wide}
    with jax.enable_x64(True):

        def widen(x):
            return jnp.asarray(x, "int32" if x.dtype == jnp.int32 else "float64")

        exact = densities_jit(*jax.tree.map(widen, (pi, other, action)))
        for name in density:
            np.testing.assert_allclose(density[name], exact[name], rtol=2e-5, atol=2e-5)
