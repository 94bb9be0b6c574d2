"""Advantages of one trajectory's actions; where episodes end is told as for the returns of `multi_step`."""

from __future__ import annotations

import jax

from pgjax.returns.arrays import as_scalar, as_steps
from pgjax.returns.recursions import ends_of, sum_backward
from pgjax.types import Array, ArrayLike


def gae(
    rewards: ArrayLike,
    values: ArrayLike,
    next_values: ArrayLike,
    terminated: ArrayLike | None = None,
    truncated: ArrayLike | None = None,
    *,
    discount: ArrayLike,
    lambda_: ArrayLike,
    stop_gradient: bool = True,
) -> Array:
    """Estimate the advantage of each action over the policy's mean (generalized advantage estimation).

    `A_t = delta_t + gamma lambda A_{t+1}`, `delta_t = r_t + gamma V(s_{t+1}) - V(s_t)`

    lambda = 0 gives the TD errors. Where `next_values[t]` is `values[t + 1]` inside an episode, as for values of
    one network on the same observations, lambda = 1 gives the discounted returns less the values, and A + V are
    the lambda returns, the usual targets of V.

    Args:
        values: V(s_t), shape `[T]`.
        next_values: V(s_{t+1}) before any reset, shape `[T]`: not `values` shifted, wherever an episode was
            truncated; not read where terminated.
        rewards, terminated, truncated, discount, lambda_: as for `lambda_returns`.
        stop_gradient: whether derivatives are zero, so that a policy loss cannot train the values.

    Returns:
        shape `[T]`.
    Raises:
        ValueError: shapes that do not fit, rates known and out of [0, 1].
    Differentiable in:
        nothing; with `stop_gradient=False` rewards, values, next_values.
    Reference:
        Schulman et al. (2016), High-dimensional continuous control using generalized advantage estimation,
        equation 16. Truncation: Pardo et al. (2018), Time limits in reinforcement learning.
    """
    rewards, values, bootstrap = as_steps(rewards=rewards, values=values, next_values=next_values)
    bootstrap, cut = ends_of(bootstrap, terminated, truncated)
    gamma, decay = as_scalar("discount", discount, rewards, 0, 1), as_scalar("lambda_", lambda_, rewards, 0, 1)
    advantages = sum_backward(rewards + gamma * bootstrap - values, gamma * decay, cut)
    return jax.lax.stop_gradient(advantages) if stop_gradient else advantages
