"""Policy gradients from an action-value function: over all actions, through the action, or by its differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import distrax
import jax
import jax.numpy as jnp

from pgjax import noise
from pgjax.distributions import Categorical, DiagonalNormal
from pgjax.distributions.base import as_array, as_float_array, widen
from pgjax.distributions.normal import over_std, times_std
from pgjax.losses.policy_gradient import weighted_sum
from pgjax.returns.arrays import as_scalar, as_step_weights
from pgjax.types import Array, ArrayLike, Key

Objective = Callable[[Any, Array], Array]


def all_actions_loss(pi: Categorical, action_values: ArrayLike, weights: ArrayLike = 1.0) -> Array:
    """Weigh every action's probability by its value: the expectation over actions, without sampling.

    L = -sum_t w_t sum_a pi(a | s_t) Q(s_t, a),   with Q held constant

    For two actions this is the measure-valued derivative, Q(s, 1) - Q(s, 0) times the probability's.

    Args:
        pi: the policy at T states, batch shape `[T]`.
        action_values: Q(s_t, a), shape `[T, A]`; not read where pi forbids the action.
        weights: w, a scalar or `[T]`.

    Returns: the loss, a scalar; minus the mean value of the policy's actions.
    Raises: ValueError: not a Categorical (nor a Softmax or EpsilonGreedy), shapes that do not fit.
    Differentiable in: pi.
    Reference: Sutton et al. (2001), Comparing policy-gradient algorithms; Ciosek & Whiteson (2020), Expected
        policy gradients for reinforcement learning.
    """
    if not isinstance(pi, Categorical) or len(pi.batch_shape) != 1:
        raise ValueError(f"pi must be a Categorical with batch shape [T]; got {pi!r}")
    probs, values = widen(pi.probs, as_float_array("action_values", action_values))
    if values.shape != probs.shape:
        raise ValueError(f"action_values must have shape [T, A] = {probs.shape}; got {values.shape}")
    weights = as_step_weights("weights", weights, probs[:, 0])
    read = (probs > 0) & (weights != 0)[:, None]
    values = jnp.where(read, jax.lax.stop_gradient(values), 0)
    return -jnp.sum(weights * jnp.sum(probs * values, axis=-1))


def pathwise_loss(
    key: Key,
    objective: Objective,
    states: Any,
    pi: distrax.Distribution,
    weights: ArrayLike = 1.0,
    *,
    temperature: ArrayLike = 0.0,
) -> Array:
    """Differentiate the value of one sampled action through the action (reparameterization).

    L = -sum_t w_t [ Q(s_t, a_t) - tau log pi(a_t | s_t) ],   a_t = mu(s_t) + sigma(s_t) epsilon_t

    Args:
        key: of the actions' noise.
        objective: Q(state, action) of one state and one action `[N]`, differentiable in the action.
        states: a tree of arrays `[T, ...]`.
        pi: the policy at these states, batch shape `[T]`: any whose samples are reparameterized.
        weights: w, a scalar or `[T]`.
        temperature: tau, of the entropy in the objective, as in soft actor-critic.

    Returns: the loss, a scalar; minus an unbiased estimate of the objective.
    Raises: ValueError: actions that are integers, shapes that do not fit.
    Cost: T evaluations of the objective and of its gradient.
    Differentiable in: pi (and in what the objective closes over: differentiate in the policy's parameters only).
    Reference: Heess et al. (2015), Learning continuous control policies by stochastic value gradients;
        Haarnoja et al. (2018), Soft actor-critic, equation 13.
    """
    _check_batch(pi)
    if not jnp.issubdtype(pi.dtype, jnp.floating):
        raise ValueError(f"pi must have continuous actions, through which a derivative can pass; got {pi!r}")
    actions, log_probs = pi.sample_and_log_prob(seed=key)
    states, actions = _without_padding(weights, states, actions)
    values, log_probs = widen(jax.vmap(_scalar(objective))(states, actions), log_probs)
    return -weighted_sum(values - as_scalar("temperature", temperature, values) * log_probs, weights)


def measure_valued_loss(
    key: Key, objective: Objective, states: Any, pi: DiagonalNormal, weights: ArrayLike = 1.0
) -> Array:
    """Differentiate the mean value of a Gaussian's actions as a difference of two means.

    d/d mu_i E[Q]        = (E[Q(a; mu_i + sigma_i W)] - E[Q(a; mu_i - sigma_i W)]) / (sigma_i sqrt(2 pi))
    d/d log sigma_i E[Q] = E[Q(a; mu_i + sigma_i M)] - E[Q(a)]

    Q(a; x) has x for a_i and the policy's action for the rest; W is a Weibull(sqrt 2, 2) (or Rayleigh) number and
    M a double-sided Maxwell one. Needs no derivative of Q, so that Q may have jumps or be given by a simulator.
    The terms of each difference are coupled: all come from the same three normal numbers z, W = |(z_1, z_2)|,
    M = |z| with the sign of z_1, and a = mu + sigma z_1.

    Args:
        key: of the noise.
        objective: Q(state, action) of one state and one action `[N]`.
        states: a tree of arrays `[T, ...]`.
        pi: the policy at these states, batch shape `[T]`.
        weights: w, a scalar or `[T]`.

    Returns: the loss, a scalar; minus the values of one action each.
    Raises: ValueError: not a DiagonalNormal, shapes that do not fit.
    Cost: 3 N + 1 evaluations of the objective for each state, at once.
    Differentiable in: pi.
    Reference: Mohamed, Rosca, Figurnov & Mnih (2020), Monte Carlo gradient estimation in machine learning,
        section 6 and table 1; the coupling: section 7.2.
    """
    _check_batch(pi)
    if not isinstance(pi, DiagonalNormal):
        raise ValueError(f"pi must be a DiagonalNormal; got {pi!r}")
    loc, log_std = widen(pi.loc, pi.log_std)
    states, loc, log_std = _without_padding(weights, states, loc, log_std)
    z = noise.normal(key, (loc.shape[0], 3, loc.shape[1]), loc.dtype)
    differences = jax.vmap(lambda *one: _measure_valued(_scalar(objective), *one))
    of_mean, of_log_std, values = differences(*jax.lax.stop_gradient((states, loc, log_std, z)))
    # The value's derivative is put in by hand: each difference times the parameter, which is worth 0.
    change = of_mean * (loc - jax.lax.stop_gradient(loc))
    change += of_log_std * (log_std - jax.lax.stop_gradient(log_std))
    return -weighted_sum(jax.lax.stop_gradient(values) + jnp.sum(change, axis=-1), weights)


def _measure_valued(objective: Objective, state: Any, loc: Array, log_std: Array, z: Array):
    """Derivatives in the mean and in log_std, `[N]` each, and the value of one action, at one state."""
    diagonal = jnp.eye(len(loc), dtype=bool)

    def evaluate(standardized):
        action = loc + times_std(standardized, log_std)
        return as_float_array("objective's value", objective(state, action)).astype(loc.dtype)

    def evaluate_replaced(entries):
        """Values of the action with its i-th entry replaced, for each i."""
        return jax.vmap(evaluate)(jnp.where(diagonal, entries[None], z[0][None]))

    weibull = jnp.sqrt(jnp.sum(jnp.square(z[:2]), axis=0))
    maxwell = jnp.copysign(jnp.sqrt(jnp.sum(jnp.square(z), axis=0)), z[0])
    value = evaluate(z[0])
    of_mean = over_std(evaluate_replaced(weibull) - evaluate_replaced(-weibull), log_std)
    return of_mean / math.sqrt(2 * math.pi), evaluate_replaced(maxwell) - value, value


def _without_padding(weights: ArrayLike, *trees: Any) -> tuple[Any, ...]:
    """Trees of arrays `[T, ...]` with 0 at steps of weight 0: no NaN there can reach a gradient."""
    padding = as_array("weights", weights) == 0

    def clean(leaf: ArrayLike) -> Array:
        array = jnp.asarray(leaf)
        at = padding if padding.ndim == 0 else padding.reshape(-1, *(1,) * (array.ndim - 1))
        return jnp.where(at, jnp.zeros((), array.dtype), array)

    return tuple(jax.tree.map(clean, tree) for tree in trees)


def _scalar(objective: Objective) -> Objective:
    """The objective, its value checked to be one number."""

    def checked(state: Any, action: Array) -> Array:
        value = objective(state, action)
        if jnp.shape(value) != ():
            raise ValueError(f"objective must return a scalar; got shape {jnp.shape(value)}")
        return value

    return checked


def _check_batch(pi: distrax.Distribution) -> None:
    if not isinstance(pi, distrax.Distribution) or len(pi.batch_shape) != 1:
        raise ValueError(f"pi must be a distribution with batch shape [T]; got {pi!r}")
