"""Materialized arrays are the arrays, under every transformation."""

import chex
import jax
import jax.numpy as jnp
import pytest
from jax.test_util import check_grads

from pgjax.materialize import materialize


def wavy(x, scale):
    y, z = materialize((jnp.sin(x), scale * x))
    return jnp.sum(y * z)


def plain(x, scale):
    return jnp.sum(jnp.sin(x) * scale * x)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.int32, jnp.uint32])
def test_it_is_the_identity_in_every_dtype(dtype):
    tree = {"a": jnp.arange(5).astype(dtype), "b": jnp.ones((2, 0), dtype), "c": jnp.zeros((), dtype)}
    chex.assert_trees_all_equal(materialize(tree), tree)
    del tree["b"]
    chex.assert_trees_all_equal(jax.jit(materialize)(tree), tree)


def test_it_leaves_derivatives_as_they_are(key):
    x = jax.random.normal(key, (4,))
    check_grads(lambda x: wavy(x, 2.0), (x,), order=2, rtol=2e-2)
    chex.assert_trees_all_close(jax.hessian(wavy)(x, 2.0), jax.hessian(plain)(x, 2.0), rtol=1e-5)


def test_it_batches_with_operands_that_are_not_batched(key):
    x = jax.random.normal(key, (3, 4))
    batched = jax.jit(jax.vmap(jax.grad(wavy), (1, None), 1))(x, 2.0)
    chex.assert_trees_all_close(batched, jax.vmap(jax.grad(plain), (1, None), 1)(x, 2.0), rtol=1e-5)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other platforms do nothing")
def test_a_batch_still_has_a_buffer_of_its_own():
    compiled = jax.jit(jax.vmap(wavy, (0, None))).lower(jnp.ones((3, 4)), 2.0).compile()
    assert "conditional(" in str(compiled.as_text())
