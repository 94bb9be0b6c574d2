"""Flax modules: the torso, the policies (which return a distribution), value and action-value networks.

Defaults are the textbook chapter's network: two hidden layers of 64 with tanh (ReLU where values of actions are
learned), and one log_std shared by all states that starts at zero. Parameters are float32 unless `param_dtype`
says otherwise; the computation has the dtype of the inputs and the parameters.
"""

from pgjax.networks.categorical_policy import CategoricalPolicy
from pgjax.networks.gaussian_policy import GaussianPolicy, scale_tril
from pgjax.networks.layers import MLP
from pgjax.networks.values import QNetwork, QValues, ValueNetwork

__all__ = ["MLP", "CategoricalPolicy", "GaussianPolicy", "QNetwork", "QValues", "ValueNetwork", "scale_tril"]
