"""The textbook chapter's policy in eager PyTorch, for comparison; only where PyTorch can be imported."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any


def torch_available() -> bool:
    """Whether PyTorch can be imported (it is never installed by pgjax's own extras but `peers`)."""
    return importlib.util.find_spec("torch") is not None


@functools.lru_cache
def torch_policy_sample(action_size: int, observation_shape: tuple[int, ...]) -> Callable[[], Any]:
    """One call of the chapter's policy on a random observation: features, mean head, sample; CPU, no gradients."""
    import torch

    torch.manual_seed(0)
    features = torch.nn.Sequential(
        torch.nn.Linear(observation_shape[-1], 64), torch.nn.Tanh(), torch.nn.Linear(64, 64), torch.nn.Tanh()
    )
    mean_head = torch.nn.Linear(64, action_size)
    log_std = torch.nn.Parameter(torch.zeros(action_size))
    observation = torch.randn(observation_shape)

    def sample() -> Any:
        with torch.no_grad():
            mean = mean_head(features(observation))
            return torch.distributions.Normal(mean, log_std.exp()).sample()

    return sample
