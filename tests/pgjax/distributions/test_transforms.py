"""Distributions pass through every JAX transformation unchanged, and so do their methods' results."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from tests.deep import deep
from tests.pgjax.distributions.families import (
    DENSITIES,
    FAMILIES,
    assert_same,
    assert_same_structure,
    cast,
    continuous_families,
    densities_of,
    evaluate,
    evaluate_jit,
    every_family,
    make,
    new_key,
)

NOT_MASKED = ("DiagonalNormal", "MultivariateNormal", "TanhNormal", "MultiCategorical", "Softmax")


@pytest.mark.few(2)
@every_family
def test_jit_equals_eager(family):
    """A distribution passes through jit as argument, and its methods give the same inside."""
    _, other, action = make(family)
    args = family.build(*cast(family.parameters)), other, action
    assert_same(evaluate_jit(*args), evaluate(*args))


@pytest.mark.few(6)
@every_family
@pytest.mark.parametrize("how", [deep("jit"), "vmap", "scan"])
def test_built_elsewhere(family, how):
    """Returned from jit, built under vmap, stacked by scan: the same as built from the batch."""
    _, other, action = make(family)
    parameters = cast(family.parameters)
    pi = family.build(*parameters)
    built = {
        "jit": lambda: jax.jit(family.build)(*parameters),
        "vmap": lambda: jax.vmap(family.build)(*parameters),
        "scan": lambda: jax.lax.scan(lambda _, row: (None, family.build(*row)), None, parameters)[1],
    }[how]()
    assert (built.batch_shape, built.event_shape, built.dtype) == (pi.batch_shape, pi.event_shape, pi.dtype)
    assert_same(evaluate_jit(built, other, action), evaluate_jit(pi, other, action))
    assert_same(built.entropy(), pi.entropy())


@every_family
def test_methods_under_vmap(family):
    """Methods mapped over the batch give the same as on the batch; mapped samples have the rows' shapes."""
    args = make(family)

    def methods(pi, other, action):
        return densities_of(pi, other, action) | {"mode": pi.mode()}

    assert_same(jax.jit(jax.vmap(methods))(*args), jax.jit(methods)(*args))
    keys = jax.random.split(new_key(), 3)
    draws = jax.eval_shape(jax.vmap(lambda pi, key: pi.sample(seed=key, sample_shape=4)), args[0], keys)
    assert draws.shape == (3, 4, *family.event_shape)


@every_family
def test_pytree(family):
    """The leaves are arrays that lead with the batch shape; rows can be cut out; any leaf may stand in."""
    pi, other, action = make(family)
    leaves = jax.tree.leaves(pi)
    assert leaves
    assert all(isinstance(leaf, (jax.Array, np.ndarray)) for leaf in leaves)
    assert all(leaf.shape[:1] == (3,) for leaf in leaves)
    assert_same_structure(pi, other)
    row = jax.tree.map(lambda leaf: leaf[1], pi)
    assert (row.batch_shape, row.event_shape) == ((), family.event_shape)
    assert_same(row.log_prob(action[1]), pi.log_prob(action)[1])
    jax.tree.map(lambda _: object(), pi)


@every_family
def test_eval_shape(family):
    """eval_shape gives the shapes and dtypes that building gives, of the distribution and of its results."""
    args = make(family)

    def shapes(tree):
        return [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]

    abstract = jax.eval_shape(family.build, *cast(family.parameters))
    assert_same_structure(abstract, args[0])
    assert shapes(abstract) == shapes(args[0])
    assert shapes(jax.eval_shape(evaluate, *args)) == shapes(evaluate_jit(*args))


@every_family
def test_zero_batch(family):
    """A batch of no rows works, and gives no rows."""

    def none(parameters):
        return family.build(*(x[:0] for x in cast(parameters)))

    pi, other, action = make(family)
    result = evaluate_jit(none(family.parameters), none(family.other), action[:0])
    whole = jax.eval_shape(evaluate, pi, other, action)

    def without(shape):
        return tuple(0 if size == 3 else size for size in shape)

    assert [x.shape for x in jax.tree.leaves(result)] == [without(x.shape) for x in jax.tree.leaves(whole)]


@pytest.mark.few(2)
@every_family
def test_debug_nans(family):
    """No density and no gradient of one makes a NaN on its way, not even one that is thrown away later."""
    action = make(family)[2]

    def total(parameters, other):
        densities = densities_of(family.build(*parameters), family.build(*other), action)
        return sum(density.sum() for density in densities.values())

    with jax.debug_nans(True):
        gradients = jax.grad(total, argnums=(0, 1))(cast(family.parameters), cast(family.other))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.few(2)
@every_family
@pytest.mark.parametrize("dtype", [deep("float32"), "bfloat16"])
def test_sampling_inside_a_loss(family, dtype):
    """A loss may sample inside the function that is differentiated, in any dtype, and may call every method."""

    def loss(parameters, other):
        results = evaluate(family.build(*parameters), family.build(*other), make(family, dtype)[2])
        return sum(leaf.astype(jnp.float32).sum() for leaf in jax.tree.leaves(results))

    gradients = jax.jit(jax.grad(loss))(cast(family.parameters, dtype), cast(family.other, dtype))
    assert all(jnp.isfinite(leaf).all() for leaf in gradients)


@continuous_families
@pytest.mark.parametrize("dtype", ["bfloat16", deep("float16")])
def test_narrow_samples_are_reparameterized(family, dtype):
    """The gradient of a narrow sample is that of the float32 one, to the narrow dtype's rounding."""

    def total(parameters, dtype):
        pi = family.build(*(x.astype(dtype) for x in parameters))
        return pi.sample(seed=new_key()).astype(jnp.float32).sum()

    parameters = tuple(x.astype(jnp.float32) for x in cast(family.parameters, dtype))
    narrow = jax.grad(total)(parameters, dtype)
    assert_same(narrow, jax.grad(total)(parameters, "float32"), rtol=0.05, atol=0.03)


@pytest.mark.parametrize("name", ["Categorical-masked", *map(deep, NOT_MASKED)])
def test_sharded(name):
    """Arrays spread over 8 devices give the same results, and densities stay spread."""
    family, devices = FAMILIES[name], jax.devices("cpu")
    assert len(devices) == 8
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(AxisType.Auto,), devices=devices)
    spread = NamedSharding(mesh, PartitionSpec("batch"))

    def eight(parameters):
        return tuple(np.resize(x, (8, *x.shape[1:])).astype(np.float32) for x in parameters)

    @jax.jit
    def run(parameters, other, action):
        return evaluate(family.build(*parameters), family.build(*other), action)

    parameters, other = eight(family.parameters), eight(family.other)
    action = family.build(*cast(parameters)).sample(seed=new_key(1))
    result = run(*jax.device_put((parameters, other, action), spread))
    assert_same(result, run(parameters, other, action))
    assert all(result[name].sharding.is_equivalent_to(spread, 1) for name in DENSITIES)
