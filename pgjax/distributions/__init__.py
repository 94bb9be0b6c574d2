"""Distributions over actions: each is a `distrax.Distribution` whose only state is arrays."""

from pgjax.distributions.categorical import Categorical, MultiCategorical
from pgjax.distributions.multivariate_normal import MultivariateNormal
from pgjax.distributions.normal import DiagonalNormal
from pgjax.distributions.q_values import EpsilonGreedy, Greedy, Softmax
from pgjax.distributions.tanh_normal import TanhNormal

__all__ = [
    "Categorical",
    "DiagonalNormal",
    "EpsilonGreedy",
    "Greedy",
    "MultiCategorical",
    "MultivariateNormal",
    "Softmax",
    "TanhNormal",
]
