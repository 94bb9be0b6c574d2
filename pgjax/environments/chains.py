"""The Markov chain of an environment under a policy: discounted sums along it, and where it never ends."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

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
