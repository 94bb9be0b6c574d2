"""Every maximizer with settings for three dimensions, and a landscape whose kind is data: one compile for each."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pgjax
from pgjax import maximizers
from tests.deep import deep

FEW_POINTS = maximizers.random_search(num_samples=16)
MAXIMIZERS = {
    "grid": (maximizers.grid(num_points=3), 1),
    "grid in chunks": (maximizers.grid(num_points=4, chunk_size=10), 7),
    "uniform": (maximizers.random_search(num_samples=128, sequence="uniform"), 3),
    "sobol": (maximizers.random_search(num_samples=64), 5),
    "cem": (maximizers.cross_entropy(num_samples=32, num_elites=4), 6),
    "mppi": (maximizers.mppi(num_samples=32, num_elites=8, temperature=5.0), 6),
    "cma-es": (maximizers.cma_es(num_samples=12), 10),
    "zoom": (maximizers.coordinate_zoom(num_bins=4), 6),
    "adam": (maximizers.gradient_ascent(num_starts=3, search=FEW_POINTS), 20),
    "sgd": (maximizers.gradient_ascent(num_starts=1, search=None, optimizer=optax.sgd(0.1)), 20),
    "l-bfgs": (maximizers.lbfgs(num_starts=2, search=FEW_POINTS), 10),
    "newton": (maximizers.newton(num_starts=2, search=FEW_POINTS), 5),
    "hybrid": (
        maximizers.lbfgs(num_starts=2, search=maximizers.cross_entropy(num_samples=16), num_search_steps=2),
        5,
    ),
    "best of n": (maximizers.best_of_n(), 1),
}
SIMILAR = ("grid", "uniform", "sgd", "hybrid")  # to another one: its settings, or two of them together
each_maximizer = pytest.mark.parametrize("name", [deep(x) if x in SIMILAR else x for x in MAXIMIZERS])

BOX = pgjax.Box([0.5, -3.0, 2.0], [1.5, -1.0, 2.5])  # no bound at 0, no two widths alike
CUBE = pgjax.Box([-1.0] * 3, [1.0] * 3)
CENTER, WIDTH, PEAK = np.asarray([[1.0, -2.0, 2.25], [1.0, 2.0, 0.5], [0.9123, -1.2345, 2.4321]], np.float32)
KINDS = ("inside", "corner", "plateau", "step", "wavy", "needle", "partly not finite", "nowhere finite")


def landscape(kind, box, action):
    """Value of one kind of landscape (a number, traced) that moves and stretches with the box."""
    width = jnp.asarray(box.high, action.dtype) - jnp.asarray(box.low, action.dtype)
    x = 2 * (action - jnp.asarray(box.low, action.dtype)) / jnp.where(width > 0, width, 1) - 1

    def wavy():
        return jnp.sum(jnp.cos(7 * x) - jnp.square(x))

    def partly_not_finite():
        bad = jnp.where(x[0] < -0.3, jnp.nan, jnp.where(x[0] < 0.3, jnp.inf, -jnp.inf))
        return jnp.where(x[1] < 0, bad, wavy())

    kinds = (
        lambda: -jnp.sum(jnp.square(x - jnp.asarray([0.3, -0.6, 0.1]))),
        lambda: jnp.sum(x * jnp.asarray([1.0, -1.0, 2.0])),
        lambda: jnp.zeros_like(x[0]),
        lambda: jnp.where(x[0] > 0.5, 1.0, 0.0),
        wavy,
        lambda: jnp.where(jnp.max(jnp.abs(action - PEAK)) < 1e-5, 10.0, -jnp.sum(jnp.square(action))),
        partly_not_finite,
        lambda: jnp.nan * x[0],
    )
    return jax.lax.switch(kind, kinds)


def solve(name, kind, box=BOX, *, seed=0, initial=None):
    """The maximum and its trace; compiled once for each maximizer, whatever kind and box."""
    initial = jnp.asarray(0.5 * (box.low + box.high), jnp.float32) if initial is None else initial
    low, high = jnp.asarray(box.low, jnp.float32), jnp.asarray(box.high, jnp.float32)
    return _solve(*MAXIMIZERS[name], jax.random.key(seed), KINDS.index(kind), low, high, initial)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _solve(maximizer, num_steps, key, kind, low, high, initial):
    box = pgjax.Box(low, high)
    return pgjax.maximize(
        key,
        lambda action: landscape(kind, box, action),
        box,
        maximizer,
        num_steps=num_steps,
        initial=initial,
        return_trace=True,
    )
