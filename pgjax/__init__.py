"""pgjax: learn the policy directly, or learn Q(s, a) and search for its maximum? Answered in JAX."""

from pgjax import distributions, environments, games, losses, maximizers, problems, returns
from pgjax.critics import ControlPointCritic, FactoredCritic, QuadraticCritic
from pgjax.maximizers import Maximum, maximize, maximize_batch
from pgjax.networks import MLP, CategoricalPolicy, GaussianPolicy, QNetwork, QValues, ValueNetwork
from pgjax.policies import distribution, entropy, kl_divergence, log_prob, mode, sample, sample_and_log_prob
from pgjax.types import Box

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "Box",
    "CategoricalPolicy",
    "ControlPointCritic",
    "FactoredCritic",
    "GaussianPolicy",
    "Maximum",
    "QNetwork",
    "QValues",
    "QuadraticCritic",
    "ValueNetwork",
    "distribution",
    "distributions",
    "entropy",
    "environments",
    "games",
    "kl_divergence",
    "log_prob",
    "losses",
    "maximize",
    "maximize_batch",
    "maximizers",
    "mode",
    "problems",
    "returns",
    "sample",
    "sample_and_log_prob",
]
