"""Networks: parity with the chapter's PyTorch network, shapes, settings, and the critic's split first layer."""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pgjax
from pgjax import distributions
from pgjax.networks import scale_tril
from tests.deep import deep

PARITY = np.load(Path(__file__).parent / "data" / "seed_parity.npz")
# Jitted with the module static: one program in place of one for each layer's initial values.
init = jax.jit(lambda module, key, *inputs: module.init(key, *inputs), static_argnums=0)
apply = jax.jit(lambda module, params, *inputs: module.apply(params, *inputs), static_argnums=0)


def parity_parameters(case, dtype, prefix=""):
    def layer(name):
        return {k: jnp.asarray(PARITY[f"{case}/{prefix}{name}/{k}"], dtype) for k in ("kernel", "bias")}

    torso = {"dense_0": layer("dense_0"), "dense_1": layer("dense_1")}
    log_std = jnp.asarray(PARITY[f"{case}/{prefix}log_std"], dtype)
    return {"params": {"torso": torso, "mean": layer("mean"), "log_std": log_std}}


@pytest.mark.few(2)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), deep("float32", 1e-5)])
@pytest.mark.parametrize("case", [deep("small"), "arm"])
def test_parity_with_the_chapters_network(case, dtype, tolerance):
    with jax.enable_x64(dtype == "float64"):
        observation, action = (jnp.asarray(PARITY[f"{case}/{k}"], dtype) for k in ("observation", "action"))
        policy = pgjax.GaussianPolicy(action.shape[-1], param_dtype=dtype)
        params = parity_parameters(case, dtype)
        assert jax.tree.map(jnp.shape, init(policy, jax.random.key(0), observation)) == jax.tree.map(
            jnp.shape, params
        )

        @jax.jit
        def answers(params):
            pi = pgjax.distribution(policy, params, observation)
            log_prob = pgjax.log_prob(policy, params, observation, action)
            return {"mean_action": pi.mean(), "std": pi.stddev()[0], "log_prob": log_prob}

        for name, given in answers(params).items():
            assert given.dtype == dtype
            np.testing.assert_allclose(given, PARITY[f"{case}/{name}"], rtol=tolerance, atol=tolerance)
        slope = jax.jit(jax.grad(lambda params: jnp.mean(pgjax.log_prob(policy, params, observation, action))))
        given = jax.tree.leaves(slope(params))
        for ours, theirs in zip(given, jax.tree.leaves(parity_parameters(case, dtype, "grad/")), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("std", "initialization"),
    [("shared", "lecun"), ("per_state", "orthogonal"), deep("shared", "orthogonal"), deep("per_state", "lecun")],
)
@pytest.mark.parametrize(
    ("settings", "family"),
    [
        ({}, distributions.DiagonalNormal),
        ({"covariance": "full"}, distributions.MultivariateNormal),
        ({"box": pgjax.Box([-1.0] * 3, [2.0] * 3)}, distributions.TanhNormal),
    ],
)
def test_gaussian_policy_gives_its_family(std, initialization, settings, family, key):
    policy = pgjax.GaussianPolicy(3, std=std, initialization=initialization, **settings)
    params = init(policy, key, jnp.ones(5))

    def pi_and_entropy(params, observation):
        pi = policy.apply(params, observation)
        assert isinstance(pi, family)
        assert (pi.batch_shape, pi.event_shape) == (observation.shape[:-1], (3,))
        return pi, pi.entropy()

    for batch_shape in ((), (4,), (2, 4), (0,)):
        _, entropy = jax.eval_shape(pi_and_entropy, params, jnp.ones((*batch_shape, 5)))
        assert entropy.shape == batch_shape
    pi, entropy = jax.jit(pi_and_entropy)(params, jnp.ones((2, 4, 5)))
    assert isinstance(pi, family)
    assert np.all(np.isfinite(entropy))


def test_full_covariance_starts_at_the_identity_and_uses_every_entry(key):
    policy = pgjax.GaussianPolicy(3, covariance="full")
    params = init(policy, key, jnp.ones(5))
    np.testing.assert_allclose(apply(policy, params, jnp.ones(5)).scale_tril, np.eye(3))
    params["params"]["below"] = jnp.asarray([1.0, 2.0, 3.0])
    params["params"]["log_std"] = jnp.log(jnp.asarray([1.0, 2.0, 4.0]))
    expected = [[1, 0, 0], [1, 2, 0], [2, 3, 4]]
    np.testing.assert_allclose(apply(policy, params, jnp.ones(5)).scale_tril, expected, rtol=1e-6)


def test_one_dimension_with_full_covariance(key):
    policy = pgjax.GaussianPolicy(np.int64(1), covariance="full", std="per_state")
    params = init(policy, key, jnp.ones(3))
    assert pgjax.sample(policy, params, jax.random.key(1), jnp.ones((4, 3))).shape == (4, 1)


def test_log_std_is_bounded(key):
    policy = pgjax.GaussianPolicy(2, log_std_bounds=(-1.0, 0.5))
    params = init(policy, key, jnp.ones(5))
    params["params"]["log_std"] = jnp.asarray([-7.0, 3.0])
    np.testing.assert_allclose(apply(policy, params, jnp.ones(5)).log_std, [-1.0, 0.5])


def test_orthogonal_initialization_is_orthogonal_with_a_small_last_layer(key):
    params = init(pgjax.GaussianPolicy(3, initialization="orthogonal"), key, jnp.ones(5))["params"]
    kernel = params["torso"]["dense_1"]["kernel"]
    np.testing.assert_allclose(kernel @ kernel.T, 2 * np.eye(64), atol=1e-4)
    assert jnp.linalg.norm(params["mean"]["kernel"], ord=2) == pytest.approx(0.01, rel=1e-3)
    value = init(pgjax.ValueNetwork(initialization="orthogonal"), key, jnp.ones(5))["params"]["value"]["kernel"]
    assert jnp.linalg.norm(value) == pytest.approx(1.0, rel=1e-3)


def test_any_module_can_be_the_torso(key):
    class Convolution(nn.Module):
        @nn.compact
        def __call__(self, image):
            return jnp.mean(nn.Conv(8, (3, 3))(image), axis=(-3, -2))

    image = jax.random.normal(key, (4, 6, 6, 1))
    for module, shape in (
        (pgjax.GaussianPolicy(2, torso=Convolution()), (4, 2)),
        (pgjax.CategoricalPolicy(5, torso=Convolution()), (4,)),
    ):
        params = init(module, jax.random.key(1), image)
        assert jax.jit(pgjax.mode, static_argnums=0)(module, params, image).shape == shape
    value = pgjax.ValueNetwork(torso=Convolution())
    assert apply(value, init(value, jax.random.key(2), image), image).shape == (4,)


@pytest.mark.few(1)
@pytest.mark.parametrize("num_actions", [5, deep((3,)), (3, 5, 2)])
def test_categorical_policy_with_masks(num_actions, key):
    policy = pgjax.CategoricalPolicy(num_actions)
    params = init(policy, key, jnp.ones(4))
    observation = jax.random.normal(jax.random.key(1), (7, 4))
    several = isinstance(num_actions, tuple)
    sizes = num_actions if several else (num_actions,)
    masks = tuple(jnp.arange(size) == size - 1 for size in sizes)
    only = pgjax.sample(policy, params, jax.random.key(2), observation, mask=masks if several else masks[0])
    expected = np.broadcast_to([size - 1 for size in sizes], (7, len(sizes)))
    np.testing.assert_array_equal(only, expected if several else expected[:, 0])
    entropy = pgjax.entropy(policy, params, observation)
    assert entropy.shape == (7,)
    assert jnp.all(entropy <= np.sum(np.log(sizes)) + 1e-5)


def test_values_have_one_number_a_state_or_action(key):
    observation = jnp.ones((3, 4))
    for module, shape in ((pgjax.ValueNetwork(), (3,)), (pgjax.QValues(6), (3, 6))):
        params = init(module, jax.random.fold_in(key, len(shape)), observation)
        assert apply(module, params, observation).shape == shape


@pytest.mark.parametrize("hidden_sizes", [(8,), deep((8, 16)), (8, 16, 4)])
def test_q_network_is_the_network_of_the_concatenation(hidden_sizes, key):
    critic = pgjax.QNetwork(hidden_sizes)
    state, action = jax.random.normal(key, (5, 3)), jax.random.normal(jax.random.key(1), (5, 2))
    params = init(critic, jax.random.key(2), state, action)
    p = params["params"]
    x = nn.relu(jnp.concatenate([state, action], -1) @ p["kernel"] + p["bias"][None])
    for i in range(len(hidden_sizes) - 1):
        layer = p["torso"][f"dense_{i}"]
        x = nn.relu(x @ layer["kernel"] + layer["bias"][None])
    expected = (x @ p["value"]["kernel"] + p["value"]["bias"][None])[:, 0]
    np.testing.assert_allclose(apply(critic, params, state, action), expected, rtol=1e-5, atol=1e-6)
    for i in range(5):
        np.testing.assert_allclose(apply(critic, params, state[i], action[i]), expected[i], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(apply(critic, params, state[0], action)[0], expected[0], rtol=1e-5, atol=1e-6)


def test_the_states_half_of_the_critic_is_computed_once_for_all_candidates(key):
    critic = pgjax.QNetwork((8, 8))
    params = init(critic, key, jnp.ones(3), jnp.ones(2))
    jaxpr = jax.make_jaxpr(jax.vmap(critic.apply, (None, None, 0)))(params, jnp.ones(3), jnp.ones((100, 2)))
    results = [e.outvars[0].aval.shape for e in jaxpr.jaxpr.eqns if e.primitive.name == "dot_general"]
    assert (8,) in results  # the state's half, one row for the 100 candidates


def test_modules_are_hashable_and_static(key):
    policy = pgjax.GaussianPolicy(2, box=pgjax.Box([-1.0] * 2, [1.0] * 2))
    params = init(policy, key, jnp.ones(3))
    traces = []

    def entropy(policy, params, observation):
        traces.append(1)
        return pgjax.entropy(policy, params, observation)

    jitted = jax.jit(entropy, static_argnums=0)
    jitted(policy, params, jnp.ones(3))
    jitted(pgjax.GaussianPolicy(2, box=pgjax.Box([-1.0] * 2, [1.0] * 2)), params, jnp.ones(3))
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (pgjax.GaussianPolicy(0), "action_size"),
        (pgjax.GaussianPolicy(2, hidden_sizes=()), "hidden_sizes"),
        (pgjax.GaussianPolicy(True), "action_size"),
        (pgjax.GaussianPolicy(2, box=(0.0, 1.0)), "box"),
        (pgjax.GaussianPolicy(2, log_std_bounds=(0.0, 1.0, 2.0)), "log_std_bounds"),
        (pgjax.GaussianPolicy(2, std="state"), "std"),
        (pgjax.GaussianPolicy(2, covariance="diag"), "covariance"),
        (pgjax.GaussianPolicy(2, initialization="xavier"), "initialization"),
        (pgjax.GaussianPolicy(2, box=pgjax.Box([0.0], [1.0])), "box"),
        (pgjax.GaussianPolicy(2, box=pgjax.Box([0.0] * 2, [1.0] * 2), covariance="full"), "box"),
        (pgjax.GaussianPolicy(2, log_std_bounds=(1.0, 0.0)), "log_std_bounds"),
        (pgjax.CategoricalPolicy(0), "num_actions"),
        (pgjax.CategoricalPolicy((2, 0)), "num_actions"),
        (pgjax.QValues(-1), "num_actions"),
    ],
)
def test_bad_settings_are_refused_by_name(module, name, key):
    with pytest.raises(ValueError, match=f"^{name} "):
        module.init(key, jnp.ones(3))


@pytest.mark.parametrize("batch_shape", [(), (4,), (2, 3)])
def test_a_triangular_matrix_has_the_exponentials_on_its_diagonal_and_the_rest_below_row_by_row(batch_shape, rng):
    log_diagonal, below = (jnp.asarray(rng.normal(size=(*batch_shape, n)), jnp.float32) for n in (3, 3))
    matrix = np.asarray(jax.jit(scale_tril)(log_diagonal, below))
    assert matrix.shape == (*batch_shape, 3, 3)
    np.testing.assert_allclose(np.diagonal(matrix, axis1=-2, axis2=-1), np.exp(log_diagonal), rtol=1e-6)
    np.testing.assert_array_equal(matrix[..., [1, 2, 2], [0, 0, 1]], below)
    np.testing.assert_array_equal(np.triu(matrix, 1), 0)
