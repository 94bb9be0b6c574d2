"""Environments with exact answers: tabular ones, their values, gradients and best policies by class; bandits."""

from pgjax.environments.bandits import (
    GaussianBandit,
    QuadraticBandit,
    gaussian_bandit,
    gradient_ascent,
    quadratic_bandit,
)
from pgjax.environments.beliefs import BeliefMDP, belief_mdp
from pgjax.environments.corridor import short_corridor, short_corridor_value
from pgjax.environments.evaluation import action_value, occupancy, policy_value, start_value
from pgjax.environments.gradients import (
    GradientMoments,
    optimal_baseline,
    per_step_mean_gradient,
    policy_gradient,
    reinforce_moments,
)
from pgjax.environments.gridworld import Move, aliased_gridworld, toward_treasure
from pgjax.environments.planning import (
    Solution,
    best_deterministic_policy,
    best_memory_policy,
    best_stochastic_policy,
    optimal_policy,
)
from pgjax.environments.rollouts import Progress, Trajectory, Transition, reset, rollout, step
from pgjax.environments.tabular import TabularMDP, epsilon_greedy, fully_observed, tabular_mdp
from pgjax.environments.two_states import two_aliased_states

__all__ = [
    "BeliefMDP",
    "GaussianBandit",
    "GradientMoments",
    "Move",
    "Progress",
    "QuadraticBandit",
    "Solution",
    "TabularMDP",
    "Trajectory",
    "Transition",
    "action_value",
    "aliased_gridworld",
    "belief_mdp",
    "best_deterministic_policy",
    "best_memory_policy",
    "best_stochastic_policy",
    "epsilon_greedy",
    "fully_observed",
    "gaussian_bandit",
    "gradient_ascent",
    "occupancy",
    "optimal_baseline",
    "optimal_policy",
    "per_step_mean_gradient",
    "policy_gradient",
    "policy_value",
    "quadratic_bandit",
    "reinforce_moments",
    "reset",
    "rollout",
    "short_corridor",
    "short_corridor_value",
    "start_value",
    "step",
    "tabular_mdp",
    "toward_treasure",
    "two_aliased_states",
]
