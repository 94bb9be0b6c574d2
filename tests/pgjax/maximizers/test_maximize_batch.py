"""Many states at once, and arguments that are refused."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pgjax
from pgjax import maximizers
from tests.deep import deep, deep_except
from tests.pgjax.maximizers.cases import BOX, CENTER, MAXIMIZERS

TARGETS = np.asarray(CENTER + 0.3 * np.random.default_rng(7).normal(size=(7, 3)), np.float32)


def hilly(state, action):
    return jnp.sum(0.1 * jnp.cos(9 * action) - jnp.square(action - state))


@pytest.mark.few(1)
@pytest.mark.parametrize("name", deep_except(MAXIMIZERS.keys(), "cem", "l-bfgs"))
def test_a_batch_is_maximize_for_each_state(name):
    """Blocks of 3 states, and one left over."""
    maximizer, num_steps = MAXIMIZERS[name]

    @jax.jit
    def batch(states):
        return pgjax.maximize_batch(
            jax.random.key(1), hilly, states, BOX, maximizer, num_steps=num_steps, block_size=3
        )

    @jax.jit
    def one(state):
        return pgjax.maximize(jax.random.key(1), lambda a: hilly(state, a), BOX, maximizer, num_steps=num_steps)

    best = batch(TARGETS)
    assert best.action.shape == (7, 3)
    for i in (2, 6):
        np.testing.assert_allclose(best.value[i], one(TARGETS[i]).value, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(best.value, jax.vmap(hilly)(TARGETS, best.action), rtol=1e-4, atol=1e-5)


@pytest.mark.few(1)
@pytest.mark.parametrize("block_size", [None, 1, deep(7), deep(100)])
def test_the_block_size_changes_nothing(block_size):
    maximizer, num_steps = MAXIMIZERS["cem"]

    @functools.partial(jax.jit, static_argnums=1)
    def solve(key, block_size):
        return pgjax.maximize_batch(
            key, hilly, TARGETS, BOX, maximizer, num_steps=num_steps, block_size=block_size
        )

    blocks, threes = (solve(jax.random.key(1), size) for size in (block_size, 3))
    chex.assert_trees_all_close(blocks, threes, rtol=1e-3, atol=1e-5)


def test_several_initial_actions_for_each_state_as_an_array_or_a_policys_samples(key):
    """Best of 16 samples, whether drawn before or by a function that is given the state."""
    policy = pgjax.GaussianPolicy(action_size=3, box=BOX)
    params = policy.init(jax.random.key(2), TARGETS[0])

    def propose(key, state):
        return pgjax.distribution(policy, params, state).sample(seed=key, sample_shape=(16,))

    best_of = functools.partial(pgjax.maximize_batch, num_steps=1)
    best = best_of(jax.random.key(1), hilly, TARGETS, BOX, maximizers.best_of_n(), initial=propose)
    assert jnp.all(best.num_evaluations == 16)
    shared = jax.random.split(jax.random.key(1))[0]
    samples = jnp.stack([propose(jax.random.clone(shared), state) for state in TARGETS])
    values = jax.vmap(jax.vmap(hilly, (None, 0)))(TARGETS, samples)
    np.testing.assert_allclose(best.value, jnp.max(values, axis=1), rtol=1e-5)
    given = best_of(jax.random.key(1), hilly, TARGETS, BOX, maximizers.best_of_n(), initial=samples)
    chex.assert_trees_all_close(given, best, rtol=1e-5)


@pytest.mark.deep
def test_batches_with_pytree_states_initial_actions_traces_and_no_states(key):
    cem, num_steps = MAXIMIZERS["cem"]

    def objective(state, action):
        return -jnp.sum(jnp.square(action - state["target"])) + state["offset"]

    states = {"target": jnp.broadcast_to(CENTER, (4, 3)), "offset": jnp.arange(4.0)}
    starts = jnp.broadcast_to(CENTER, (4, 3))
    for initial in (None, CENTER, starts):
        best, trace = pgjax.maximize_batch(
            jax.random.key(1),
            objective,
            states,
            BOX,
            cem,
            num_steps=num_steps,
            initial=initial,
            return_trace=True,
        )
        np.testing.assert_allclose(best.value, jnp.arange(4.0), atol=1e-6)
        assert trace.value.shape == (4, num_steps)
    none = jax.tree.map(lambda x: x[:0], states)
    empty = pgjax.maximize_batch(key, objective, none, BOX, cem, num_steps=num_steps)
    assert empty.action.shape == (0, 3)


def test_a_batch_sharded_over_devices(key):
    arm = pgjax.problems.six_joint_arm(key, 16)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.device_put(arm.states, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch")))
    solve = jax.jit(
        lambda k, s: pgjax.maximize_batch(k, arm.objective, s, arm.box, MAXIMIZERS["cem"][0], num_steps=3)
    )
    chex.assert_trees_all_close(
        solve(jax.random.key(1), sharded), solve(jax.random.key(1), arm.states), rtol=1e-3, atol=1e-5
    )


# Arguments


def test_equal_settings_give_the_same_maximizer():
    assert maximizers.cross_entropy(num_samples=8) is maximizers.cross_entropy(num_samples=8)


@pytest.mark.parametrize(
    ("factory", "settings", "name"),
    [
        (maximizers.grid, {"num_points": 1}, "num_points"),
        (maximizers.grid, {"chunk_size": 0}, "chunk_size"),
        (maximizers.random_search, {"num_samples": 0}, "num_samples"),
        (maximizers.random_search, {"num_samples": 1024.0}, "num_samples"),
        (maximizers.random_search, {"sequence": "halton"}, "sequence"),
        (maximizers.cross_entropy, {"num_elites": 65}, "num_elites"),
        (maximizers.cross_entropy, {"initial_std": 0.0}, "initial_std"),
        (maximizers.cross_entropy, {"min_std": -1.0}, "min_std"),
        (maximizers.gradient_ascent, {"num_starts": 0}, "num_starts"),
        (maximizers.gradient_ascent, {"search": "cem"}, "search"),
        (maximizers.gradient_ascent, {"num_search_steps": 0}, "num_search_steps"),
        (maximizers.lbfgs, {"memory_size": 0}, "memory_size"),
        (maximizers.lbfgs, {"initial_step": 0.0}, "initial_step"),
        (maximizers.newton, {"max_step": -1.0}, "max_step"),
        (maximizers.mppi, {"temperature": -0.5}, "temperature"),
        (maximizers.mppi, {"temperature": np.inf}, "temperature"),
        (maximizers.mppi, {"num_elites": 513}, "num_elites"),
        (maximizers.cma_es, {"num_samples": 1}, "num_samples"),
        (maximizers.cma_es, {"initial_sigma": 0.0}, "initial_sigma"),
        (maximizers.coordinate_zoom, {"num_bins": 1}, "num_bins"),
        (maximizers.coordinate_zoom, {"num_levels": 0}, "num_levels"),
    ],
)
def test_bad_settings_are_refused_by_name(factory, settings, name):
    with pytest.raises(ValueError, match=f"^{name} "):
        factory(**settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 0}, "num_steps"),
        ({"initial": jnp.zeros(2)}, "initial must have shape"),
        ({"initial": jnp.zeros((2, 2, 2, 3))}, "initial must have shape"),
        ({"maximizer": maximizers.lbfgs(num_starts=2, search=None)}, "num_starts must be at most"),
        ({"objective": lambda a: a}, "objective must return one"),
        ({"objective": lambda a: jnp.int32(1)}, "objective must return one"),
        ({"box": (-1.0, 1.0)}, "box must be a pgjax.Box"),
        ({"maximizer": maximizers.cross_entropy}, "maximizer must be made by .*; got cross_entropy"),
        ({"key": jax.random.split(jax.random.key(1), 2)}, "key must be one random key"),
        ({"key": 0}, "key must be one random key"),
        ({"box": pgjax.Box([-1e300] * 3, [1e300] * 3)}, "box must have bounds"),
    ],
)
def test_bad_arguments_are_refused_by_name(changes, message, key):
    arguments: dict[str, Any] = {"objective": lambda a: a[0], "box": BOX, "num_steps": 1, "initial": None}
    arguments |= {"maximizer": maximizers.grid()} | changes
    key = arguments.pop("key", key)
    with pytest.raises(ValueError, match=message):
        pgjax.maximize(key, **arguments)
    objective = arguments.pop("objective")
    with pytest.raises(ValueError, match=message):
        pgjax.maximize_batch(key, lambda s, a: objective(a), jnp.zeros((2, 1)), **arguments)


def test_states_without_a_common_batch_are_refused(key):
    states = (jnp.zeros((2, 1)), jnp.zeros((3, 1)))
    with pytest.raises(ValueError, match="states must be"):
        pgjax.maximize_batch(key, lambda s, a: a[0], states, BOX, maximizers.grid(), num_steps=1)
