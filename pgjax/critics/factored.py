"""A critic that is a sum over the action's dimensions."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from pgjax.checks import check_count
from pgjax.critics.base import BoxCritic, align, bounds_like, per_half_width
from pgjax.types import Array


class FactoredCritic(BoxCritic):
    """One value for each bin of each dimension, averaged over the dimensions (DecQN).

    `Q(s, a) = sum_i Q_i(s, a_i) / N`

    The bins of a dimension are num_bins equally spaced actions, the bounds among them; between them Q_i is
    interpolated linearly, so that its maximum is at a bin and the argmax of each dimension alone is the argmax
    of all. In a dimension with low == high the first bin counts. `heads` are the Q_i, `[..., N, num_bins]`.

    Args:
        num_bins: actions a dimension, at least 2 (the bounds: bang-bang control).
        box, hidden_sizes, activation, initialization, torso, param_dtype: see `BoxCritic`.

    Cost:
        a head of N num_bins outputs; greedy: N argmaxes over num_bins.
    Reference:
        Seyde et al. (2023), Solving continuous control via Q-learning, equation 2. Deviation: the interpolation;
        the paper evaluates Q at the bins alone.
    """

    num_bins: int = 2

    @nn.compact
    def heads(self, state: Array) -> Array:
        """Q_i of each state's bins, shape `[..., N, num_bins]`."""
        check_count("num_bins", self.num_bins, 2)
        features = self._features(state)
        values = self._head(self.box.num_dims * self.num_bins, "values", features)
        return values.reshape(*values.shape[:-1], self.box.num_dims, self.num_bins)

    def _value(self, heads: Array, action: Array) -> Array:
        heads, action = align(heads, 2, action)
        low, _ = bounds_like(self.box, action)
        place = (action - low) * per_half_width(self.box, action) * (0.5 * (self.num_bins - 1))
        place = jnp.clip(place, 0, self.num_bins - 1)[..., None]
        bins = jnp.arange(self.num_bins, dtype=place.dtype).reshape((1,) * (place.ndim - 1) + (-1,))
        weight = jnp.maximum(1 - jnp.abs(place - bins), 0)
        return jnp.mean(jnp.sum(weight * heads, axis=-1), axis=-1)

    def _argmax(self, heads: Array) -> Array:
        share = jnp.argmax(heads, axis=-1).astype(heads.dtype) / (self.num_bins - 1)
        low, high = bounds_like(self.box, share)
        return jnp.where(share >= 1, high, low + (high - low) * share)
