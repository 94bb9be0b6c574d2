"""Critics Q(s, a) over a box of actions whose maximum in a is built in: no search, one forward pass.

Each is a Flax module, applied like `QNetwork`, with the maximum as a pure function of (params, state):

    critic = pgjax.QuadraticCritic(box)
    params = critic.init(key, state, action)
    value = critic.apply(params, state, action)     # [...]
    action, value = critic.greedy(params, state)    # argmax and max over the box, [..., N] and [...]
    heads = critic.apply(params, state, method="heads")    # what the network says of the state, before any action

The price is the form of Q: one peak, control points, or a sum over dimensions.
"""

from pgjax.critics.base import BoxCritic
from pgjax.critics.control_points import ControlPointCritic, ControlPoints
from pgjax.critics.factored import FactoredCritic
from pgjax.critics.quadratic import Quadratic, QuadraticCritic

__all__ = ["BoxCritic", "ControlPointCritic", "ControlPoints", "FactoredCritic", "Quadratic", "QuadraticCritic"]
