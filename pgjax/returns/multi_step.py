"""Returns over several steps, which tell the end of an episode from the end of the data.

All take one trajectory, whose step t goes from s_t by a_t to r_t and s_{t+1}. An episode that ended by itself is
`terminated` there: nothing comes after it, and its next value counts 0. One that was stopped (a time limit) is
`truncated`: what would have come is estimated by the value of the state it was stopped in, which is the state
before the reset. Both cut the recursion, so that a trajectory may hold several episodes, or padding. The last
step counts as truncated unless it is terminated.

rlax's recursions, given discounts of 0 and lambdas of 0 at these ends, are the same on finite numbers (the tests
compare them); they are not called here because they multiply what lies beyond an end by 0, so that NaN in padding
would reach every step before it.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from pgjax.checks import check_count
from pgjax.returns.arrays import as_scalar, as_steps
from pgjax.returns.recursions import ends_of, sum_backward
from pgjax.types import Array, ArrayLike


def discounted_returns(
    rewards: ArrayLike,
    terminated: ArrayLike | None = None,
    truncated: ArrayLike | None = None,
    next_values: ArrayLike | None = None,
    *,
    discount: ArrayLike,
    stop_gradient: bool = True,
) -> Array:
    """Sum what is still to come, at each step.

    `G_t = r_t + gamma G_{t+1}`

    Args:
        rewards: r, shape `[T]`.
        terminated, truncated: flags `[T]`, None for nowhere; see the module.
        next_values: V(s_{t+1}) before any reset, shape `[T]`, read where truncated and at the last step; None
            for 0, which is right for episodes that are there as a whole.
        discount: gamma.
        stop_gradient: whether derivatives are zero.

    Returns:
        shape `[T]`.
    Raises:
        ValueError: shapes that do not fit, rates known and out of [0, 1].
    Differentiable in:
        nothing; with `stop_gradient=False` rewards, next_values.
    """
    if next_values is None:
        (rewards,) = as_steps(rewards=rewards)
        next_values = jnp.zeros_like(rewards)
    rewards, next_values = as_steps(rewards=rewards, next_values=next_values)
    _, cut = ends_of(next_values, terminated, truncated)
    return lambda_returns(
        rewards,
        jnp.where(cut, next_values, 0),
        terminated,
        truncated,
        discount=discount,
        lambda_=1.0,
        stop_gradient=stop_gradient,
    )


def lambda_returns(
    rewards: ArrayLike,
    next_values: ArrayLike,
    terminated: ArrayLike | None = None,
    truncated: ArrayLike | None = None,
    *,
    discount: ArrayLike,
    lambda_: ArrayLike,
    stop_gradient: bool = True,
) -> Array:
    """Mix the returns of all numbers of steps, as the targets of TD(lambda).

    `G_t = r_t + gamma ((1 - lambda) V(s_{t+1}) + lambda G_{t+1})`

    lambda = 0 gives the one-step targets, lambda = 1 the discounted returns.

    Args:
        rewards: r, shape `[T]`.
        next_values: V(s_{t+1}) before any reset, shape `[T]`; not read where terminated.
        terminated, truncated: flags `[T]`, None for nowhere; see the module.
        discount, lambda_: gamma and lambda.
        stop_gradient: whether derivatives are zero, as for targets.

    Returns:
        shape `[T]`.
    Raises:
        ValueError: shapes that do not fit, rates known and out of [0, 1].
    Differentiable in:
        nothing; with `stop_gradient=False` rewards, next_values.
    Reference:
        Sutton & Barto (2018), Reinforcement learning, equation 12.18.
    """
    rewards, bootstrap = as_steps(rewards=rewards, next_values=next_values)
    bootstrap, cut = ends_of(bootstrap, terminated, truncated)
    gamma, decay = as_scalar("discount", discount, rewards, 0, 1), as_scalar("lambda_", lambda_, rewards, 0, 1)
    ahead = jnp.where(cut, bootstrap, (1 - decay) * bootstrap)
    returns = sum_backward(rewards + gamma * ahead, gamma * decay, cut)
    return jax.lax.stop_gradient(returns) if stop_gradient else returns


def n_step_returns(
    rewards: ArrayLike,
    next_values: ArrayLike,
    terminated: ArrayLike | None = None,
    truncated: ArrayLike | None = None,
    *,
    discount: ArrayLike,
    num_steps: int,
    stop_gradient: bool = True,
) -> Array:
    """Sum n rewards and the value after them; fewer where the episode or the trajectory ends before.

    `G_t = r_t + gamma r_{t+1} + ... + gamma^(n-1) r_{t+n-1} + gamma^n V(s_{t+n})`

    Args:
        rewards, next_values, terminated, truncated, discount, stop_gradient: as for `lambda_returns`.
        num_steps: n.

    Returns:
        shape `[T]`.
    Raises:
        ValueError: shapes that do not fit, rates known and out of [0, 1], num_steps below 1.
    Cost:
        min(n, T) T multiplications and additions.
    Differentiable in:
        nothing; with `stop_gradient=False` rewards, next_values.
    Reference:
        Sutton & Barto (2018), Reinforcement learning, equation 7.1.
    """
    check_count("num_steps", num_steps)
    rewards, bootstrap = as_steps(rewards=rewards, next_values=next_values)
    bootstrap, cut = ends_of(bootstrap, terminated, truncated)
    gamma = as_scalar("discount", discount, rewards, 0, 1)
    returns = _sum_steps(rewards, bootstrap, cut, gamma, min(int(num_steps), len(rewards)))
    return jax.lax.stop_gradient(returns) if stop_gradient else returns


# Jitted so that calls outside of jit compile it once, not every time.
@functools.partial(jax.jit, static_argnums=4)
def _sum_steps(rewards: Array, bootstrap: Array, cut: Array, gamma: Array, num_steps: int) -> Array:
    """Returns of up to num_steps steps, each number of steps from the one below it."""

    def one_more(_, returns):
        return rewards + gamma * jnp.where(cut, bootstrap, jnp.roll(returns, -1))

    return jax.lax.fori_loop(1, num_steps, one_more, rewards + gamma * bootstrap)
