"""Score-function losses: REINFORCE, with entropy in the objective, and the actor-critic."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pgjax.returns import discount_weights, discounted_returns, padding_weights
from pgjax.returns.arrays import as_flags, as_scalar, as_step_weights, as_steps, without_padding
from pgjax.types import Array, ArrayLike


def policy_gradient_loss(log_probs: ArrayLike, advantages: ArrayLike, weights: ArrayLike = 1.0) -> Array:
    """Weigh the log probability of each action by its advantage.

    `L = -sum_t w_t A_t log pi(a_t | s_t)`, with A held constant.

    Its gradient is an estimate of minus the policy gradient; its value means nothing. A step of weight 0 has no
    part in either, whatever numbers it holds.

    Args:
        log_probs: log pi(a_t | s_t) of actions as they were sampled (not reparameterized), shape `[T]`.
        advantages: A, shape `[T]`: of returns, less a baseline that the action has no part in, or of `gae`.
        weights: w, a scalar or `[T]`; such as `padding_weights` times `discount_weights`.

    Returns:
        the loss, a scalar.
    Raises:
        ValueError: shapes that do not fit.
    Differentiable in:
        log_probs.
    Reference:
        Williams (1992), Simple statistical gradient-following algorithms for connectionist reinforcement learning;
        Sutton et al. (2000), Policy gradient methods with function approximation.
    """
    log_probs, advantages = as_steps(log_probs=log_probs, advantages=advantages)
    weights = as_step_weights("weights", weights, log_probs)
    log_probs, advantages = without_padding(weights, log_probs, jax.lax.stop_gradient(advantages))
    return -jnp.sum(weights * advantages * log_probs)


def reinforce_loss(
    log_probs: ArrayLike,
    rewards: ArrayLike,
    ended: ArrayLike | None = None,
    baseline: ArrayLike = 0.0,
    *,
    discount: ArrayLike,
    discount_steps: bool = True,
) -> Array:
    """Weigh the log probability of each action of a whole episode by the return that followed.

    `L = -sum_t gamma^t (G_t - b_t) log pi(a_t | s_t)`, with G and b held constant.

    The mean of its gradient over episodes is minus the gradient of E[G_0], whatever the baseline, as long as the
    actions of this episode from t on have no part in b_t.

    Args:
        log_probs: log pi(a_t | s_t), shape `[T]`.
        rewards: r, shape `[T]`.
        ended: flags `[T]`, where the episode ended; steps after the first one are padding. None for an episode
            of all T steps.
        baseline: b, a scalar or `[T]`: 0, a constant, state values V(s_t), `leave_one_out_baseline` or
            `optimal_baseline`.
        discount: gamma.
        discount_steps: whether step t is weighed by gamma^t. Most implementations leave that out; what they
            follow then is not the gradient of the discounted return, nor of any function (at gamma = 1 there is
            no difference).

    Returns:
        the loss, a scalar.
    Raises:
        ValueError: shapes that do not fit.
    Differentiable in:
        log_probs.
    Reference:
        Sutton & Barto (2018), Reinforcement learning, section 13.4. The missing factor: Nota & Thomas (2020), Is
        the policy gradient a gradient?
    """
    log_probs, rewards = as_steps(log_probs=log_probs, rewards=rewards)
    weights, rewards, ended = _episode(rewards, ended, discount, discount_steps)
    advantages = discounted_returns(rewards, ended, discount=discount)
    advantages = advantages - as_step_weights("baseline", baseline, rewards)
    return policy_gradient_loss(log_probs, advantages, weights)


def entropy_regularized_loss(
    log_probs: ArrayLike,
    entropies: ArrayLike,
    rewards: ArrayLike,
    ended: ArrayLike | None = None,
    baseline: ArrayLike = 0.0,
    *,
    discount: ArrayLike,
    temperature: ArrayLike,
    discount_steps: bool = True,
) -> Array:
    """Weigh as `reinforce_loss`, where the policy's entropy at every visited state is a reward too.

    `L = -sum_t gamma^t [(G_t - b_t) log pi(a_t | s_t) + tau H(s_t)]`, `G_t = r_t + tau H(s_t) + gamma G_{t+1}`

    The mean of its gradient is minus that of `E[sum_t gamma^t (r_t + tau H(s_t))]`. The usual entropy bonus
    (`actor_critic_loss`) is its last term alone: it does not seek states where entropy is high.

    Args:
        entropies: H(s_t) of the policy, shape `[T]`.
        temperature: tau.
        log_probs, rewards, ended, baseline, discount, discount_steps: as for `reinforce_loss`.

    Returns:
        the loss, a scalar.
    Raises:
        ValueError: shapes that do not fit, a temperature known and negative.
    Differentiable in:
        log_probs, entropies.
    Reference:
        Ahmed et al. (2019), Understanding the impact of entropy on policy optimization, section 2.
    """
    log_probs, entropies, rewards = as_steps(log_probs=log_probs, entropies=entropies, rewards=rewards)
    tau = as_scalar("temperature", temperature, rewards, 0)
    weights, _, _ = _episode(rewards, ended, discount, discount_steps)
    regularized = rewards + tau * jax.lax.stop_gradient(entropies)
    score_part = reinforce_loss(
        log_probs, regularized, ended, baseline, discount=discount, discount_steps=discount_steps
    )
    return score_part - tau * weighted_sum(entropies, weights)


def value_loss(values: ArrayLike, targets: ArrayLike, weights: ArrayLike = 1.0) -> Array:
    """Sum half the squared errors of the values.

    `L = sum_t w_t (V(s_t) - y_t)^2 / 2`, with y held constant.

    Args:
        values: V(s_t), shape `[T]`.
        targets: y, shape `[T]`: returns of any kind.
        weights: w, a scalar or `[T]`; a step of weight 0 has no part, whatever numbers it holds.

    Returns:
        the loss, a scalar.
    Raises:
        ValueError: shapes that do not fit.
    Differentiable in:
        values.
    """
    values, targets = as_steps(values=values, targets=targets)
    weights = as_step_weights("weights", weights, values)
    values, targets = without_padding(weights, values, jax.lax.stop_gradient(targets))
    return 0.5 * jnp.sum(weights * jnp.square(values - targets))


def actor_critic_loss(
    log_probs: ArrayLike,
    advantages: ArrayLike,
    values: ArrayLike,
    targets: ArrayLike,
    entropies: ArrayLike,
    weights: ArrayLike = 1.0,
    *,
    value_coefficient: ArrayLike = 1.0,
    entropy_coefficient: ArrayLike = 0.01,
) -> Array:
    """Add up the losses of the advantage actor-critic.

    `L = policy_gradient_loss + c_v value_loss - c_e sum_t w_t H(s_t)`

    Without gamma^t, as it is always run; give `discount_weights` as weights for the gradient of the discounted
    return.

    Args:
        log_probs, advantages, weights: as for `policy_gradient_loss`.
        values, targets: as for `value_loss`.
        entropies: H(s_t) of the policy, shape `[T]`.
        value_coefficient: c_v, of half the squared error.
        entropy_coefficient: c_e; 0.01 as in the reference.

    Returns:
        the loss, a scalar.
    Raises:
        ValueError: shapes that do not fit.
    Differentiable in:
        log_probs, values, entropies.
    Reference:
        Mnih et al. (2016), Asynchronous methods for deep reinforcement learning, section 4.
    """
    log_probs, advantages, values, targets, entropies = as_steps(
        log_probs=log_probs, advantages=advantages, values=values, targets=targets, entropies=entropies
    )
    critic = as_scalar("value_coefficient", value_coefficient, values) * value_loss(values, targets, weights)
    bonus = as_scalar("entropy_coefficient", entropy_coefficient, values) * weighted_sum(entropies, weights)
    return policy_gradient_loss(log_probs, advantages, weights) + critic - bonus


def weighted_sum(terms: Array, weights: ArrayLike) -> Array:
    """sum_t w_t x_t, in which a term of weight 0 has no part."""
    weights = as_step_weights("weights", weights, terms)
    return jnp.sum(weights * without_padding(weights, terms)[0])


def _episode(
    rewards: Array, ended: ArrayLike | None, discount: ArrayLike, discount_steps: bool
) -> tuple[Array, Array, Array]:
    """Weights of an episode's steps, its rewards without what the padding holds, and where it ended."""
    ended = as_flags("ended", ended, len(rewards))
    inside = padding_weights(ended)
    weights = inside * discount_weights(ended, discount=discount) if discount_steps else inside
    return weights, jnp.where(inside > 0, rewards, 0), ended
