"""Losses whose gradient is a policy gradient, for any distribution; one trajectory `[T]`, `vmap` over more.

Each is the sum over the trajectory's steps, to be minimized. For a mean over M steps give `weights=1 / M`, the
same M for all trajectories: divided by its own length instead, an episode's gradient leads elsewhere.
"""

from pgjax.losses.action_values import all_actions_loss, pathwise_loss
from pgjax.losses.baselines import leave_one_out_baseline, optimal_baseline
from pgjax.losses.measure_valued import measure_valued_loss
from pgjax.losses.natural_gradient import kl_fisher, natural_gradient, score_fisher
from pgjax.losses.policy_gradient import (
    actor_critic_loss,
    entropy_regularized_loss,
    policy_gradient_loss,
    reinforce_loss,
    value_loss,
)
from pgjax.losses.ppo import PPODiagnostics, ppo_diagnostics, ppo_loss

__all__ = [
    "PPODiagnostics",
    "actor_critic_loss",
    "all_actions_loss",
    "entropy_regularized_loss",
    "kl_fisher",
    "leave_one_out_baseline",
    "measure_valued_loss",
    "natural_gradient",
    "optimal_baseline",
    "pathwise_loss",
    "policy_gradient_loss",
    "ppo_diagnostics",
    "ppo_loss",
    "reinforce_loss",
    "score_fisher",
    "value_loss",
]
