"""Policy gradients as differences of an objective's means, which need no derivative of the objective."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from pgjax import noise
from pgjax.distributions import Categorical, DiagonalNormal, MultiCategorical, MultivariateNormal, TanhNormal
from pgjax.distributions.base import widen
from pgjax.distributions.normal import over_std, times_std
from pgjax.losses.action_values import Objective, check_batch, value_of, without_padded_inputs
from pgjax.losses.policy_gradient import weighted_sum
from pgjax.returns.arrays import as_step_weights
from pgjax.types import Array, ArrayLike, Key


def measure_valued_loss(
    key: Key, objective: Objective, states: Any, pi: distrax.Distribution, weights: ArrayLike = 1.0
) -> Array:
    """Differentiate the mean value of the policy's actions as a difference of means.

    For a Gaussian with independent dimensions::

        d/d mu_i E[Q]        = (E[Q(a; mu_i + sigma_i W)] - E[Q(a; mu_i - sigma_i W)]) / (sigma_i sqrt(2 pi))
        d/d log sigma_i E[Q] = E[Q(a; mu_i + sigma_i M)] - E[Q(a)]

    Q(a; x) has x for a_i and the policy's action for the rest; W is a Weibull(sqrt 2, 2) (or Rayleigh) number and
    M a double-sided Maxwell one. Needs no derivative of Q, so that Q may have jumps or be given by a simulator.
    The terms of each difference are coupled: all come from the same three normal numbers z, `W = |(z_1, z_2)|`,
    `M = |z|` with the sign of z_1, and a = mu + sigma z_1.

    A full covariance has the same differences in z, a = mu + L z, and for (L^-1 dL)_ij, i > j, those of z_i
    times z_j. A squashed Gaussian has those of Q(s, squash(u)). Of discrete actions, `sum_k dp_k Q(a; k)` over all
    choices k of one factor, the others sampled: exact for one factor.

    Args:
        key: of the noise.
        objective: Q(state, action) of one state and one action, a scalar.
        states: a tree of arrays `[T, ...]`.
        pi: the policy at these states, batch shape `[T]`: DiagonalNormal, MultivariateNormal, TanhNormal,
            Categorical (also Softmax and EpsilonGreedy) or MultiCategorical.
        weights: w, a scalar or `[T]`; a step of weight 0 has no part, whatever its state and policy hold.

    Returns:
        the loss, a scalar; minus the values of one action each (of a Categorical, their means).
    Raises:
        ValueError: another distribution, an objective that is no scalar, shapes that do not fit.
    Cost:
        evaluations of the objective for each state, at once: 3 N + 1, A of a Categorical, 1 + F max A_i.
    Differentiable in:
        pi (not a TanhNormal's bounds).
    Reference:
        Mohamed, Rosca, Figurnov & Mnih (2020), Monte Carlo gradient estimation in machine learning, section 6 and
        table 1; the coupling: section 7.2.
    """
    check_batch(pi)
    values_of = next((f for family, f in _FAMILIES.items() if isinstance(pi, family)), None)
    if values_of is None:
        names = ", ".join(family.__name__ for family in _FAMILIES)
        raise ValueError(f"pi must be one of {names}; got {pi!r}")
    array = as_step_weights("weights", weights, jnp.zeros(pi.batch_shape))
    states, pi = without_padded_inputs(array, states, pi)
    return -weighted_sum(values_of(key, functools.partial(value_of, objective), states, pi), weights)


# Each gives values `[T]` whose derivative is put in by hand: differences times `_change`, which is worth 0.
def _change(parameter: Array) -> Array:
    return parameter - jax.lax.stop_gradient(parameter)


def _diagonal_normal(key: Key, objective: Objective, states: Any, pi: DiagonalNormal | TanhNormal) -> Array:
    loc, log_std = widen(pi.loc, pi.log_std)

    def evaluate(one, z):
        state, loc, log_std = one
        return objective(state, loc + times_std(z, log_std))

    of_mean, of_log_std, value, _ = _differences(key, evaluate, (states, loc, log_std), loc)
    change = of_mean * over_std(_change(loc), jax.lax.stop_gradient(log_std)) + of_log_std * _change(log_std)
    return value + jnp.sum(change, axis=-1)


def _tanh_normal(key: Key, objective: Objective, states: Any, pi: TanhNormal) -> Array:
    squash = jax.lax.stop_gradient(pi)
    return _diagonal_normal(key, lambda s, u: objective(s[0], s[1]._squash(u)), (states, squash), pi)


def _multivariate_normal(key: Key, objective: Objective, states: Any, pi: MultivariateNormal) -> Array:
    loc, scale = widen(pi.loc, jnp.tril(pi.scale_tril))

    def evaluate(one, z):
        state, loc, scale = one
        return objective(state, loc + scale @ z)

    of_mean, of_log_scale, value, z = _differences(key, evaluate, (states, loc, scale), loc)
    solve = functools.partial(solve_triangular, lower=True)
    fixed = jax.lax.stop_gradient(scale)
    loc_change = jax.vmap(solve)(fixed, _change(loc))
    scale_change = jax.vmap(solve)(fixed, _change(scale))
    of_scale = jnp.tril(of_mean[:, :, None] * z[:, None, :], -1) + jax.vmap(jnp.diag)(of_log_scale)
    return value + jnp.sum(of_mean * loc_change, axis=-1) + jnp.sum(of_scale * scale_change, axis=(-2, -1))


def _categorical(key: Key, objective: Objective, states: Any, pi: Categorical) -> Array:
    del key
    actions = jnp.arange(pi.num_actions, dtype=pi.dtype)
    values = jax.vmap(lambda state: jax.vmap(lambda a: objective(state, a))(actions))(states)
    probs, values = widen(pi.probs, jax.lax.stop_gradient(values))
    return jnp.sum(probs * jnp.where(probs > 0, values, 0), axis=-1)


def _multi_categorical(key: Key, objective: Objective, states: Any, pi: MultiCategorical) -> Array:
    probs = jnp.exp(pi.log_probs)
    actions = pi.sample(seed=key)
    num_factors, num_choices = probs.shape[1:]
    factor, choice = (x.ravel() for x in jnp.indices((num_factors, num_choices), dtype=actions.dtype))

    def evaluate(state, action, probs):
        replaced = jnp.where(probs.ravel() > 0, choice, action[factor])
        chosen = factor[:, None] == jnp.arange(num_factors, dtype=factor.dtype)[None]
        others = jnp.where(chosen, replaced[:, None], action[None])
        return objective(state, action), jax.vmap(lambda a: objective(state, a))(others).reshape(probs.shape)

    value, values = widen(*jax.lax.stop_gradient(jax.vmap(evaluate)(states, actions, probs)))
    return value + jnp.sum(jnp.where(probs > 0, values, 0) * _change(probs), axis=(-2, -1))


def _differences(key: Key, evaluate: Callable[[Any, Array], Array], rows: Any, like: Array):
    """For evaluate(row, z), z `[N]` standard normal: derivatives of its mean in z's mean and log std, `[T, N]`.

    Returns:
        both, and the value `[T]` at one z, and that z `[T, N]`.
    """
    z = noise.normal(key, (like.shape[0], 3, like.shape[1]), like.dtype)

    def of_one(row, z):
        def replaced(entries):
            """Values with the i-th entry of z replaced, for each i."""
            return jax.vmap(lambda z: evaluate(row, z))(jnp.where(diagonal, entries[None], z[0][None]))

        diagonal = jnp.eye(z.shape[1], dtype=bool)
        weibull = jnp.sqrt(jnp.sum(jnp.square(z[:2]), axis=0))
        maxwell = jnp.copysign(jnp.sqrt(jnp.sum(jnp.square(z), axis=0)), z[0])
        value = evaluate(row, z[0])
        of_mean = (replaced(weibull) - replaced(-weibull)) / math.sqrt(2 * math.pi)
        return of_mean, replaced(maxwell) - value, value

    parts = jax.lax.stop_gradient(jax.vmap(of_one)(jax.lax.stop_gradient(rows), z))
    return *(x.astype(like.dtype) for x in parts), z[:, 0]


_FAMILIES: dict[type, Callable[..., Array]] = {
    DiagonalNormal: _diagonal_normal,
    MultivariateNormal: _multivariate_normal,
    TanhNormal: _tanh_normal,
    Categorical: _categorical,
    MultiCategorical: _multi_categorical,
}
