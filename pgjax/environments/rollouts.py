"""Acting in a tabular environment: its first state, one step, and a policy's steps one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from pgjax.checks import check_count
from pgjax.environments.checks import in_range
from pgjax.environments.tabular import TabularMDP, check_policy, on_device
from pgjax.types import Array, ArrayLike, Key

Policy: TypeAlias = ArrayLike | Callable[[Key, Array], Array]


class Transition(NamedTuple):
    """What one step gives.

    Fields:
        state: the next one, an integer, shape `[]`.
        reward: shape `[]`.
        terminated: whether that state is terminal, a boolean, shape `[]`.
    """

    state: Array
    reward: Array
    terminated: Array


class Progress(NamedTuple):
    """Where a rollout stands.

    Fields:
        state: an integer, shape `[]`.
        elapsed: steps taken in this episode, shape `[]`.
    """

    state: Array
    elapsed: Array


class Trajectory(NamedTuple):
    """Steps in order, shape `[T]` each; several episodes where one ends before the last step.

    Fields:
        state, observation, action, reward: of each step.
        next_state, next_observation: what the action led to, before any reset: the ones to bootstrap from.
        terminated: the episode is over; the value of next_state is 0.
        truncated: the time limit cut an episode that goes on; the value of next_state is not 0. Never both.
    """

    state: Array
    observation: Array
    action: Array
    reward: Array
    next_state: Array
    next_observation: Array
    terminated: Array
    truncated: Array


def reset(key: Key, mdp: TabularMDP) -> Array:
    """Draw the first state of an episode.

    Args:
        key: random key, consumed.
        mdp: the environment.

    Returns:
        an integer below S, shape `[]`.
    """
    return _draw(key, on_device(mdp).initial)


def step(key: Key, mdp: TabularMDP, state: ArrayLike, action: ArrayLike) -> Transition:
    """Take one action in one state; vmap for more.

    Args:
        key: random key, consumed.
        mdp: the environment.
        state, action: integers below S and A, shape `[]`.

    Returns:
        a `Transition`; in a terminal state that state again, reward 0, terminated. The reward is nan where a
    traced state or action is out of range.

    Raises:
        ValueError: state or action no integer, or out of range (where not traced).
    """
    mdp = on_device(mdp)
    num_states, num_actions = mdp.reward.shape
    known = in_range("state", state, num_states) & in_range("action", action, num_actions)
    state, action = jnp.clip(state, 0, num_states - 1), jnp.clip(action, 0, num_actions - 1)
    next_state = _draw(key, mdp.transition[state, action])
    return Transition(next_state, jnp.where(known, mdp.reward[state, action], jnp.nan), mdp.terminal[next_state])


def rollout(
    key: Key,
    mdp: TabularMDP,
    policy: Policy,
    num_steps: int,
    *,
    time_limit: int | None = None,
    start: Progress | None = None,
) -> tuple[Trajectory, Progress]:
    """Let a policy act for a number of steps, starting a new episode after every end; vmap for more.

    Only terminated, not truncated, makes the value of the next state 0. The last step is usually neither: hand the
    returned progress to the next call, and the episode goes on.

    Args:
        key: random key, consumed.
        mdp: the environment.
        policy: probabilities of the actions, shape `[O, A]`, or a function (key, observation) -> action, an
            integer below A; the rewards of others are nan.
        num_steps: T >= 1.
        time_limit: steps after which an episode is cut, >= 1; None for no limit.
        start: where an earlier rollout stopped; None for a new episode.

    Returns:
        a `Trajectory` and the `Progress` after its last step.
    Raises:
        ValueError: num_steps or time_limit below 1; policy of another shape or no probabilities (where not
            traced), or its action no integer `[]`.
    Cost:
        one scan of T steps; one draw for the action (of a table), the next state and the reset each.
    Differentiable in:
        nothing.
    """
    check_count("num_steps", num_steps)
    if time_limit is not None:
        check_count("time_limit", time_limit)
    act = policy if callable(policy) else _sampler(mdp, policy)
    mdp = on_device(mdp)
    key_start, key_steps = jax.random.split(key)
    if start is None:
        start = Progress(reset(key_start, mdp), jnp.zeros((), jnp.int32))

    def advance(carry, _):
        key, progress = carry  # a key to scan over would be called reused under vmap by jax_debug_key_reuse
        key, key_action, key_step, key_reset = jax.random.split(key, 4)
        observation = mdp.observation[progress.state]
        action = act(key_action, observation)
        moved = step(key_step, mdp, progress.state, action)
        elapsed = progress.elapsed + 1
        late = jnp.zeros((), bool) if time_limit is None else elapsed >= time_limit
        truncated = late & ~moved.terminated
        over = moved.terminated | truncated
        following = Progress(jnp.where(over, reset(key_reset, mdp), moved.state), jnp.where(over, 0, elapsed))
        seen = mdp.observation[moved.state]
        before = progress.state, observation, action, moved.reward
        return (key, following), Trajectory(*before, moved.state, seen, moved.terminated, truncated)

    (_, last), trajectory = jax.lax.scan(advance, (key_steps, start), length=num_steps)
    return trajectory, last


def _sampler(mdp: TabularMDP, policy: ArrayLike) -> Callable[[Key, Array], Array]:
    check_policy(mdp, policy)
    table = jnp.asarray(policy, jnp.result_type(float))
    return lambda key, observation: _draw(key, table[observation])


def _draw(key: Key, probabilities: Array) -> Array:
    """An index drawn by its probability, never one of probability 0."""
    return jax.random.categorical(key, jnp.log(probabilities)).astype(jnp.int32)
