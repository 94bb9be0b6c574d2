"""What a memoryless policy is worth, exactly: values and visits by linear solves, or recursion to a time limit."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pgjax.checks import check_count
from pgjax.environments.checks import as_fraction
from pgjax.environments.tabular import TabularMDP, check_policy, on_device
from pgjax.types import Array, ArrayLike


class Chain(NamedTuple):
    """An environment under a policy, among the states where the episode goes on; all else is 0.

    Fields:
        action_transition: of each action, shape `[S, A, S]`.
        action_reward: shape `[S, A]`.
        probability: of the actions, shape `[S, A]`.
        transition: under the policy, shape `[S, S]`.
        reward: under the policy, shape `[S]`.
        ending: probability that the step is the last, shape `[S]`.
    """

    action_transition: Array
    action_reward: Array
    probability: Array
    transition: Array
    reward: Array
    ending: Array


class Endless(NamedTuple):
    """States of an undiscounted chain that has no end there, booleans (of a discounted one: none).

    Fields:
        recurrent: visited again and again once reached, shape `[S]`.
        minus, plus: worth -inf or +inf, shape `[S]`.
        reachable: from a state (row) to another or itself, shape `[S, S]`.
    """

    recurrent: Array
    minus: Array
    plus: Array
    reachable: Array


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


def policy_chain(mdp: TabularMDP, policy: ArrayLike) -> Chain:
    """The environment under a policy `[O, A]`, checked as far as its numbers are known."""
    check_policy(mdp, policy)
    mdp = on_device(mdp)
    going = ~mdp.terminal
    probability = jnp.asarray(policy, mdp.reward.dtype)[mdp.observation] * going[:, None].astype(mdp.reward.dtype)
    arriving = jnp.where(going[:, None, None], mdp.transition, 0)
    transition = jnp.einsum("sa,sat->st", probability, arriving, precision="highest")
    reward = jnp.where(going[:, None], mdp.reward, 0)
    return Chain(
        action_transition=jnp.where(going[None, None], arriving, 0),
        action_reward=reward,
        probability=probability,
        transition=jnp.where(going[None], transition, 0),
        reward=jnp.sum(probability * reward, axis=1),
        ending=jnp.sum(jnp.where(going[None], 0, transition), axis=1),
    )


# Jitted, so that calls outside of jit compile the loops once and not every time.
@functools.partial(jax.jit, static_argnames="transpose")
def discounted_sum(chain: Chain, right: Array, *discounts: Array, transpose: bool = False) -> Array:
    """The solution x of x = right + gamma P x, or of x = right + gamma P^T x, gamma the product of the discounts.

    By elimination in the manner of Grassmann, Taksar and Heyman: a pivot, 1 - gamma P[s, s] among the states left,
    is the sum of what leaves s, so that nothing cancels, and with right sides of one sign each entry is accurate
    however seldom an episode ends. States that nothing leaves (recurrent ones after `end_endless`) end there.

    Args:
        chain: states, and how they follow one another.
        right: shape `[S, ...]`.
        discounts: scalars whose product is gamma.
        transpose: whether P is transposed.

    Cost:
        S updates of `[S, S]`, then triangular solves.
    Differentiable in:
        the transitions, right and discounts, by the equation.
    Reference:
        Grassmann, Taksar & Heyman (1985), Regenerative analysis and steady state distributions.
    """
    product, missing = discounts[0], 1 - discounts[0]
    for discount in discounts[1:]:
        product, missing = product * discount, missing + product * (1 - discount)
    matrix = product * (chain.transition.T if transpose else chain.transition)
    leaving = jnp.any(chain.transition > 0, axis=1) | (chain.ending > 0)
    leak = jnp.where(leaving, missing + product * chain.ending, 1)
    lower, upper = _eliminate(*jax.lax.stop_gradient((product * chain.transition, leak)))

    def solve(right, transposed):
        first, second = (upper, lower) if transposed else (lower, upper)
        for factor in (first, second):
            right = jax.scipy.linalg.solve_triangular(
                factor, right, trans=int(transposed), lower=factor is lower, unit_diagonal=factor is lower
            )
        return right

    flat = jax.lax.custom_linear_solve(
        lambda x: x - jnp.matmul(matrix, x, precision="highest"),
        right.reshape(right.shape[0], -1),
        lambda _, y: solve(y, transpose),
        lambda _, y: solve(y, not transpose),
    )
    return flat.reshape(right.shape)


def _eliminate(matrix: Array, leak: Array) -> tuple[Array, Array]:
    """Factors L, U of I - P, given P and 1 - its row sums, without subtractions; L has a diagonal of 1."""
    index = jnp.arange(leak.shape[0])
    smallest = jnp.finfo(matrix.dtype).tiny

    def advance(carry, state):
        matrix, leak = carry
        later = index > state
        row = jnp.where(later, matrix[state], 0)
        pivot = jnp.maximum(leak[state] + jnp.sum(row), smallest)
        factor = jnp.where(later, matrix[:, state], 0) / pivot
        column = jnp.where(later, factor, jnp.where(index == state, pivot, matrix[:, state]))
        matrix = (matrix + factor[:, None] * row[None]).at[:, state].set(column)
        return (matrix, leak + factor * leak[state]), None

    (matrix, _), _ = jax.lax.scan(advance, (matrix, leak), index)
    lower = jnp.eye(leak.shape[0], dtype=matrix.dtype) - jnp.tril(matrix, -1)
    return lower, jnp.diag(jnp.diagonal(matrix)) - jnp.triu(matrix, 1)


def expectation(probability: Array, value: Array) -> Array:
    """sum_s p(s) value(s) over the last axis: 0 times an infinite value is 0, and -inf outweighs +inf."""
    value = jnp.broadcast_to(value, probability.shape)
    known = jnp.sum(probability * jnp.where(jnp.isfinite(value), value, 0), axis=-1)
    minus, plus = (jnp.any((probability > 0) & (value == x), axis=-1) for x in (-jnp.inf, jnp.inf))
    return jnp.where(minus, -jnp.inf, jnp.where(plus, jnp.inf, known))


@jax.jit
def find_endless(chain: Chain, discount: Array) -> Endless:
    """Where an undiscounted episode goes on for ever, from which states may lead to which."""
    num_states = chain.reward.shape[0]
    reachable = (chain.transition > 0) | jnp.eye(num_states, dtype=bool)
    for _ in range(math.ceil(math.log2(num_states)) if num_states > 1 else 0):  # paths twice as long each time
        reachable = _any_product(reachable, reachable)
    taken = chain.probability > 0
    may_end = jnp.any(reachable & (chain.ending > 0)[None], axis=1)
    closed = ~jnp.any(reachable & ~reachable.T, axis=1)
    recurrent = jnp.any(taken, axis=1) & ~may_end & closed & (discount >= 1)
    below, above = (jnp.any(taken & (x > 0), axis=1) for x in (-chain.action_reward, chain.action_reward))
    minus = jnp.any(reachable & (recurrent & below)[None], axis=1)
    plus = jnp.any(reachable & (recurrent & above)[None], axis=1)
    return Endless(recurrent, minus, plus & ~minus, reachable)


def end_endless(chain: Chain, recurrent: Array) -> Chain:
    """The chain with the end, without rewards, where it would go on for ever."""
    return chain._replace(
        transition=jnp.where(recurrent[:, None], 0, chain.transition), reward=jnp.where(recurrent, 0, chain.reward)
    )


def _any_product(left: Array, right: Array) -> Array:
    """The product of boolean matrices."""
    return jnp.einsum("ij,jk->ik", left.astype(jnp.float32), right.astype(jnp.float32), precision="highest") > 0


@functools.partial(jax.jit, static_argnames="time_limit")
def _finite_horizon_value(chain: Chain, discount: Array, time_limit: int) -> Array:
    def advance(value, _):
        expected = jnp.einsum("st,t->s", chain.transition, value, precision="highest")
        return chain.reward + discount * expected, None

    return jax.lax.scan(advance, jnp.zeros_like(chain.reward), length=time_limit)[0]
