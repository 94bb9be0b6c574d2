"""What a memoryless policy is worth, exactly: values and visits by linear solves, or recursion to a time limit."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from pgjax.checks import check_count
from pgjax.environments.chains import Chain, discounted_sum, end_endless, find_endless, policy_chain
from pgjax.environments.checks import as_fraction
from pgjax.environments.tabular import TabularMDP, on_device
from pgjax.types import Array, ArrayLike


def policy_value(
    mdp: TabularMDP, policy: ArrayLike, discount: ArrayLike = 1.0, *, time_limit: int | None = None
) -> Array:
    """The expected discounted return of a memoryless policy from every state.

    `v = (I - gamma P)^-1 r` among non-terminal states, or with a time limit H: `v_H = r + gamma P v_{H-1}`,
    `v_0 = 0`.

    With discount 1 and no time limit a value is finite where the episode ends with probability 1, or goes on for
    ever with rewards 0; it is -inf where rewards below 0 may recur for ever (also beside others above 0) and +inf
    where only rewards above 0 may. However seldom episodes end, values of rewards of one sign are accurate; out of
    the dtype's range they are infinite, -inf where rewards have both signs.

    Args:
        mdp: the environment.
        policy: probabilities of the actions by observation, shape `[O, A]`.
        discount: gamma in [0, 1]; clipped to that where it is traced.
        time_limit: steps left, >= 1; None for no limit.

    Returns:
        shape `[S]`, 0 in terminal states, in JAX's default floating dtype.
    Raises:
        ValueError: wrong shape, no probabilities (where not traced), discount out of range, time_limit < 1.
    Cost:
        S^3; with a time limit H products `[S, S] [S]`.
    Differentiable in:
        policy, discount, and the environment's numbers; by 0 where a value is infinite.
    """
    discount, chain = as_discount(discount), policy_chain(mdp, policy)
    if time_limit is not None:
        check_count("time_limit", time_limit)
        return _finite_horizon_value(chain, discount, time_limit)
    recurrent, minus, plus, _ = find_endless(chain, discount)
    chain = end_endless(chain, recurrent)
    value = discounted_sum(chain, chain.reward, discount)
    return jnp.where(minus | jnp.isnan(value), -jnp.inf, jnp.where(plus, jnp.inf, value))


def action_value(
    mdp: TabularMDP, policy: ArrayLike, discount: ArrayLike = 1.0, *, time_limit: int | None = None
) -> Array:
    """The expected discounted return after each action, `q = r + gamma P v`, shape `[S, A]`; see `policy_value`.

    Where next states may be worth -inf or +inf, -inf outweighs.

    Args:
        mdp, policy, discount, time_limit: as for `policy_value`; the action counts as the first of the steps left.

    Returns:
        shape `[S, A]`, 0 in terminal states.
    Raises:
        ValueError: as `policy_value`.
    Differentiable in:
        policy, discount, and the environment's numbers.
    """
    discount, chain = as_discount(discount), policy_chain(mdp, policy)
    if time_limit is None:
        value = policy_value(mdp, policy, discount)
    else:
        check_count("time_limit", time_limit)
        value = _finite_horizon_value(chain, discount, time_limit - 1) if time_limit > 1 else chain.reward * 0
    return chain.action_reward + discount * expectation(chain.action_transition, value)


def start_value(
    mdp: TabularMDP, policy: ArrayLike, discount: ArrayLike = 1.0, *, time_limit: int | None = None
) -> Array:
    """The objective J: the expected discounted return of an episode, shape `[]`; see `policy_value`.

    Where one start is worth -inf and another +inf, it is -inf.

    Args:
        mdp, policy, discount, time_limit: as for `policy_value`.

    Returns:
        shape `[]`.
    Raises:
        ValueError: as `policy_value`.
    Differentiable in:
        policy, discount, and the environment's numbers.
    """
    return expectation(on_device(mdp).initial, policy_value(mdp, policy, discount, time_limit=time_limit))


def occupancy(
    mdp: TabularMDP, policy: ArrayLike, discount: ArrayLike = 1.0, *, time_limit: int | None = None
) -> Array:
    """The expected discounted number of steps taken in each state: `d(s) = sum_t gamma^t Pr(s_t = s)`.

    `d = (I - gamma P^T)^-1 initial`; it is not normalized, so that `start_value = sum_s d(s) r(s)`. With discount
    1 and no time limit it is +inf in the states that an endless episode may visit again and again.

    Args:
        mdp, policy, discount, time_limit: as for `policy_value`.

    Returns:
        shape `[S]`, 0 in terminal states.
    Raises:
        ValueError: as `policy_value`.
    Cost:
        S^3; with a time limit H products `[S] [S, S]`.
    Differentiable in:
        policy, discount, and the environment's numbers; by 0 where it is infinite.
    """
    discount, chain = as_discount(discount), policy_chain(mdp, policy)
    initial = on_device(mdp).initial
    if time_limit is not None:
        check_count("time_limit", time_limit)

        def advance(now, _):
            return discount * jnp.einsum("s,st->t", now, chain.transition, precision="highest"), now

        return jnp.sum(jax.lax.scan(advance, initial, length=time_limit)[1], axis=0)
    recurrent, _, _, reachable = find_endless(chain, discount)
    visits = discounted_sum(end_endless(chain, recurrent), initial, discount, transpose=True)
    visits = jnp.where(jnp.isnan(visits), jnp.inf, visits)  # out of the dtype's range
    reached = jnp.any(reachable & (initial > 0)[:, None], axis=0)
    return jnp.where(recurrent, jnp.where(reached, jnp.inf, 0), visits)


def as_discount(discount: ArrayLike) -> Array:
    """The discount as a scalar in [0, 1], checked where it is known and clipped where it is traced."""
    return as_fraction("discount", discount)


def expectation(probability: Array, value: Array) -> Array:
    """sum_s p(s) value(s) over the last axis: 0 times an infinite value is 0, and -inf outweighs +inf."""
    value = jnp.broadcast_to(value, probability.shape)
    known = jnp.sum(probability * jnp.where(jnp.isfinite(value), value, 0), axis=-1)
    minus, plus = (jnp.any((probability > 0) & (value == x), axis=-1) for x in (-jnp.inf, jnp.inf))
    return jnp.where(minus, -jnp.inf, jnp.where(plus, jnp.inf, known))


@functools.partial(jax.jit, static_argnames="time_limit")
def _finite_horizon_value(chain: Chain, discount: Array, time_limit: int) -> Array:
    def advance(value, _):
        expected = jnp.einsum("st,t->s", chain.transition, value, precision="highest")
        return chain.reward + discount * expected, None

    return jax.lax.scan(advance, jnp.zeros_like(chain.reward), length=time_limit)[0]
