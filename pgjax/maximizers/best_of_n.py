"""Best of N: a policy's samples, judged by the objective."""

from __future__ import annotations

import functools

from pgjax.maximizers.base import Maximizer


@functools.lru_cache
def best_of_n() -> Maximizer:
    """Return the best of the initial actions: give N samples of a policy as `initial`, and one step.

    For example `initial=lambda key, state: policy.apply(params, state).sample(seed=key, sample_shape=(N,))`.

    Cost:
        nothing beyond the evaluation of the initial actions.
    Reference:
        best of N policy samples as in Ghasemipour et al. (2021), EMaQ: expected-max Q-learning operator;
        Hansen-Estruch et al. (2023), IDQL.
    """

    def init(key, objective, initial):
        del key, objective
        return initial._replace(num_evaluations=0), None

    def step(key, objective, state):
        del key, objective
        return state, state

    return Maximizer(init, step, lambda _: 1)
