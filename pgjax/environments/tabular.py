"""Tabular environments: finite states, actions and observations, as arrays."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from pgjax.environments.checks import as_fraction, as_numbers, check_probabilities
from pgjax.types import Array, ArrayLike


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

    Raises:
        ValueError: wrong shapes, numbers that are no probabilities, rewards that are not finite.
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


def fully_observed(mdp: TabularMDP) -> TabularMDP:
    """Give every state an observation of its own, its number.

    Args:
        mdp: the environment.

    Returns:
        the same environment but for `observation`.
    """
    return mdp._replace(observation=np.arange(mdp.reward.shape[0], dtype=np.int32))  # type: ignore[arg-type]


def on_device(mdp: TabularMDP) -> TabularMDP:
    """The same with jax arrays, numbers in JAX's default floating dtype."""
    transition, reward, initial = (jnp.asarray(x, jnp.result_type(float)) for x in mdp[:3])
    return TabularMDP(
        transition, reward, initial, jnp.asarray(mdp.observation, jnp.int32), jnp.asarray(mdp.terminal)
    )


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


def epsilon_greedy(policy: ArrayLike, epsilon: ArrayLike) -> Array:
    """Mix a policy with the uniform one: `(1 - epsilon) policy + epsilon / A`.

    Args:
        policy: probabilities, shape `[O, A]`.
        epsilon: in [0, 1], shape `[]`; clipped to that where it is traced.

    Returns:
        probabilities, shape `[O, A]`.
    Raises:
        ValueError: wrong shapes, no probabilities (where not traced), epsilon out of range.
    Differentiable in:
        policy, epsilon.
    """
    epsilon = as_fraction("epsilon", epsilon)
    if not isinstance(policy, jax.core.Tracer):
        policy = as_numbers("policy", policy)
    if np.ndim(policy) != 2 or np.shape(policy)[1] == 0:
        raise ValueError(f"policy must have shape [O, A], A >= 1; got {np.shape(policy)}")
    if not isinstance(policy, jax.core.Tracer):
        check_probabilities("policy", np.asarray(policy))
    return (1 - epsilon) * jnp.asarray(policy, epsilon.dtype) + epsilon / np.shape(policy)[1]
