"""A critic that interpolates control points, of which the highest is the maximum."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pgjax.checks import check_count
from pgjax.critics.base import BoxCritic, align, bounds_like, per_half_width
from pgjax.types import Array

# Squared distance, in half widths, at which two control points count as one: far below float32's spacing.
_SAME_POINT = 1e-12


class ControlPoints(NamedTuple):
    """Heads of a `ControlPointCritic`.

    Fields:
        action: the control points, in the box, shape `[..., m, N]`.
        value: y, shape `[..., m]`.
        smoothing: c, positive, shape `[..., m]`.
    """

    action: Array
    value: Array
    smoothing: Array


class ControlPointCritic(BoxCritic):
    """Control points, interpolated so that the highest one is the maximum (wire fitting; Q3C).

    `Q(s, a) = sum_i w_i y_i / sum_i w_i`, `w_i = 1 / d_i`, `d_i = |z - z_i|^2 + c_i (max_j y_j - y_i)`

    over the num_nearest points of smallest d_i, with z the action in half widths and c_i > 0 learned. A
    weighted mean never exceeds max_j y_j; at the highest point d_i = 0, so that its weight is all there is.
    Weights are computed as min_j d_j / d_i, which needs no constant added to d_i: the maximum is exact, and
    gradients are finite everywhere.

    Args:
        num_points: control points m.
        num_nearest: points that count for an action, at most num_points. Fewer than all make Q jump where one
            point gives way to another; the maximum is exact still.
        box, hidden_sizes, activation, initialization, torso, param_dtype: see `BoxCritic`.

    Cost:
        heads of m (N + 1) outputs; m distances and a partial sort for each action; greedy: an argmax over m.
    Reference:
        Baird & Klopf (1993), Reinforcement learning with high-dimensional, continuous actions (wire fitting); 20
        points, the 10 nearest: Korkmaz et al. (2025), Actor-free continuous control via structurally maximizable
        Q-functions (Q3C). Deviation: no constant in d_i; the nearest by d_i, not by distance alone, so that the
        highest point is among them wherever points coincide; c_i learned.
    """

    num_points: int = 20
    num_nearest: int = 10

    @nn.compact
    def heads(self, state: Array) -> ControlPoints:
        """The control points of each state."""
        check_count("num_points", self.num_points)
        check_count("num_nearest", self.num_nearest)
        if self.num_nearest > self.num_points:
            raise ValueError(f"num_nearest must be at most num_points = {self.num_points}; got {self.num_nearest}")
        features = self._features(state)
        num_dims = self.box.num_dims
        value = self._head(self.num_points, "value", features)
        place = self._head(self.num_points * num_dims, "action", features)
        place = jnp.tanh(place.reshape(*value.shape, num_dims))
        low, high = bounds_like(self.box, place)
        action = jnp.clip(low + 0.5 * (high - low) * (place + 1), low, high)
        smoothing = self.param("smoothing", nn.initializers.zeros_init(), (self.num_points,), self.param_dtype)
        smoothing = jnp.broadcast_to(nn.softplus(smoothing).astype(value.dtype), value.shape)
        return ControlPoints(action, value, smoothing)

    def _value(self, heads: ControlPoints, action: Array) -> Array:
        heads, action = align(heads, 1, action)
        highest = jnp.max(heads.value, axis=-1, keepdims=True)
        offset = action[..., None, :] - heads.action
        offset = offset * per_half_width(self.box, offset)
        lost = highest - heads.value
        distance = jnp.sum(offset * offset, axis=-1) + heads.smoothing * lost
        nearest, index = jax.lax.top_k(-distance, self.num_nearest)
        lost = jnp.take_along_axis(jnp.broadcast_to(lost, distance.shape), index, axis=-1)
        weight = nearest[..., :1] / jnp.minimum(nearest[..., 1:], -_SAME_POINT)
        weight = jnp.concatenate([jnp.ones_like(nearest[..., :1]), weight], axis=-1)
        return highest[..., 0] - jnp.sum(weight * lost, axis=-1) / jnp.sum(weight, axis=-1)

    def _argmax(self, heads: ControlPoints) -> Array:
        best = jnp.argmax(heads.value, axis=-1)[..., None, None]
        return jnp.take_along_axis(heads.action, best, axis=-2)[..., 0, :]

    def _highest(self, heads: ControlPoints, action: Array) -> Array:
        del action
        return jnp.max(heads.value, axis=-1)
