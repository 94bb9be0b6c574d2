"""Gradients through the search: those of the objective at the action that was found."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pgjax
from tests.deep import deep_except
from tests.pgjax.maximizers.cases import BOX, CENTER, MAXIMIZERS, PEAK


@pytest.mark.parametrize(
    "name", deep_except(["sobol", "cem", "cma-es", "zoom", "adam", "l-bfgs", "newton"], "sobol", "adam")
)
def test_the_values_gradient_is_that_of_the_objective_at_the_action(name, key):
    maximizer, num_steps = MAXIMIZERS[name]

    def objective(params, action):
        return -params["scale"] * jnp.sum(jnp.square(action - params["target"])) + params["offset"]

    def maximum(params):
        best = pgjax.maximize(
            jax.random.key(3), lambda a: objective(params, a), BOX, maximizer, num_steps=num_steps
        )
        return best.value, best.action

    params = {"scale": jnp.asarray(2.0), "target": PEAK + 0.5, "offset": jnp.asarray(1.0)}  # partly outside
    (value, action), gradient = jax.jit(jax.value_and_grad(maximum, has_aux=True))(params)
    chex.assert_trees_all_close(gradient, jax.grad(objective)(params, action), rtol=1e-5)
    np.testing.assert_allclose(value, objective(params, action), rtol=1e-5)


@pytest.mark.deep
def test_forward_mode_and_batches_have_the_envelopes_gradient_too(key):
    maximizer, num_steps = MAXIMIZERS["l-bfgs"]
    targets = jnp.stack([PEAK, CENTER])

    def maxima(scale):
        return pgjax.maximize_batch(
            jax.random.key(3),
            lambda s, a: -scale * jnp.sum(jnp.square(a - s)) - scale,
            targets,
            BOX,
            maximizer,
            num_steps=num_steps,
        ).value

    np.testing.assert_allclose(jax.jit(jax.jacfwd(maxima))(1.5), [-1, -1], atol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.jacrev(maxima))(1.5), [-1, -1], atol=1e-5)


def test_actions_and_initial_actions_have_gradient_zero(key):
    def action(initial, target):
        objective = lambda a: -jnp.sum(jnp.square(a - target))  # noqa: E731
        return jnp.sum(
            pgjax.maximize(
                jax.random.key(0), objective, BOX, MAXIMIZERS["sgd"][0], num_steps=2, initial=initial
            ).action
        )

    for gradient in jax.grad(action, argnums=(0, 1))(CENTER, PEAK):
        np.testing.assert_array_equal(gradient, 0)
