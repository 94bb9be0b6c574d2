"""Tabular environments: finite states, actions and observations as arrays, sampled by pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from pgjax.checks import check_count
from pgjax.types import Array, ArrayLike, Key

Policy: TypeAlias = ArrayLike | Callable[[Key, Array], Array]

_SUM_TOLERANCE = 1e-6


class TabularMDP(NamedTuple):
    """A finite Markov decision process whose states may look alike; `tabular_mdp` checks and fills in the fields.

    A policy sees `observation[state]`; states that share one are aliased. The reward is a number for a state and
    an action, not for the next state too: values and gradients need no more, and because it does not vary given
    (s, a), second moments are exact too. Discount and time limit belong to the question asked of an environment,
    so they are arguments there.

    Fields:
        transition: probability of the next state, shape `[S, A, S]`.
        reward: of an action in a state, shape `[S, A]`.
        initial: probability of the first state, shape `[S]`.
        observation: what a policy sees in each state, integers below O, shape `[S]`.
        terminal: where the episode is over, booleans, shape `[S]`.
    """

    transition: Array
    reward: Array
    initial: Array
    observation: Array
    terminal: Array


class Transition(NamedTuple):
    """What one step gives, shape `[]` each: the next state, the reward, and whether that state is terminal."""

    state: Array
    reward: Array
    terminated: Array


class Progress(NamedTuple):
    """Where a rollout stands. Fields: state []; elapsed [], steps taken in this episode."""

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


def tabular_mdp(
    transition: npt.ArrayLike,
    reward: npt.ArrayLike,
    initial: npt.ArrayLike,
    *,
    observation: npt.ArrayLike | None = None,
    terminal: npt.ArrayLike | None = None,
) -> TabularMDP:
    """Make a `TabularMDP` from checked arrays, on the host in float64.

    A terminal state is left by no action and gives no reward, whatever its rows say.

    Args:
        transition: shape `[S, A, S]`, rows sum to 1.
        reward: shape `[S, A]`, finite.
        initial: shape `[S]`, sums to 1, 0 in terminal states.
        observation: shape `[S]`, integers from 0, of no use in terminal states; None: every state has its own.
        terminal: shape `[S]`; None: the episode never ends.

    Raises: ValueError: wrong shapes, numbers that are no probabilities, rewards that are not finite.
    """
    transition, reward = as_numbers("transition", transition), as_numbers("reward", reward)
    initial = as_numbers("initial", initial)
    if transition.ndim != 3 or transition.shape[0] != transition.shape[2] or 0 in transition.shape:
        raise ValueError(f"transition must have shape [S, A, S] with S, A >= 1; got {transition.shape}")
    num_states, num_actions, _ = transition.shape
    observation = np.arange(num_states) if observation is None else np.array(observation)
    terminal = np.zeros(num_states, bool) if terminal is None else np.array(terminal)
    given = {"reward": reward, "initial": initial, "observation": observation, "terminal": terminal}
    for name, value in given.items():
        expected = (num_states, num_actions) if name == "reward" else (num_states,)
        if value.shape != expected:
            raise ValueError(f"{name} must have shape {expected}; got {value.shape}")
    if terminal.dtype != bool:
        raise ValueError(f"terminal must be booleans; got {terminal.dtype}")
    if not np.issubdtype(observation.dtype, np.integer) or np.any(observation < 0):
        raise ValueError(f"observation must be integers from 0; got {observation.tolist()}")
    if not np.all(np.isfinite(reward)):
        raise ValueError("reward must be finite")
    transition[terminal] = np.eye(num_states)[terminal][:, None]
    check_probabilities("transition", transition)
    check_probabilities("initial", initial)
    if np.any(initial[terminal] > 0):
        raise ValueError("initial must be 0 in terminal states")
    reward[terminal] = 0
    return TabularMDP(transition, reward, initial, observation.astype(np.int32), terminal)  # type: ignore[arg-type]


def as_numbers(name: str, value: npt.ArrayLike) -> np.ndarray:
    """A copy in float64; raise ValueError unless these are numbers, in an array."""
    try:
        return np.array(value, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers; got {value!r}") from error


def check_number(name: str, value: npt.ArrayLike) -> None:
    """Raise ValueError unless the value is one finite number."""
    number = as_numbers(name, value)
    if number.shape != () or not np.isfinite(number):
        raise ValueError(f"{name} must be a finite number; got {value!r}")


def check_policy(mdp: TabularMDP, policy: ArrayLike) -> None:
    """Raise ValueError unless these are probabilities `[O, A]`, as far as the numbers are known."""
    num_actions = mdp.reward.shape[1]
    if not isinstance(policy, jax.core.Tracer):
        policy = as_numbers("policy", policy)
    if np.ndim(policy) != 2 or np.shape(policy)[1] != num_actions:
        raise ValueError(f"policy must have shape [O, {num_actions}]; got {np.shape(policy)}")
    if not isinstance(mdp.observation, jax.core.Tracer) and np.max(mdp.observation) >= np.shape(policy)[0]:
        raise ValueError(f"policy must have O > {np.max(mdp.observation)} rows; got shape {np.shape(policy)}")
    if not isinstance(policy, jax.core.Tracer):
        check_probabilities("policy", np.asarray(policy))


def check_probabilities(name: str, value: np.ndarray) -> None:
    """Raise ValueError unless the numbers are at least 0 and sum to 1 over the last axis."""
    if not (np.all(value >= 0) and np.allclose(value.sum(-1), 1, rtol=0, atol=_SUM_TOLERANCE)):
        raise ValueError(f"{name} must be probabilities: at least 0, with sum 1 over the last axis")


def on_device(mdp: TabularMDP) -> TabularMDP:
    """The same with jax arrays, numbers in JAX's default floating dtype."""
    transition, reward, initial = (jnp.asarray(x, jnp.result_type(float)) for x in mdp[:3])
    return TabularMDP(
        transition, reward, initial, jnp.asarray(mdp.observation, jnp.int32), jnp.asarray(mdp.terminal)
    )


def fully_observed(mdp: TabularMDP) -> TabularMDP:
    """The same environment where every state has an observation of its own, its number."""
    return mdp._replace(observation=np.arange(mdp.reward.shape[0], dtype=np.int32))  # type: ignore[arg-type]


def as_fraction(name: str, value: ArrayLike) -> Array:
    """A number in [0, 1], shape `[]`, checked where it is known and clipped where it is traced."""
    if not isinstance(value, jax.core.Tracer):
        number = as_numbers(name, value)
        if number.shape == () and not 0 <= number <= 1:
            raise ValueError(f"{name} must be in [0, 1]; got {value!r}")
    if np.shape(value) != ():
        raise ValueError(f"{name} must be a scalar; got shape {np.shape(value)}")
    return jnp.clip(jnp.asarray(value, jnp.result_type(float)), 0, 1)


def epsilon_greedy(policy: ArrayLike, epsilon: ArrayLike) -> Array:
    """Probabilities (1 - epsilon) policy + epsilon / A, shape `[O, A]`.

    Args:
        policy: probabilities, shape `[O, A]`.
        epsilon: in [0, 1], shape `[]`; clipped to that where it is traced.

    Raises: ValueError: wrong shapes, no probabilities (where not traced), epsilon out of range.
    Differentiable in: policy, epsilon.
    """
    epsilon = as_fraction("epsilon", epsilon)
    if not isinstance(policy, jax.core.Tracer):
        policy = as_numbers("policy", policy)
    if np.ndim(policy) != 2 or np.shape(policy)[1] == 0:
        raise ValueError(f"policy must have shape [O, A], A >= 1; got {np.shape(policy)}")
    if not isinstance(policy, jax.core.Tracer):
        check_probabilities("policy", np.asarray(policy))
    return (1 - epsilon) * jnp.asarray(policy, epsilon.dtype) + epsilon / np.shape(policy)[1]


def reset(key: Key, mdp: TabularMDP) -> Array:
    """Draw the first state of an episode, an integer, shape `[]`."""
    return _draw(key, on_device(mdp).initial)


def step(key: Key, mdp: TabularMDP, state: ArrayLike, action: ArrayLike) -> Transition:
    """Take one action in one state; vmap for more.

    Args:
        key: random key, consumed.
        mdp: the environment.
        state, action: integers below S and A, shape `[]`.

    Returns: a `Transition`. In a terminal state: the same state, reward 0, terminated. The reward is nan where a
    traced state or action is out of range.
    Raises: ValueError: state or action no integer, or out of range (where not traced).
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

    Returns: a `Trajectory` and the `Progress` after its last step.
    Raises: ValueError: num_steps or time_limit below 1; policy of another shape or no probabilities (where not
        traced), or its action no integer `[]`.
    Cost: one scan of T steps; one draw for the action (of a table), the next state and the reset each.
    Differentiable in: nothing.
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


def in_range(name: str, index: ArrayLike, size: int) -> Array:
    """Whether an index is below the size; raise ValueError where it is known not to be, or no integer `[]`."""
    kind = np.result_type(index) if not hasattr(index, "dtype") else index.dtype
    if np.shape(index) != () or not np.issubdtype(kind, np.integer):
        raise ValueError(f"{name} must be an integer of shape []; got {index!r}")
    if not isinstance(index, jax.core.Tracer) and not 0 <= int(np.asarray(index)) < size:
        raise ValueError(f"{name} must be at least 0 and below {size}; got {index!r}")
    index = jnp.asarray(index)
    return (index >= 0) & (index < size)


def _sampler(mdp: TabularMDP, policy: ArrayLike) -> Callable[[Key, Array], Array]:
    check_policy(mdp, policy)
    table = jnp.asarray(policy, jnp.result_type(float))
    return lambda key, observation: _draw(key, table[observation])


def _draw(key: Key, probabilities: Array) -> Array:
    """An index drawn by its probability, never one of probability 0."""
    return jax.random.categorical(key, jnp.log(probabilities)).astype(jnp.int32)
