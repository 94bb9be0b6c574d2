"""The table of families that the contract tests run over, and what they need to list events and compare."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pgjax.distributions import (
    Categorical,
    DiagonalNormal,
    EpsilonGreedy,
    Greedy,
    MultiCategorical,
    MultivariateNormal,
    Softmax,
    TanhNormal,
)
from tests.deep import deep_except

# For `jax.jit` of loops over very many numbers: tests compile without optimizations otherwise.
OPTIMIZED = {"xla_backend_optimization_level": 3}
FORBIDDEN = 50.0  # a masked action carries this logit: a forgotten mask cannot go unnoticed


@dataclasses.dataclass(frozen=True, eq=False)
class Family:
    """Two parameter sets of batch 3, and how to list the events.

    `limits` are the grid's ends in each dimension (continuous), `sizes` the numbers of actions (discrete).
    """

    build: Callable
    parameters: tuple
    other: tuple
    limits: tuple = ()
    sizes: tuple = ()
    event_shape: tuple = ()


MEAN = ([[0.3, -0.5], [0.0, 0.4], [-0.6, 0.1]], [[0.1, -0.2], [0.4, 0.3], [-0.1, 0.0]])
LOG_STD = ([[-0.7, -0.4], [-0.9, -0.5], [-0.4, -0.6]], [[-0.5, -0.6], [-0.6, -0.4], [-0.5, -0.8]])
TRIL = (
    [[[0.8, 0.0], [-0.4, 0.6]], [[1.1, 0.0], [0.9, 0.5]], [[0.5, 0.0], [0.0, 1.2]]],
    [[[1.0, 0.0], [0.2, 0.7]], [[0.9, 0.0], [0.3, 0.8]], [[0.6, 0.0], [-0.3, 1.0]]],
)
LOGITS = (
    [[1.0, -0.5, 0.2], [0.0, 0.7, -1.3], [2.0, 1.2, 0.4]],
    [[0.8, 0.1, -0.3], [-0.4, 1.0, 0.3], [1.5, -0.8, 0.9]],
)
MASKED = (
    [[1.0, FORBIDDEN, 0.2], [0.0, 0.7, FORBIDDEN], [FORBIDDEN, FORBIDDEN, 0.4]],
    [[0.8, FORBIDDEN, -0.3], [-0.4, 1.0, FORBIDDEN], [FORBIDDEN, FORBIDDEN, 0.9]],
)
PAIR = ([[0.5, -0.5], [1.0, 1.3], [-2.0, 0.0]], [[0.1, 0.2], [-0.7, 0.9], [-1.0, 0.6]])
BOX = (np.array([-2.0, 0.1]), np.array([1.0, 0.3]))


def pairs(*tables):
    """Return the first entries of all tables, and the second ones."""
    parameters, other = (tuple(np.array(table[i]) for table in tables) for i in (0, 1))
    return parameters, other


def normal_family(build, *tables, limits=((-9.0, 9.0),) * 2):
    """Return a continuous family of two dimensions."""
    parameters, other = pairs(*tables)
    return Family(build, parameters, other, limits=limits, event_shape=(2,))


def discrete_family(build, *tables, event_shape=()):
    """Return a discrete family with one factor for each table of logits."""
    sizes = tuple(len(table[0][0]) for table in tables)
    parameters, other = pairs(*tables)
    return Family(build, parameters, other, sizes=sizes, event_shape=event_shape)


def in_box(mean, log_std):
    """Build a TanhNormal with bounds of its own in each dimension."""
    low, high = (jnp.asarray(bound, mean.dtype) for bound in BOX)
    return TanhNormal(mean, log_std, low, high)


def legal(logits):
    """Return the mask that goes with a table of logits."""
    return logits < FORBIDDEN / 2


FAMILIES = {
    "DiagonalNormal": normal_family(DiagonalNormal, MEAN, LOG_STD),
    "MultivariateNormal": normal_family(MultivariateNormal, MEAN, TRIL),
    "TanhNormal": normal_family(TanhNormal, MEAN, LOG_STD, limits=((-1.0, 1.0),) * 2),
    "TanhNormal-box": normal_family(in_box, MEAN, LOG_STD, limits=tuple(zip(*BOX, strict=True))),
    "Categorical": discrete_family(Categorical, LOGITS),
    "Categorical-masked": discrete_family(lambda x: Categorical(x, legal(x)), MASKED),
    "MultiCategorical": discrete_family(lambda x, y: MultiCategorical((x, y)), LOGITS, PAIR, event_shape=(2,)),
    "MultiCategorical-masked": discrete_family(
        lambda x, y: MultiCategorical((x, y), (legal(x), legal(y))), MASKED, PAIR, event_shape=(2,)
    ),
    "Greedy": discrete_family(Greedy, (LOGITS[0], LOGITS[0])),
    "EpsilonGreedy": discrete_family(lambda q: EpsilonGreedy(q, 0.2), LOGITS),
    "EpsilonGreedy-masked": discrete_family(lambda q: EpsilonGreedy(q, 0.2, legal(q)), MASKED),
    "Softmax": discrete_family(lambda q: Softmax(q, 0.7), LOGITS),
    "Softmax-masked": discrete_family(lambda q: Softmax(q, 0.7, legal(q)), MASKED),
}
CONTINUOUS = {name: family for name, family in FAMILIES.items() if family.limits}
# One for each class with code of its own, with all that its parameters can say.
CONTINUOUS_REPRESENTATIVE = ("DiagonalNormal", "MultivariateNormal", "TanhNormal-box")
REPRESENTATIVE = (*CONTINUOUS_REPRESENTATIVE, "Categorical-masked", "MultiCategorical-masked", "Softmax-masked")

every_family = pytest.mark.parametrize("family", deep_except(FAMILIES, *REPRESENTATIVE))
continuous_families = pytest.mark.parametrize("family", deep_except(CONTINUOUS, *CONTINUOUS_REPRESENTATIVE))

DENSITIES = {
    "log_prob": lambda pi, other, action: pi.log_prob(action),
    "entropy": lambda pi, other, action: pi.entropy(),
    "kl_divergence": lambda pi, other, action: pi.kl_divergence(other),
}


def new_key(number=0):
    """Return a fixed key; made anew, so that two calls may be given the same noise."""
    return jax.random.key(number)


def cast(parameters, dtype=jnp.float32):
    """Return parameters as jax arrays of one dtype."""
    return tuple(jnp.asarray(x, dtype) for x in parameters)


def make(family, dtype=jnp.float32):
    """Return the family's two distributions and one action of the first."""
    return _made(family, cast(family.parameters, dtype), cast(family.other, dtype), new_key(1))


@functools.partial(jax.jit, static_argnums=0)
def _made(family, parameters, other, key):
    pi = family.build(*parameters)
    return pi, family.build(*other), pi.sample(seed=key)


def densities_of(pi, other, action):
    """Return the results of the methods that say how probable events are."""
    return {name: method(pi, other, action) for name, method in DENSITIES.items()}


def evaluate(pi, other, action):
    """Return the results of all methods."""
    draws = {
        "sample": pi.sample(seed=new_key(), sample_shape=4),
        "sample_and_log_prob": pi.sample_and_log_prob(seed=new_key()),
    }
    return densities_of(pi, other, action) | draws | {"mode": pi.mode()}


densities_jit, evaluate_jit = jax.jit(densities_of), jax.jit(evaluate)


def assert_same_structure(actual, expected):
    """Assert that two trees are built alike, leaves aside."""
    structures: list[Any] = [jax.tree.structure(actual), jax.tree.structure(expected)]
    assert structures[0] == structures[1]


def assert_same(actual, expected, rtol=1e-5, atol=1e-5):
    """Assert that two trees of arrays have equal structure, shapes and dtypes, and close values."""
    assert_same_structure(actual, expected)
    for x, y in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(np.float64(x), np.float64(y), rtol=rtol, atol=atol)
