"""The exact policy gradient of softmax logits, and the exact moments of the estimators that stand in for it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pgjax.checks import check_count
from pgjax.environments.chains import Chain, discounted_sum, end_endless, find_endless, policy_chain
from pgjax.environments.evaluation import action_value, as_discount, occupancy, start_value
from pgjax.environments.tabular import TabularMDP, on_device
from pgjax.types import Array, ArrayLike


class GradientMoments(NamedTuple):
    """Moments of a gradient estimator.

    Fields:
        mean: shape `[O, A]`.
        covariance: shape `[O, A, O, A]`.
    """

    mean: Array
    covariance: Array

    @property
    def variance(self) -> Array:
        """Of each component, shape `[O, A]`."""
        return jnp.einsum("oaoa->oa", self.covariance)

    @property
    def total_variance(self) -> Array:
        """The sum of all components' variances, shape `[]`."""
        return jnp.sum(self.variance)


def policy_gradient(mdp: TabularMDP, logits: ArrayLike, discount: ArrayLike = 1.0) -> Array:
    """The gradient of the start value in the logits of a softmax policy, by the policy gradient theorem.

    `dJ/dlogits[o, a] = sum_s d(s) pi(a | o) (q(s, a) - v(s))` over the states s that look like o, d the
    `occupancy`. It equals `jax.grad` of `start_value(mdp, softmax(logits), discount)`, which also knows time
    limits.

    Args:
        mdp: the environment.
        logits: shape `[O, A]`.
        discount: gamma in [0, 1].

    Returns:
        shape `[O, A]`; 0 where the start value is infinite.
    Raises:
        ValueError: wrong shape, discount out of range.
    Cost:
        S^3.
    Reference:
        Sutton et al. (2000), Policy gradient methods for RL with function approximation, theorem 1. Deviation:
        under aliasing, the sum goes over states, and q is that of the state.
    """
    logits = _as_logits(mdp, logits)
    policy = jax.nn.softmax(logits)
    finite = jnp.isfinite(start_value(mdp, policy, discount))
    q, probability = action_value(mdp, policy, discount), policy_chain(mdp, policy).probability
    q = jnp.where(jnp.isfinite(q), q, 0)  # infinite only where no finite start value depends on it
    gaps = q[:, :, None] - q[:, None, :]
    advantage = jnp.einsum("sb,sab->sa", probability, gaps, precision="highest")  # q - v would cancel
    weight = occupancy(mdp, policy, discount)[:, None] * probability
    weighted = jnp.where((weight > 0) & jnp.isfinite(weight) & finite, weight * advantage, 0)
    return jnp.zeros_like(logits).at[jnp.asarray(mdp.observation)].add(weighted)


def reinforce_moments(
    mdp: TabularMDP, logits: ArrayLike, discount: ArrayLike = 1.0, *, baseline: ArrayLike = 0.0
) -> GradientMoments:
    """Mean and covariance of REINFORCE's gradient from one episode, by linear solves.

    `g = sum_t gamma^t grad log pi(a_t | o_t) (G_t - b(s_t))`, `G_t = sum_{k >= t} gamma^(k-t) r_k`

    From a state, the returns and g satisfy `G = r + gamma G'`, `g = u (G - b) + gamma g'` with u the score; so do
    their products, and the expectations of G, G^2, g, g G, g g^T solve linear systems, one after the other.

    Args:
        mdp: the environment.
        logits: shape `[O, A]`.
        discount: gamma in [0, 1].
        baseline: b, shape `[]`, or `[S]` such as `policy_value`; it changes the covariance, never the mean.

    Returns:
        `GradientMoments`; inf throughout where undiscounted episodes may go on for ever.
    Raises:
        ValueError: wrong shape, discount out of range.
    Cost:
        five solves, the last with O^2 A^2 right sides; memory S A O^2 A^2.
    Differentiable in:
        logits, baseline, discount.
    Reference:
        Williams (1992), Simple statistical gradient-following algorithms; the second moments are ours.
    """
    chain, ends, score, baseline, discount = _prepare(mdp, logits, discount, baseline)
    arrive, reward = chain.action_transition, chain.action_reward

    def after(value):  # the mean of value [S, ...] in the next state, [S, A, ...]
        return jnp.einsum("sat,t...->sa...", arrive, value, precision="highest")

    def mean_over_actions(value):
        return jnp.einsum("sa,sa...->s...", chain.probability, value, precision="highest")

    def times_score(factor):  # [S, A] -> [S, A, D]
        return factor[..., None] * score

    twice = discount, discount  # of squares and products
    next_value = after(discounted_sum(chain, chain.reward, discount))
    q = reward + discount * next_value
    known_square = reward**2 + 2 * discount * reward * next_value
    q_square = known_square + discount**2 * after(discounted_sum(chain, mean_over_actions(known_square), *twice))
    mean = discounted_sum(chain, mean_over_actions(times_score(q - baseline)), discount)
    known = times_score(q_square - baseline * q) + discount * reward[..., None] * after(mean)
    with_return = discounted_sum(chain, mean_over_actions(known), *twice)  # E[g G]
    cross = (reward - baseline)[..., None] * after(mean) + discount * after(with_return)  # E[(G - b) g' | s, a]
    outer = jnp.einsum("sai,saj->saij", score, times_score(q_square - 2 * baseline * q + baseline**2))
    mixed = discount * jnp.einsum("sai,saj->saij", score, cross)
    second = discounted_sum(chain, mean_over_actions(outer + mixed + jnp.swapaxes(mixed, -1, -2)), *twice)

    initial, shape = on_device(mdp).initial, np.shape(logits)
    mean = initial @ mean
    covariance = jnp.einsum("s,sij->ij", initial, second, precision="highest") - jnp.outer(mean, mean)
    mean = jnp.where(ends, mean, jnp.inf)
    covariance = jnp.where(ends & ~jnp.isnan(covariance), covariance, jnp.inf)  # nan: out of the dtype's range
    return GradientMoments(mean.reshape(shape), covariance.reshape(shape * 2))


def optimal_baseline(mdp: TabularMDP, logits: ArrayLike, discount: ArrayLike = 1.0) -> Array:
    """The constant baseline with the least total variance of REINFORCE's gradient, shape `[]`.

    The total variance is a quadratic of the baseline, so that one Newton step from 0 is exact; 0 where the
    variance is infinite, or the same whatever the baseline.

    Args:
        mdp, logits, discount: as for `reinforce_moments`.

    Raises:
        ValueError: as `reinforce_moments`.
    Cost:
        that of `reinforce_moments` and of its first and second derivative in the baseline.
    Reference:
        Greensmith, Bartlett & Baxter (2004), Variance reduction techniques for gradient estimates. Deviation: for
        the one-episode estimator with the return from each step on.
    """

    def total(baseline):
        return reinforce_moments(mdp, logits, discount, baseline=baseline).total_variance

    zero = jnp.zeros((), jnp.result_type(float))
    slope, curvature = jax.grad(total)(zero), jax.grad(jax.grad(total))(zero)
    return jnp.where(curvature > 0, -slope / jnp.where(curvature > 0, curvature, 1), 0)


def per_step_mean_gradient(
    mdp: TabularMDP,
    logits: ArrayLike,
    discount: ArrayLike = 1.0,
    *,
    baseline: ArrayLike = 0.0,
    num_nodes: int = 64,
) -> Array:
    """The mean of REINFORCE's gradient divided by the episode's length T: a common loss, and no gradient.

    `E[g / T] = int_0^1 E[g z^(T-1)] dz`, where the expectations of z^T, z^T G and z^T g solve linear systems at
    each z; Gauss-Legendre integrates them. Long episodes count less, so its zero is not a maximum of the start
    value.

    Args:
        mdp, logits, discount, baseline: as of `reinforce_moments`; here the baseline changes the mean.
        num_nodes: >= 1; the error falls geometrically, the faster the sooner episodes end.

    Returns:
        shape `[O, A]`; 0 where undiscounted episodes may go on for ever.
    Raises:
        ValueError: wrong shape, discount out of range, num_nodes < 1.
    Cost:
        three solves a node.
    Differentiable in:
        logits, baseline, discount.
    """
    check_count("num_nodes", num_nodes)
    chain, ends, score, baseline, discount = _prepare(mdp, logits, discount, baseline)
    probability, reward = chain.probability, chain.action_reward
    ending = 1 - jnp.sum(chain.action_transition, axis=-1)

    def after(value):
        return jnp.einsum("sat,t->sa", chain.action_transition, value, precision="highest")

    def at(z):
        length = discounted_sum(chain, z * chain.ending, z)  # E[z^T]
        then = after(length) + ending
        first = z * jnp.sum(probability * reward * then, axis=1)
        weighted = discounted_sum(chain, first, z, discount)  # E[z^T G]
        signal = probability * ((reward - baseline) * then + discount * after(weighted))
        first = z * jnp.einsum("sa,sad->sd", signal, score, precision="highest")
        return on_device(mdp).initial @ discounted_sum(chain, first, z, discount) / z

    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)  # on [-1, 1]
    means = jax.lax.map(at, jnp.asarray((nodes + 1) / 2, reward.dtype))
    mean = jnp.einsum("n,nd->d", jnp.asarray(weights / 2, reward.dtype), means, precision="highest")
    return jnp.where(ends, mean, 0).reshape(np.shape(logits))


def _as_logits(mdp: TabularMDP, logits: ArrayLike) -> Array:
    num_actions = mdp.reward.shape[1]
    if np.ndim(logits) != 2 or np.shape(logits)[1] != num_actions:
        raise ValueError(f"logits must have shape [O, {num_actions}]; got {np.shape(logits)}")
    return jnp.asarray(logits, jnp.result_type(float))


def _prepare(
    mdp: TabularMDP, logits: ArrayLike, discount: ArrayLike, baseline: ArrayLike
) -> tuple[Chain, Array, Array, Array, Array]:
    """The chain; whether it ends or is discounted; scores of actions `[S, A, D]`; baseline `[S, 1]`; discount."""
    num_states, num_actions = mdp.reward.shape
    if np.shape(baseline) not in ((), (num_states,)):
        raise ValueError(f"baseline must have shape [] or [{num_states}]; got {np.shape(baseline)}")
    policy = jax.nn.softmax(_as_logits(mdp, logits))
    chain = policy_chain(mdp, policy)
    size = np.shape(logits)[0]
    same = jnp.eye(num_actions, dtype=policy.dtype)
    others = jnp.matmul(policy, 1 - same, precision="highest")  # 1 - policy would cancel
    actions = others[:, :, None] * same[None] - policy[:, None] * (1 - same)[None]  # of one observation [O, A, A]
    score = jnp.einsum("oab,op->oapb", actions, jnp.eye(size, dtype=policy.dtype))
    score = score.reshape(size, num_actions, size * num_actions)[jnp.asarray(mdp.observation)]
    baseline = jnp.broadcast_to(jnp.asarray(baseline, policy.dtype), (num_states,))[:, None]
    discount, initial = as_discount(discount), on_device(mdp).initial
    recurrent, _, _, reachable = find_endless(chain, discount)
    ends = ~jnp.any(reachable & recurrent[None] & (initial > 0)[:, None])
    return end_endless(chain, recurrent), ends, score, baseline, discount
