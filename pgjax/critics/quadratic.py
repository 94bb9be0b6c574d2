"""A critic that is a concave quadratic in the action."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from pgjax.box_qp import box_quadratic_argmax
from pgjax.critics.base import BoxCritic, align, bounds_like, is_open, per_half_width
from pgjax.networks import scale_tril
from pgjax.networks.layers import POLICY_GAIN
from pgjax.types import Array, Box

# |log L_ii| stays below it: curvatures from 3e-4 to 3e3 for each half width, which float32 solves exactly.
_MAX_LOG_DIAGONAL = 4.0


class Quadratic(NamedTuple):
    """Heads of a `QuadraticCritic`.

    Fields:
        value: V, shape `[...]`.
        vertex: m, in half widths from the box's center, shape `[..., N]`.
        factor: L, lower triangular with a positive diagonal, shape `[..., N, N]`.
    """

    value: Array
    vertex: Array
    factor: Array


class QuadraticCritic(BoxCritic):
    """Normalized advantage function (NAF): a concave quadratic in the action.

    `Q(s, a) = V(s) - (z - m(s))^T L(s) L(s)^T (z - m(s)) / 2`

    with z the action in half widths from the box's center. The vertex m may lie outside the box: then
    the maximum is on the boundary, not at the clipped vertex, and is found by `pgjax.box_qp`, exactly.
    `|log L_ii|` is smoothly bounded by 4.

    Args:
        box, hidden_sizes, activation, initialization, torso, param_dtype: see `BoxCritic`.

    Cost:
        heads of 1 + 2 N + N (N - 1) / 2 outputs; greedy: `box_quadratic_argmax`.
    Reference:
        Gu et al. (2016), Continuous deep Q-learning with model-based acceleration, section 4. Deviation: m is not
        squashed into the box (its maximum is exact without), L_ii is bounded.
    """

    @nn.compact
    def heads(self, state: Array) -> Quadratic:
        """V, m and L of each state."""
        features = self._features(state)
        num_dims = self.box.num_dims
        value = self._head(1, "value", features)[..., 0]
        vertex = self._head(num_dims, "vertex", features, POLICY_GAIN)
        log_diagonal = self._head(num_dims, "log_diagonal", features, POLICY_GAIN)
        log_diagonal = _MAX_LOG_DIAGONAL * jnp.tanh(log_diagonal / _MAX_LOG_DIAGONAL)
        num_below = num_dims * (num_dims - 1) // 2
        below = self._head(num_below, "below", features, POLICY_GAIN) if num_below else log_diagonal[..., :0]
        return Quadratic(value, vertex, scale_tril(log_diagonal, below))

    def _value(self, heads: Quadratic, action: Array) -> Array:
        heads, action = align(heads, 0, action)
        low, _ = bounds_like(self.box, action)
        offset = (action - low) * per_half_width(self.box, action) - is_open(self.box, action) - heads.vertex
        turned = jnp.einsum("...ij,...i->...j", heads.factor, offset, precision="highest")
        return heads.value - 0.5 * jnp.sum(turned * turned, axis=-1)

    def _argmax(self, heads: Quadratic) -> Array:
        edge = is_open(self.box, heads.vertex).reshape(-1)
        z = box_quadratic_argmax(heads.factor, heads.vertex, Box(-edge, edge))
        low, high = bounds_like(self.box, z)
        return jnp.where(z >= 1, high, low + 0.5 * (high - low) * (z + 1))
