"""Random numbers: the same as jax.random's, bit for bit, in every way they can be asked for."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.errors import KeyReuseError

from pgjax import noise
from tests.deep import deep, deep_except

PAIRS = {"normal": (noise.normal, jax.random.normal), "uniform": (noise.uniform, jax.random.uniform)}
# The code generator that makes the tests compile fast contracts products and sums as it sees fit.
IS_EXACT = "use_fusion_emitters=false" not in os.environ["XLA_FLAGS"]
SHAPES = [(), (6,), (32,), (33,), (100, 7), (0, 3), (3, 5, 64)]


@pytest.mark.parametrize("shape", deep_except(SHAPES, (), (33,), (3, 5, 64)), ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_equals_jax_random(name, shape):
    ours, theirs = PAIRS[name]
    given, expected = (jax.jit(draw, static_argnums=1)(jax.random.key(3), shape) for draw in (ours, theirs))
    np.testing.assert_allclose(given, expected, rtol=0 if IS_EXACT else 1e-6)


@pytest.mark.parametrize("dtype", [deep("float16"), "bfloat16", deep("float64")])
def test_other_dtypes_equal_jax_random(dtype):
    with jax.enable_x64(True):
        given = noise.normal(jax.random.key(1), (100,), dtype)
        np.testing.assert_array_equal(given, jax.random.normal(jax.random.key(1), (100,), dtype))


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_keys_of_other_generators(impl):
    given = noise.normal(jax.random.key(1, impl=impl), (40,))
    np.testing.assert_array_equal(given, jax.random.normal(jax.random.key(1, impl=impl), (40,)))


def test_raw_keys():
    with jax.debug_key_reuse(False):
        given = noise.normal(jax.random.PRNGKey(1), (40,))
        np.testing.assert_array_equal(given, jax.random.normal(jax.random.PRNGKey(1), (40,)))


def test_vmap_over_keys_draws_each_keys_numbers(key):
    keys = jax.random.split(key, 3)
    given = jax.vmap(lambda k: noise.normal(k, (50,)))(keys)
    np.testing.assert_array_equal(
        given, jnp.stack([noise.normal(k, (50,)) for k in jax.random.split(jax.random.key(0), 3)])
    )


@pytest.mark.parametrize("num", [deep(0), 1, 5])
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_split_equals_jax_random(impl, num):
    given = jax.random.key_data(noise.split(jax.random.key(5, impl=impl), num))
    np.testing.assert_array_equal(given, jax.random.key_data(jax.random.split(jax.random.key(5, impl=impl), num)))


def test_split_of_many_keys(key):
    given = jax.vmap(lambda k: noise.split(k, 3))(jax.random.split(key, 4))
    expected = jax.vmap(lambda k: jax.random.split(k, 3))(jax.random.split(jax.random.key(0), 4))
    np.testing.assert_array_equal(*map(jax.random.key_data, (given, expected)))


def test_split_consumes_its_key(key):
    noise.split(key, 2)
    with pytest.raises(KeyReuseError):
        noise.split(key, 2)


def test_scanned_keys_are_those_of_split_under_vmap_too(key):
    def scanned(key):
        return noise.scan_keys(lambda state, k: (state, jax.random.uniform(k)), None, key, 3)[1]

    given = jax.vmap(scanned)(jax.random.split(key, 4))
    several = [jax.random.split(k, 3) for k in jax.random.split(jax.random.key(0), 4)]
    np.testing.assert_allclose(given, [[jax.random.uniform(k) for k in keys] for keys in several], rtol=1e-6)


@pytest.mark.parametrize("size", [8, 200])
def test_a_key_that_is_used_twice_is_noticed(key, size):
    noise.normal(key, (size,))
    with pytest.raises(KeyReuseError):
        noise.normal(key, (size,))


def test_inside_scan_and_grad():
    def total(scale):
        def body(carry, k):
            return carry + jnp.sum(scale * noise.normal(k, (64,))), None

        return jax.lax.scan(body, 0.0, jax.random.split(jax.random.key(0), 3))[0]

    expected = sum(jnp.sum(jax.random.normal(k, (64,))) for k in jax.random.split(jax.random.key(0), 3))
    np.testing.assert_allclose(jax.jit(jax.grad(total))(2.0), expected, rtol=1e-5)
