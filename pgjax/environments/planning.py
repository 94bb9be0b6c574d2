"""The best policy of each class: sees the state, remembers, memoryless, deterministic. On the host in float64."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from pgjax.checks import check_count
from pgjax.environments.beliefs import belief_mdp
from pgjax.environments.evaluation import action_value, as_discount, policy_value, start_value
from pgjax.environments.tabular import TabularMDP, fully_observed

_MAX_POLICIES = 2**20
_BLOCK = 1024  # policies evaluated at once
_MAX_IMPROVEMENTS = 1000
_TOLERANCE = 1e-11  # of an improvement, relative to the values
_SLACK = 1e-9  # of a bound, relative to it
_MAX_LOGIT = 30.0  # no probability rounds to 0
_NEGLIGIBLE = 1e-7  # a probability that may as well be 0


class Solution(NamedTuple):
    """A policy and what it is worth.

    Fields:
        policy: probabilities of the actions, by what it sees, float64.
        value: the start value, a number.
    """

    policy: np.ndarray
    value: float


def optimal_policy(mdp: TabularMDP, discount: float = 1.0, *, time_limit: int | None = None) -> Solution:
    """The best of all policies that see the state, by policy iteration, or backward induction from a time limit.

    Policy iteration changes choices that another action beats, so that it stays with policies whose values are
    finite. It starts with uniform choices; with discount 1, where an episode can go on for ever without rewards,
    with those that do. A row that is uniform at the end has equally good actions.

    Args:
        mdp: the environment.
        discount: gamma in [0, 1]; 1 needs a time limit, or that these choices lead from everywhere to the end or
            to where there are no rewards.
        time_limit: steps of an episode, >= 1; None for no limit.

    Returns:
        a `Solution` with policy `[S, A]`; with a time limit `[time_limit, S, A]`, by steps taken.
    Raises:
        ValueError: discount out of range, or 1 where values are infinite; time_limit < 1.
        RuntimeError: no end within 1,000 improvements.
    Cost:
        one solve in S an improvement; with a time limit H sums over `[S, A, S]`.
    """
    as_discount(discount)
    if time_limit is not None:
        check_count("time_limit", time_limit)
        return _backward_induction(mdp, discount, time_limit)
    mdp = fully_observed(mdp)
    num_states, num_actions = mdp.reward.shape
    policy = np.full((num_states, num_actions), 1 / num_actions) if discount < 1 else _without_rewards(mdp)
    with jax.enable_x64(True):
        evaluate = jax.jit(lambda pi: (policy_value(mdp, pi, discount), action_value(mdp, pi, discount)))
        for _ in range(_MAX_IMPROVEMENTS):
            value, action_values = (np.asarray(x) for x in evaluate(policy))
            if not np.all(np.isfinite(value)):
                raise ValueError(f"discount must be below 1 where an episode may go on for ever; got {discount}")
            better = action_values.max(axis=1) > value + _TOLERANCE * (1 + np.abs(value))
            if not np.any(better):
                return Solution(policy, float(np.asarray(mdp.initial) @ value))
            policy[better] = np.eye(num_actions)[action_values.argmax(axis=1)[better]]
    raise RuntimeError(f"policy iteration did not end within {_MAX_IMPROVEMENTS} improvements")


def best_memory_policy(
    mdp: TabularMDP, discount: float = 1.0, *, time_limit: int | None = None, max_beliefs: int = 1000
) -> Solution:
    """The best policy that remembers its observations and actions: the optimal one of `belief_mdp`.

    Deterministic but where actions are equally good.

    Args:
        mdp, discount, time_limit: as of `optimal_policy`.
        max_beliefs: as of `belief_mdp`, whose rows are the rows of the policy.

    Returns:
        a `Solution` with policy `[K, A]`; with a time limit `[time_limit, K, A]`, by steps taken.
    Raises:
        ValueError: as `optimal_policy`, or more beliefs than max_beliefs.
    """
    return optimal_policy(belief_mdp(mdp, max_beliefs=max_beliefs).mdp, discount, time_limit=time_limit)


def best_deterministic_policy(
    mdp: TabularMDP, discount: float = 1.0, *, time_limit: int | None = None
) -> Solution:
    """The best deterministic memoryless policy, by trying all of them; the first of equally good ones.

    Args:
        mdp, discount, time_limit: as for `optimal_policy`, without its condition on discount 1.

    Returns:
        a `Solution` with policy `[O, A]`; its value may be -inf at discount 1, see `policy_value`.
    Raises:
        ValueError: discount out of range, time_limit < 1, more than 2^20 policies.
    Cost:
        A^O evaluations, O the number of observations outside of terminal states.
    """
    as_discount(discount)
    num_actions = mdp.reward.shape[1]
    size = int(np.max(mdp.observation)) + 1
    seen = np.unique(np.asarray(mdp.observation)[~np.asarray(mdp.terminal)])
    if num_actions ** len(seen) > _MAX_POLICIES:
        raise ValueError(f"mdp must have at most {_MAX_POLICIES} policies; got {num_actions}^{len(seen)}")
    choices = np.zeros((num_actions ** len(seen), size), int)
    choices[:, seen] = np.indices((num_actions,) * len(seen)).reshape(len(seen), -1).T

    with jax.enable_x64(True):

        def evaluate(actions):
            policy = jax.nn.one_hot(actions, num_actions, dtype=jnp.float64)
            return start_value(mdp, policy, discount, time_limit=time_limit)

        block = min(_BLOCK, len(choices))
        values = np.asarray(jax.jit(lambda c: jax.lax.map(evaluate, c, batch_size=block))(choices))
    best = int(np.argmax(values))
    return Solution(np.eye(num_actions)[choices[best]], float(values[best]))


def best_stochastic_policy(
    mdp: TabularMDP, discount: float = 1.0, *, time_limit: int | None = None, num_starts: int = 16, seed: int = 0
) -> Solution:
    """The best memoryless policy found by L-BFGS on softmax logits from several starts, with exact gradients.

    A local maximum, the best of those found: the problem is NP-hard, so there is no certificate. Probabilities
    that go to 0 are set to 0 where that loses nothing, so that a deterministic optimum is met exactly. A value
    above that of `optimal_policy` is rejected as a rounding error.

    Args:
        mdp, discount, time_limit: as of `best_deterministic_policy`.
        num_starts: >= 1; the first is uniform, the others have normal logits of standard deviation 3.
        seed: of the starts.

    Returns:
        a `Solution` with policy `[O, A]`.
    Raises:
        ValueError: discount out of range; time_limit or num_starts < 1; the uniform policy worth -inf or inf.
        RuntimeError: every value found is rejected.
    Cost:
        a climb from each start, of at most 1,000 iterations of a start value and its gradient.
    Reference:
        NP-hard: Littman (1994), Memoryless policies: theoretical limitations and practical results.
    """
    as_discount(discount)
    check_count("num_starts", num_starts)
    shape = int(np.max(mdp.observation)) + 1, mdp.reward.shape[1]
    starts = 3 * np.random.default_rng(seed).standard_normal((num_starts, *shape))
    starts[0] = 0
    with jax.enable_x64(True):
        evaluate = jax.jit(lambda policy: start_value(mdp, policy, discount, time_limit=time_limit))
        loss = jax.jit(jax.value_and_grad(lambda logits: -evaluate(jax.nn.softmax(logits.reshape(shape)))))
        if not np.isfinite(loss(starts[0].ravel())[0]):
            raise ValueError(f"discount must be below 1 where an episode may go on for ever; got {discount}")
        found = [_climb(loss, evaluate, start) for start in starts]
    highest = _highest_value(mdp, discount, time_limit)
    possible = [solution for solution in found if solution.value <= highest]
    if not possible:
        raise RuntimeError(f"every value found is above the highest possible one, {highest}")
    return max(possible, key=lambda solution: solution.value)


def _climb(loss, evaluate, start: np.ndarray) -> Solution:
    """The local maximum from one start, without negligible probabilities where these are of no use."""
    result = optimize.minimize(
        lambda x: tuple(np.asarray(y, np.float64) for y in loss(x)),
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-_MAX_LOGIT, _MAX_LOGIT)] * start.size,
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 1000},
    )
    logits = result.x.reshape(start.shape)
    policy = np.exp(logits - logits.max(axis=1, keepdims=True))
    policy /= policy.sum(axis=1, keepdims=True)
    cut = np.where(policy > _NEGLIGIBLE, policy, 0)
    cut /= cut.sum(axis=1, keepdims=True)
    return max((Solution(p, float(evaluate(p))) for p in (policy, cut)), key=lambda solution: solution.value)


def _without_rewards(mdp: TabularMDP) -> np.ndarray:
    """Uniform choices `[S, A]` among the actions that can go on for ever without rewards; elsewhere among all."""
    transition, reward = np.asarray(mdp.transition), np.asarray(mdp.reward)
    inside, staying = ~np.asarray(mdp.terminal), np.zeros(reward.shape, bool)
    for _ in range(len(reward)):  # each time without the states that have to leave
        staying = inside[:, None] & (reward == 0) & ~np.any((transition > 0) & ~inside, axis=-1)
        inside = staying.any(axis=1)
    choices = np.where(inside[:, None], staying, True)
    return choices / choices.sum(axis=1, keepdims=True)


def _highest_value(mdp: TabularMDP, discount: float, time_limit: int | None) -> float:
    """What no policy's value exceeds, up to rounding; inf where that is not known."""
    try:
        value = optimal_policy(mdp, discount, time_limit=time_limit).value
    except (ValueError, RuntimeError):
        return np.inf
    return value + _SLACK * (1 + abs(value))


def _backward_induction(mdp: TabularMDP, discount: float, time_limit: int) -> Solution:
    """The best action at each time, in each state, the first of equally good ones."""
    transition, reward = (np.asarray(x, np.float64) for x in (mdp.transition, mdp.reward))
    going = ~np.asarray(mdp.terminal)
    value, actions = np.zeros(len(reward)), []
    for _ in range(time_limit):
        action_values = reward + discount * transition @ value
        actions.append(action_values.argmax(axis=1))
        value = np.where(going, action_values.max(axis=1), 0)
    policy = np.eye(reward.shape[1])[np.array(actions[::-1])]
    return Solution(policy, float(np.asarray(mdp.initial) @ value))
