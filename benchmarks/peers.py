"""The textbook chapter's policy in eager PyTorch, for comparison; only where PyTorch can be imported."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any


def torch_available() -> bool:
    """Whether PyTorch can be imported (it is never installed by pgjax's own extras but `peers`)."""
    return importlib.util.find_spec("torch") is not None


def torch_policy_sample(state_size: int, action_size: int, batch_size: int) -> Callable[[], Any]:
    """One call of the chapter's policy, features and mean head, then a sample, on the CPU, without gradients."""
    import torch

    torch.manual_seed(0)
    features = torch.nn.Sequential(
        torch.nn.Linear(state_size, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64), torch.nn.Tanh()
    )
    mean_head = torch.nn.Linear(64, action_size)
    log_std = torch.nn.Parameter(torch.zeros(action_size))
    shape = (state_size,) if batch_size == 1 else (batch_size, state_size)
    observation = torch.randn(shape)

    def sample() -> Any:
        with torch.no_grad():
            mean = mean_head(features(observation))
            return torch.distributions.Normal(mean, log_std.exp()).sample()

    return sample
