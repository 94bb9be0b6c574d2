"""PPO, its diagnostics and the actor-critic: by their definitions, in the extremes, for every distribution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pgjax import losses, returns
from pgjax.distributions import Categorical
from tests.deep import deep_except
from tests.pgjax.distributions.families import FAMILIES, cast

DIFFERENTIABLE = [name for name in FAMILIES if "Greedy" not in name]
EXTREMES = np.asarray([0.3, 50.0, 90.0, 1e4, 3e38, np.inf], np.float32)


def random_steps(rng, num=200):
    """Old and new log probabilities around the clipping range, and advantages of both signs."""
    old = rng.normal(size=num)
    return tuple(np.float32(x) for x in (old + rng.normal(scale=0.3, size=num), old, rng.normal(size=num)))


def test_the_clipped_surrogate_is_the_papers(rng):
    log_probs, old, advantages = random_steps(rng)
    ratio = np.exp(np.float64(log_probs) - old)
    expected = -np.minimum(ratio * advantages, np.clip(ratio, 0.8, 1.2) * advantages)
    assert losses.ppo_loss(log_probs, old, advantages) == pytest.approx(expected.sum(), rel=1e-5)
    gradient = jax.grad(losses.ppo_loss)(log_probs, old, advantages, 1 / 200)
    dead = ((ratio > 1.2) & (advantages > 0)) | ((ratio < 0.8) & (advantages < 0))
    np.testing.assert_allclose(gradient, np.where(dead, 0, -ratio * advantages / 200), rtol=1e-4, atol=1e-8)
    assert np.all(gradient[dead] == 0)
    assert 0.1 < dead.mean() < 0.9


def test_at_the_old_policy_the_gradient_is_the_policy_gradient(rng):
    log_probs, _, advantages = random_steps(rng)
    given = jax.grad(losses.ppo_loss)(log_probs, log_probs, advantages)
    np.testing.assert_allclose(given, jax.grad(losses.policy_gradient_loss)(log_probs, advantages), rtol=1e-6)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("advantage", [2.0, -2.0, 0.0])
def test_extreme_ratios_are_finite_and_the_dead_branch_is_exactly_so(sign, advantage):
    loss = jax.vmap(jax.value_and_grad(lambda x: losses.ppo_loss(x[None], jnp.zeros(1), jnp.full(1, advantage))))
    values, gradients = loss(sign * EXTREMES)
    assert np.all(np.isfinite(values))
    assert np.all(np.isfinite(gradients))
    if sign * advantage > 0 or advantage == 0:  # moved far enough already
        assert np.all(gradients == 0)
        np.testing.assert_allclose(values, -advantage * (1.2 if sign > 0 else 0.8), rtol=1e-6)
    else:
        assert gradients[0] * advantage < 0


def test_diagnostics_are_exact_where_the_actions_are_enumerated():
    """Weighted by the old probabilities, k3 is the divergence and the clip fraction a probability."""
    old, new = Categorical(np.log([0.5, 0.3, 0.2])), Categorical(np.log([0.45, 0.45, 0.1]))
    given = losses.ppo_diagnostics(new.log_probs, old.log_probs, old.probs)
    assert given.kl == pytest.approx(float(old.kl_divergence(new)), rel=1e-5)
    assert given.clip_fraction == pytest.approx(0.3 + 0.2)
    halved = losses.ppo_diagnostics(new.log_probs, old.log_probs, 0.5 * old.probs)
    assert halved.kl == pytest.approx(float(given.kl))


def test_diagnostics_of_small_and_of_extreme_steps(rng):
    diagnostics = jax.jit(losses.ppo_diagnostics)
    old, step = rng.normal(size=(2, 100)).astype(np.float32)
    near = old + np.float32(1e-3) * step
    log_ratio = np.float64(near - old)
    kl = diagnostics(near, old).kl
    assert kl == pytest.approx(np.mean(np.expm1(log_ratio) - log_ratio), rel=1e-3)
    assert diagnostics(near, old).clip_fraction == 0
    far = diagnostics(np.append(EXTREMES, -EXTREMES[:-1]), np.zeros(11, np.float32))
    assert np.isfinite(far.kl)
    assert far.clip_fraction == 1
    assert diagnostics(-EXTREMES, np.zeros(6, np.float32)).kl == np.inf  # the policy excludes a step
    far = diagnostics(np.float32([-50, 0, 0]), np.zeros(3, np.float32))
    assert far.kl == pytest.approx(49 / 3, rel=1e-6)
    forbidden = np.float32([-np.inf, -1])  # of both policies
    assert diagnostics(forbidden, forbidden) == (0, 0)
    assert losses.ppo_loss(forbidden, forbidden, np.ones(2, np.float32)) == -1
    assert diagnostics(old, old, 0.0) == (0, 0)
    spoiled = np.where(np.arange(100) < 50, near, np.nan)
    assert diagnostics(spoiled, old, np.arange(100) < 50) == diagnostics(near[:50], old[:50])


def test_a_step_impossible_under_both_policies_has_no_part():
    log_probs, old = np.asarray([[-0.5, -np.inf], [-0.7, -np.inf]], np.float32)
    value, gradient = jax.value_and_grad(losses.ppo_loss)(log_probs, old, np.ones(2, np.float32))
    assert value == pytest.approx(float(losses.ppo_loss(log_probs[:1], old[:1], np.ones(1, np.float32))))
    assert np.isfinite(gradient[0])
    assert gradient[1] == 0
    for given, expected in zip(
        losses.ppo_diagnostics(log_probs, old), losses.ppo_diagnostics(log_probs[:1], old[:1]), strict=True
    ):
        assert given == pytest.approx(float(expected))


@pytest.mark.parametrize("clip_range", [-0.1, np.nan])
@pytest.mark.parametrize(
    "function",
    [lambda x, **k: losses.ppo_loss(x, x, x, **k), lambda x, **k: losses.ppo_diagnostics(x, x, **k)],
)
def test_bad_arguments_are_refused_by_name(function, clip_range):
    with pytest.raises(ValueError, match="clip_range must be"):
        function(np.ones(3, np.float32), clip_range=clip_range)
    with pytest.raises(ValueError, match="weights must be"):
        losses.ppo_diagnostics(np.ones(3, np.float32), np.ones(3, np.float32), [-1.0, 1.0, 1.0])


def test_the_actor_critic_is_the_sum_of_its_parts_and_advantages_train_no_values(rng):
    rewards, values, next_values, log_probs, entropies = (
        jnp.asarray(rng.normal(size=6), jnp.float32) for _ in range(5)
    )

    def loss(values, log_probs, entropies, **kwargs):
        advantages = returns.gae(rewards, values, next_values, discount=0.9, lambda_=0.8)
        targets = advantages + values
        return losses.actor_critic_loss(log_probs, advantages, values, targets, entropies, **kwargs)

    of_values, of_log_probs, of_entropies = jax.grad(loss, (0, 1, 2))(
        values, log_probs, entropies, value_coefficient=2.0, entropy_coefficient=0.5
    )
    advantages = returns.gae(rewards, values, next_values, discount=0.9, lambda_=0.8)
    np.testing.assert_allclose(of_log_probs, -advantages, rtol=1e-6)
    np.testing.assert_allclose(of_values, -2 * advantages, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(of_entropies, -0.5)
    open_advantages = functools.partial(losses.policy_gradient_loss, log_probs)
    np.testing.assert_array_equal(jax.grad(open_advantages)(advantages), 0)


def test_padding_has_no_part_in_any_loss(rng):
    log_probs, old, advantages = random_steps(rng, 8)
    inside = np.arange(8) < 5
    spoiled = [np.where(inside, x, np.nan) for x in (log_probs, old, advantages)]
    for loss in (
        losses.ppo_loss,
        lambda x, y, z, w: losses.policy_gradient_loss(x, z, w),
        lambda x, y, z, w: losses.value_loss(x, z, w),
        lambda x, y, z, w: losses.actor_critic_loss(x, z, x, y, y, w),
    ):
        value, gradient = jax.value_and_grad(loss)(jnp.asarray(spoiled[0]), *spoiled[1:], inside)
        expected, short = jax.value_and_grad(loss)(log_probs[:5], old[:5], advantages[:5], 1.0)
        assert value == pytest.approx(float(expected), rel=1e-5)
        np.testing.assert_allclose(gradient, np.append(short, np.zeros(3)), rtol=1e-5)


@pytest.mark.parametrize("name", deep_except(DIFFERENTIABLE, "MultivariateNormal", "Softmax-masked"))
def test_every_distribution_has_its_policy_gradient(name):
    """Weighted by the probabilities of all events (or of a grid's cells), the gradient is the exact one."""
    family = FAMILIES[name]
    parameters = tuple(x[0] for x in cast(family.parameters))
    axes = [np.arange(n, dtype=np.int32) for n in family.sizes]
    axes += [np.linspace(low, high, 40)[1:-1].astype(np.float32) for low, high in family.limits]
    events = np.stack([x.ravel() for x in np.meshgrid(*axes)], axis=-1).reshape(-1, *family.event_shape)
    rewards = np.cos(3 * events.reshape(len(events), -1).sum(axis=1)).astype(np.float32)

    @jax.jit
    def gradients(parameters):
        old = family.build(*parameters).log_prob(events)
        surrogates = (
            lambda log_probs: -jnp.sum(jnp.exp(log_probs) * rewards),
            lambda log_probs: losses.policy_gradient_loss(log_probs, rewards, jnp.exp(old)),
            lambda log_probs: losses.ppo_loss(log_probs, old, rewards, jnp.exp(old)),
        )
        return [
            jax.grad(lambda p, loss=loss: loss(family.build(*p).log_prob(events)))(parameters)
            for loss in surrogates
        ]

    exact, *estimates = gradients(parameters)
    for given in estimates:
        for ours, theirs in zip(given, exact, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.max(np.abs(theirs)))


def test_vmap_scan_and_jit_agree(rng):
    batch = tuple(x.reshape(4, 50) for x in random_steps(rng))
    by_vmap = jax.jit(jax.vmap(losses.ppo_loss))(*batch)
    _, by_scan = jax.lax.scan(lambda carry, row: (carry, losses.ppo_loss(*row)), 0, batch)
    np.testing.assert_allclose(by_vmap, by_scan, rtol=1e-5)
    with jax.enable_x64(True):
        assert losses.ppo_loss(*map(np.float64, random_steps(rng))).dtype == jnp.float64
