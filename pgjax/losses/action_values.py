"""Policy gradients from an action-value function: over all actions, or through the action."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import distrax
import jax
import jax.numpy as jnp

from pgjax.distributions import Categorical
from pgjax.distributions.base import Distribution, as_float_array, widen
from pgjax.losses.policy_gradient import weighted_sum
from pgjax.returns.arrays import as_scalar, as_step_weights
from pgjax.types import Array, ArrayLike, Key

Objective = Callable[[Any, Array], Array]


def all_actions_loss(pi: Categorical, action_values: ArrayLike, weights: ArrayLike = 1.0) -> Array:
    """Weigh every action's probability by its value: the expectation over actions, without sampling.

    `L = -sum_t w_t sum_a pi(a | s_t) Q(s_t, a)`, with Q held constant.

    For two actions this is the measure-valued derivative, Q(s, 1) - Q(s, 0) times the probability's.

    Args:
        pi: the policy at T states, batch shape `[T]`.
        action_values: Q(s_t, a), shape `[T, A]`; not read where pi forbids the action.
        weights: w, a scalar or `[T]`.

    Returns:
        the loss, a scalar; minus the weighted sum of the values of the policy, the means over its actions.
    Raises:
        ValueError: not a Categorical (nor a Softmax or EpsilonGreedy), shapes that do not fit.
    Differentiable in:
        pi.
    Reference:
        Sutton et al. (2001), Comparing policy-gradient algorithms; Ciosek & Whiteson (2020), Expected policy
        gradients for reinforcement learning.
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

    `L = -sum_t w_t [ Q(s_t, a_t) - tau log pi(a_t | s_t) ]`, `a_t = mu(s_t) + sigma(s_t) epsilon_t`

    Args:
        key: of the actions' noise.
        objective: Q(state, action) of one state and one action `[N]`, differentiable in the action.
        states: a tree of arrays `[T, ...]`.
        pi: the policy at these states, batch shape `[T]`: any whose samples are reparameterized.
        weights: w, a scalar or `[T]`; a step of weight 0 has no part, whatever its state and policy hold.
        temperature: tau, of the entropy in the objective, as in soft actor-critic.

    Returns:
        the loss, a scalar; minus an unbiased estimate of the objective.
    Raises:
        ValueError: actions that are integers, an objective that is no scalar, a negative temperature, shapes that
            do not fit.
    Cost:
        T evaluations of the objective and of its gradient.
    Differentiable in:
        pi (and in what the objective closes over: differentiate in the policy's parameters only).
    Reference:
        Heess et al. (2015), Learning continuous control policies by stochastic value gradients; Haarnoja et al.
        (2018), Soft actor-critic, equation 13.
    """
    check_batch(pi)
    if not jnp.issubdtype(pi.dtype, jnp.floating):
        raise ValueError(f"pi must have continuous actions, through which a derivative can pass; got {pi!r}")
    array = as_step_weights("weights", weights, jnp.zeros(pi.batch_shape))
    states, pi = without_padded_inputs(array, states, pi)
    actions, log_probs = pi.sample_and_log_prob(seed=key)
    values = jax.vmap(functools.partial(value_of, objective))(states, actions)
    values, log_probs = widen(values, log_probs)
    return -weighted_sum(values - as_scalar("temperature", temperature, values, 0) * log_probs, weights)


def without_padded_inputs(weights: Array, states: Any, pi: distrax.Distribution) -> tuple[Any, Any]:
    """States and policy with those of the first step in place of each step of weight 0: no NaN gets in.

    Policies that are no pgjax distribution stay as they are, their arrays need not lead with the batch.
    """
    inside = weights != 0

    def replace(leaf):
        if not hasattr(leaf, "shape") or leaf.shape[:1] != weights.shape:
            raise ValueError(f"states must be a tree of arrays [T, ...] with T = {len(weights)}; got {leaf!r}")
        if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
            return leaf
        leaf = jnp.asarray(leaf)
        first = jnp.where(jnp.any(inside), leaf[jnp.argmax(inside)], jnp.zeros_like(leaf[0]))
        selected = inside.reshape((-1,) + (1,) * (leaf.ndim - 1))
        return jnp.where(selected, leaf, jax.lax.stop_gradient(first)[None])

    if isinstance(pi, Distribution):
        pi = jax.tree.map(replace, pi)
    return jax.tree.map(replace, states), pi


def value_of(objective: Objective, state: Any, action: Array) -> Array:
    """The objective's value. Raises: ValueError: not a scalar."""
    value = as_float_array("objective's value", objective(state, action))
    if value.ndim != 0:
        raise ValueError(f"objective must return a scalar; got shape {value.shape}")
    return value


def check_batch(pi: distrax.Distribution) -> None:
    if not isinstance(pi, distrax.Distribution) or len(pi.batch_shape) != 1:
        raise ValueError(f"pi must be a distribution with batch shape [T]; got {pi!r}")
