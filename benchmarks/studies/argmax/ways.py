"""Settings and policies on a case, each as one function of (params, key, states)."""

from __future__ import annotations

from typing import cast

import distrax

from studies.argmax.settings import Setting
from studies.common.acting.cases import Case
from studies.common.acting.ways import Method, gaussian_methods, search_method


def way_of(case: Case, setting: Setting) -> Method:
    """A setting on a problem, as one function of (params, key, states)."""

    def propose(key, state):
        assert case.policy is not None
        policy, params = case.policy
        pi = cast(distrax.Distribution, policy.apply(params, state))
        return pi.sample(seed=key, sample_shape=(setting.num_proposals,))

    return search_method(case.task, setting, propose if setting.num_proposals else case.initial)


def policy_ways(case: Case) -> list[Method]:
    """The trained policy itself: its sample and its mean."""
    return [] if case.policy is None else gaussian_methods(case.task, *case.policy)
