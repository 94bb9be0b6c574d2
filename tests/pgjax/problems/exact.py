"""Values of problems in float64."""

import jax
import numpy as np


def in_float64(problem, actions):
    """Return the values of actions `[B, K, N]`, K for each of the problem's B states."""
    with jax.enable_x64(True):
        states = np.asarray(problem.states, np.float64)
        return np.asarray(jax.jit(jax.vmap(jax.vmap(problem.objective, (None, 0))))(states, np.asarray(actions)))
