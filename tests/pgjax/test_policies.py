"""The pure functions: the same answers unbatched, batched, in blocks, under vmap, jit, grad and sharding."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pgjax
from pgjax import policies
from tests.deep import deep, deep_except

BOX = pgjax.Box([-1.0, 0.0], [1.0, 3.0])
POLICIES = {
    "diagonal": pgjax.GaussianPolicy(2),
    "per state": pgjax.GaussianPolicy(2, std="per_state"),
    "full": pgjax.GaussianPolicy(2, covariance="full"),
    "box": pgjax.GaussianPolicy(2, box=BOX),
    "categorical": pgjax.CategoricalPolicy(4),
    "several": pgjax.CategoricalPolicy((3, 4)),
}
each_policy = pytest.mark.parametrize("policy", deep_except(POLICIES, "box", "several"))


@functools.cache
def setup(policy, batch_shape=(5,)):
    params = jax.jit(policy.init)(jax.random.key(10), jnp.ones(3))
    return params, jax.random.normal(jax.random.key(11), (*batch_shape, 3))


def all_functions(policy, params, observation):
    """Every pure function's answer that does not depend on how the noise is batched."""
    other = jax.tree.map(lambda x: x + 0.1, params)
    action = pgjax.mode(policy, params, observation)
    return {
        "mode": action,
        "log_prob": pgjax.log_prob(policy, params, observation, action),
        "entropy": pgjax.entropy(policy, params, observation),
        "kl": pgjax.kl_divergence(policy, params, other, observation),
    }


all_jitted = jax.jit(all_functions, static_argnums=0)


@pytest.mark.few(1)
@each_policy
def test_unbatched_batched_vmapped_and_jitted_agree(policy):
    params, observation = setup(policy)
    batched = all_functions(policy, params, observation)
    one_by_one = [all_jitted(policy, params, o) for o in observation]
    vmapped = jax.jit(jax.vmap(lambda o: all_functions(policy, params, o)))(observation)
    jitted = all_jitted(policy, params, observation)
    for other in (jax.tree.map(lambda *x: jnp.stack(x), *one_by_one), vmapped, jitted):
        chex.assert_trees_all_close(batched, other, rtol=1e-5, atol=1e-5)


@pytest.mark.few(1)
@each_policy
def test_samples_have_the_shape_of_actions_and_their_log_prob(policy, key):
    params, observation = setup(policy, (2, 5))
    action, log_prob = pgjax.sample_and_log_prob(policy, params, key, observation)
    assert action.shape[:2] == log_prob.shape == (2, 5)
    again = pgjax.sample(policy, params, jax.random.key(0), observation)
    np.testing.assert_array_equal(action, again)
    np.testing.assert_allclose(log_prob, pgjax.log_prob(policy, params, observation, action), rtol=1e-4, atol=1e-4)


@each_policy
def test_vmap_over_keys_draws_different_actions_with_the_right_frequencies(policy, key):
    params, observation = setup(policy, ())
    keys = jax.random.split(key, 4000)
    actions = np.float64(jax.jit(jax.vmap(lambda k: pgjax.sample(policy, params, k, observation)))(keys))
    pi = pgjax.distribution(policy, params, observation)
    expected = np.float64(pi.sample(seed=jax.random.key(5), sample_shape=(4000,)))
    error = np.sqrt((np.var(actions, axis=0) + np.var(expected, axis=0)) / 4000)
    assert np.all(np.abs(np.mean(actions, axis=0) - np.mean(expected, axis=0)) < 5 * error)  # 5 sigma


@pytest.mark.few(1)
@each_policy
def test_gradients_in_the_parameters_are_finite_and_not_zero(policy):
    params, observation = setup(policy)
    action = pgjax.sample(policy, params, jax.random.key(3), observation)

    def loss(params):
        return jnp.sum(
            pgjax.log_prob(policy, params, observation, action) + pgjax.entropy(policy, params, observation)
        )

    gradient = jax.jit(jax.grad(loss))(params)
    chex.assert_tree_all_finite(gradient)
    assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(gradient))


@pytest.mark.few(1)
@pytest.mark.parametrize("policy", [POLICIES["per state"], POLICIES["several"]], ids=["per state", "several"])
@pytest.mark.parametrize("batch_shape", [deep((8192,)), (4, 2500)], ids=str)
def test_large_batches_in_blocks_are_the_same(policy, batch_shape):
    params, observation = setup(policy, batch_shape)
    assert policies._block_rows(observation)
    in_blocks = jax.jit(pgjax.entropy, static_argnums=0)(policy, params, observation)
    assert in_blocks.shape == batch_shape
    whole = jax.jit(lambda params: policy.apply(params, observation).entropy())(params)
    np.testing.assert_allclose(in_blocks, whole, rtol=1e-5)

    def loss(params, function):
        return jnp.mean(function(params))

    given = jax.jit(jax.grad(lambda p: loss(p, lambda p: pgjax.entropy(policy, p, observation))))(params)
    expected = jax.jit(jax.grad(lambda p: loss(p, lambda p: policy.apply(p, observation).entropy())))(params)
    chex.assert_trees_all_close(given, expected, rtol=1e-3, atol=1e-6)


def test_blocks_divide_the_rows_and_small_or_odd_batches_have_none():
    assert policies._block_rows(jnp.zeros((65_536, 3))) == 4096
    assert policies._block_rows(jnp.zeros((4096, 3))) is None
    assert policies._block_rows(jnp.zeros((8209, 3))) is None  # a prime
    assert policies._block_rows(jnp.zeros((10_000,))) is None  # one observation of 10,000 numbers
    rows = policies._block_rows(jnp.zeros((3, 3000, 2)))
    assert rows
    assert 9000 % rows == 0


@pytest.mark.few(1)
@each_policy
def test_sharded_observations_give_the_same_and_stay_sharded(policy):
    params, observation = setup(policy, (16,))
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.device_put(observation, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch")))
    given = all_jitted(policy, params, sharded)
    chex.assert_trees_all_close(given, all_jitted(policy, params, observation), rtol=1e-5, atol=1e-5)
    assert len(given["mode"].sharding.device_set) == 8


def test_a_large_sharded_batch_stays_sharded_through_its_blocks():
    params, observation = setup(POLICIES["per state"], (8192,))
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.device_put(observation, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch")))
    given = jax.jit(pgjax.entropy, static_argnums=0)(POLICIES["per state"], params, sharded)
    assert not given.sharding.is_fully_replicated
    np.testing.assert_allclose(given, pgjax.entropy(POLICIES["per state"], params, observation), rtol=1e-5)


def test_a_torso_may_take_any_structure_of_observations(key):
    class Sum(nn.Module):
        @nn.compact
        def __call__(self, observation):
            return nn.Dense(4)(observation["position"]) + nn.Dense(4)(observation["velocity"])

    policy = pgjax.GaussianPolicy(2, torso=Sum())
    observation = {"position": jnp.ones((5, 3)), "velocity": jnp.ones((5, 2))}
    params = jax.jit(policy.init)(key, observation)
    assert pgjax.sample(policy, params, jax.random.key(1), observation).shape == (5, 2)


def test_one_trace_serves_all_parameters_and_keys(key):
    policy = POLICIES["box"]
    params, observation = setup(policy)
    traced = jax.jit(chex.assert_max_traces(pgjax.sample, n=1), static_argnums=0)
    for k in jax.random.split(key, 3):
        traced(policy, jax.tree.map(lambda x: x * 1.1, params), k, observation)


def test_actions_in_a_box_stay_in_it(key):
    params, observation = setup(POLICIES["box"], (1000,))
    actions = pgjax.sample(POLICIES["box"], jax.tree.map(lambda x: 30 * x, params), key, observation)
    assert jnp.all((actions >= BOX.low[None]) & (actions <= BOX.high[None]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, v: pgjax.entropy(p, v, 1.0), "observation must have shape"),
        (lambda p, v: pgjax.entropy(p, v, jnp.ones(3), mask=jnp.ones(4)), "mask is for categorical"),
        (lambda p, v: pgjax.log_prob(p, v, jnp.ones(3), jnp.ones(3)), "value must have shape"),
        (lambda p, v: pgjax.log_prob(p, v, jnp.ones((4, 3)), jnp.ones((5, 2))), "value must have shape"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, message):
    params, _ = setup(POLICIES["diagonal"])
    with pytest.raises(ValueError, match=message):
        call(POLICIES["diagonal"], params)
