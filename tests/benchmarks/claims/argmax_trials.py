"""For tests of claim a: a made-up clock, and a quadratic in the place of the arm or its critic."""

import functools
import itertools

import jax.numpy as jnp
import numpy as np

import pgjax
from studies.claims.argmax import arm
from studies.common import timing
from studies.common.acting import tasks

ZOOM = next(search for search in arm.SEARCHES if search.name.startswith("zoom"))  # exact where Q is separable
SEARCH_TIMES_S = {arm.GRID.name: 1e-3, arm.RANDOM.name: 2e-3, ZOOM.name: 5e-3}  # the good one is slowest
TIMES_S = {"arm": 4e-3, "critic": 8e-3, "sample": 1e-3, "sample batch": 2e-3, "arm batch": 0.5}


def rising():
    """In the place of the clock: a time for each call by its name, each round by a tenth slower."""
    count = itertools.count(1)

    def timings(calls, **limits):
        assert limits == arm.LIMITS
        slower = 1 + next(count) / 10
        return {name: timing.Timing.of([slower * (SEARCH_TIMES_S | TIMES_S)[name]]) for name in calls}

    return timings


def quadratic_trial(targets, high, num_report, maximum=0.0):
    """maximum - |a - s|^2, |a_i| <= high_i; the maximum is a parameter. The first states are to report on."""

    def objective(params, state, action):
        return params.astype(action.dtype) - jnp.sum(jnp.square(action - state))

    parameter = jnp.float32(maximum)
    of_state = functools.partial(objective, parameter)
    states, box = jnp.asarray(targets, jnp.float32), pgjax.Box(-np.asarray(high), high)
    problem = pgjax.problems.Problem(states, of_state, box, np.full(len(targets), maximum), np.asarray(targets))
    task = tasks.Task("quadratic", objective, parameter, states, len(targets), box, problem, 0, 0)
    return arm.make_trial(task, num_report)
