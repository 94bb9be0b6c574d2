"""The problems that ways to act are timed and judged on, their critics' parameters apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

import pgjax
from studies.common.timing import mlp_flops

ARM = "six_joint_arm"
STATE_SIZE, ACTION_SIZE = 17, 6  # HalfCheetah
# Multiplications and additions of the arm's Q; its twelve sines and cosines are left out.
ARM_FLOPS = 290
PROBLEMS = (ARM, "critic_2x64", "critic_2x256")


class Task(NamedTuple):
    """A problem with its critic's parameters apart, so that they are not compiled in as constants.

    Fields: name; objective(params, state, action); params; states `[B, D]`; num_states: how many of them are
    distinct, the first ones, which the others repeat; box; problem (None for critics whose maximum is not known);
    flops_per_state and flops_per_evaluation, of the critic.
    """

    name: str
    objective: Callable[[Any, jax.Array, jax.Array], jax.Array]
    params: Any
    states: jax.Array
    num_states: int
    box: pgjax.Box
    problem: pgjax.problems.Problem | None
    flops_per_state: int
    flops_per_evaluation: int


def make_task(name: str, num_states: int, key: jax.Array) -> Task:
    """The arm's own Q, or a randomly initialized QNetwork of HalfCheetah's size."""
    if name == ARM:
        arm = pgjax.problems.six_joint_arm(key, num_states)
        return Task(
            name, lambda _, s, a: arm.objective(s, a), (), arm.states, num_states, arm.box, arm, 0, ARM_FLOPS
        )
    width = int(name.removeprefix("critic_2x"))
    critic = pgjax.QNetwork(hidden_sizes=(width, width))
    key_params, key_states = jax.random.split(key)
    states = jax.random.normal(key_states, (num_states, STATE_SIZE))
    params = critic.init(key_params, states[0], jnp.zeros(ACTION_SIZE))
    box = pgjax.Box(np.full(ACTION_SIZE, -1.0), np.full(ACTION_SIZE, 1.0))
    per_evaluation = mlp_flops((ACTION_SIZE, width, width, 1))
    return Task(
        name,
        cast(Any, critic.apply),
        params,
        states,
        num_states,
        box,
        None,
        mlp_flops((STATE_SIZE, width)),
        per_evaluation,
    )
