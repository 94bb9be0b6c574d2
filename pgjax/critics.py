"""Critics Q(s, a) over a box of actions whose maximum in a is built in: no search, one forward pass.

Each is a Flax module, applied like `QNetwork`, with the maximum as a pure function of (params, state):

    critic = pgjax.QuadraticCritic(box)
    params = critic.init(key, state, action)
    value = critic.apply(params, state, action)     # [...]
    action, value = critic.greedy(params, state)    # argmax and max over the box, [..., N] and [...]
    heads = critic.apply(params, state, method="heads")    # what the network says of the state, before any action

The price is the form of Q: one peak, control points, or a sum over dimensions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pgjax.box_qp import box_quadratic_argmax
from pgjax.checks import check_count
from pgjax.distributions.base import as_float_array, widen
from pgjax.networks import (
    POLICY_GAIN,
    VALUE_GAIN,
    Activation,
    Initialization,
    check_sizes,
    dense,
    scale_tril,
    torso_features,
)
from pgjax.types import Array, ArrayLike, Box, DTypeLike, Params

# |log L_ii| stays below it: curvatures from 3e-4 to 3e3 for each half width, which float32 solves exactly.
_MAX_LOG_DIAGONAL = 4.0
# Squared distance, in half widths, at which two control points count as one: far below float32's spacing.
_SAME_POINT = 1e-12


class BoxCritic(nn.Module):
    """What the three critics share; not for use by itself.

    Args (fields):
        box: the actions, N dimensions; in those with low == high the action is fixed.
        hidden_sizes, activation, initialization, torso, param_dtype: as in `GaussianPolicy`.

    Called with states `[..., D]` and actions `[..., N]` whose batch shapes broadcast, returns `[...]`, in
    float32, or float64 where the heads or the action are. Actions outside the box have a value too; the
    maximum is over the box. Lengths are measured in half widths of the box, so that its units do not matter.
    Raises: ValueError: a bad setting, by its name; an action of other than N dimensions.
    """

    box: Box
    hidden_sizes: tuple[int, ...] = (64, 64)
    activation: Activation = nn.relu
    initialization: Initialization = "lecun"
    torso: nn.Module | None = None
    param_dtype: DTypeLike = jnp.float32

    def __call__(self, state: Array, action: ArrayLike) -> Array:
        heads = self.heads(state)
        action = as_float_array("action", action)
        if action.shape[-1:] != (self.box.num_dims,):
            raise ValueError(f"action must have shape [..., {self.box.num_dims}], as the box; got {action.shape}")
        return self._value(heads, action)

    @nn.nowrap
    def greedy(self, params: Params, state: Array) -> tuple[Array, Array]:
        """Give the maximum over the box, exactly: the action `[..., N]` and its value `[...]`.

        The action lies in the box, and value == apply(params, state, action). Pass a batch of states as one
        array; under `vmap` the result is the same, on CPU more slowly.
        Where the network's outputs are not finite, the action is some action of the box (its center in coordinates
        that are NaN), and the value is what `apply` gives there: NaN as a rule, never a number made up.

        Cost: one forward pass and the critic's own maximization, of which its class says.
        Differentiable in: params and state, the value only (the action counts as fixed, which is exact by the
            envelope theorem).
        """
        heads = self.apply(params, state, method="heads")
        action = jax.lax.stop_gradient(self._argmax(heads))
        low, high = _bounds(self.box, action)
        action = jnp.clip(jnp.where(jnp.isnan(action), low + 0.5 * (high - low), action), low, high)
        return action, self._highest(heads, action)

    def heads(self, state: Array) -> Any:
        """What the network says of each state; arrays that lead with the batch shape."""
        raise NotImplementedError("use QuadraticCritic, ControlPointCritic or FactoredCritic")

    def _value(self, heads: Any, action: Array) -> Array:
        raise NotImplementedError

    def _argmax(self, heads: Any) -> Array:
        raise NotImplementedError

    def _highest(self, heads: Any, action: Array) -> Array:
        """The value of the best action; to be replaced where it is known without interpolating."""
        return self._value(heads, action)

    def _head(self, size: int, name: str, features: Array, gain: float = VALUE_GAIN) -> Array:
        """A linear head's output, in at least float32."""
        (output,) = widen(dense(self, size, name, features, gain))
        return output

    def _features(self, state: Array) -> Array:
        if not isinstance(self.box, Box):
            raise ValueError(f"box must be a pgjax.Box(low, high); got {self.box!r}")
        if self.torso is None:
            check_sizes("hidden_sizes", self.hidden_sizes)
        return torso_features(self, state)


class Quadratic(NamedTuple):
    """Heads of a `QuadraticCritic`.

    Fields: value V `[...]`; vertex `[..., N]`, in half widths from the box's center; factor L `[..., N, N]`, lower
    triangular.
    """

    value: Array
    vertex: Array
    factor: Array


class QuadraticCritic(BoxCritic):
    """Normalized advantage function (NAF): a concave quadratic in the action.

    Q(s, a) = V(s) - (z - m(s))^T L(s) L(s)^T (z - m(s)) / 2

    with z the action in half widths from the box's center. The vertex m may lie outside the box: then
    the maximum is on the boundary, not at the clipped vertex, and is found by `pgjax.box_qp`, exactly.
    |log L_ii| is smoothly bounded by 4.

    Fields: see `BoxCritic`.
    Cost: heads of 1 + 2 N + N (N - 1) / 2 outputs; greedy: `box_quadratic_argmax`.
    Reference: Gu et al. (2016), Continuous deep Q-learning with model-based acceleration, section 4.
        Deviation: m is not squashed into the box (its maximum is exact without), L_ii is bounded.
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
        heads, action = _align(heads, 0, action)
        low, _ = _bounds(self.box, action)
        offset = (action - low) * _per_half_width(self.box, action) - _is_open(self.box, action) - heads.vertex
        turned = jnp.einsum("...ij,...i->...j", heads.factor, offset, precision="highest")
        return heads.value - 0.5 * jnp.sum(turned * turned, axis=-1)

    def _argmax(self, heads: Quadratic) -> Array:
        edge = _is_open(self.box, heads.vertex).reshape(-1)
        z = box_quadratic_argmax(heads.factor, heads.vertex, Box(-edge, edge))
        low, high = _bounds(self.box, z)
        return jnp.where(z >= 1, high, low + 0.5 * (high - low) * (z + 1))


class ControlPoints(NamedTuple):
    """Heads of a `ControlPointCritic`: actions `[..., m, N]` in the box, values and c `[..., m]`."""

    action: Array
    value: Array
    smoothing: Array


class ControlPointCritic(BoxCritic):
    """Control points, interpolated so that the highest one is the maximum (wire fitting; Q3C).

    Q(s, a) = sum_i w_i y_i / sum_i w_i,    w_i = 1 / d_i,    d_i = |z - z_i|^2 + c_i (max_j y_j - y_i)

    over the num_nearest points of smallest d_i, with z the action in half widths and c_i > 0 learned. A
    weighted mean never exceeds max_j y_j; at the highest point d_i = 0, so that its weight is all there is.
    Weights are computed as min_j d_j / d_i, which needs no constant added to d_i: the maximum is exact, and
    gradients are finite everywhere.

    Args (fields):
        num_points: control points m.
        num_nearest: points that count for an action, at most num_points. Fewer than all make Q jump where one
            point gives way to another; the maximum is exact still.
        The others: see `BoxCritic`.

    Cost: heads of m (N + 1) outputs; m distances and a partial sort for each action; greedy: an argmax over m.
    Reference: Baird & Klopf (1993), Reinforcement learning with high-dimensional, continuous actions (wire
        fitting); 20 points, the 10 nearest: Q3C. Deviation: no constant in d_i; the nearest by d_i, not by
        distance alone, so that the highest point is among them wherever points coincide; c_i learned.
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
        low, high = _bounds(self.box, place)
        action = jnp.clip(low + 0.5 * (high - low) * (place + 1), low, high)
        smoothing = self.param("smoothing", nn.initializers.zeros_init(), (self.num_points,), self.param_dtype)
        smoothing = jnp.broadcast_to(nn.softplus(smoothing).astype(value.dtype), value.shape)
        return ControlPoints(action, value, smoothing)

    def _value(self, heads: ControlPoints, action: Array) -> Array:
        heads, action = _align(heads, 1, action)
        highest = jnp.max(heads.value, axis=-1, keepdims=True)
        offset = action[..., None, :] - heads.action
        offset = offset * _per_half_width(self.box, offset)
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


class FactoredCritic(BoxCritic):
    """One value for each bin of each dimension, averaged over the dimensions (DecQN).

    Q(s, a) = sum_i Q_i(s, a_i) / N

    The bins of a dimension are num_bins equally spaced actions, the bounds among them; between them Q_i is
    interpolated linearly, so that its maximum is at a bin and the argmax of each dimension alone is the argmax
    of all. In a dimension with low == high the first bin counts. `heads` are the Q_i, `[..., N, num_bins]`.

    Args (fields):
        num_bins: actions a dimension, at least 2 (the bounds: bang-bang control).
        The others: see `BoxCritic`.

    Cost: a head of N num_bins outputs; greedy: N argmaxes over num_bins.
    Reference: Seyde et al. (2023), Solving continuous control via Q-learning, equation 2. Deviation: the
        interpolation; the paper evaluates Q at the bins alone.
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
        heads, action = _align(heads, 2, action)
        low, _ = _bounds(self.box, action)
        place = (action - low) * _per_half_width(self.box, action) * (0.5 * (self.num_bins - 1))
        place = jnp.clip(place, 0, self.num_bins - 1)[..., None]
        bins = jnp.arange(self.num_bins, dtype=place.dtype).reshape((1,) * (place.ndim - 1) + (-1,))
        weight = jnp.maximum(1 - jnp.abs(place - bins), 0)
        return jnp.mean(jnp.sum(weight * heads, axis=-1), axis=-1)

    def _argmax(self, heads: Array) -> Array:
        share = jnp.argmax(heads, axis=-1).astype(heads.dtype) / (self.num_bins - 1)
        low, high = _bounds(self.box, share)
        return jnp.where(share >= 1, high, low + (high - low) * share)


def _bounds(box: Box, like: Array) -> tuple[Array, Array]:
    """The box's bounds in the dtype and rank of actions `[..., N]`."""
    shape = (1,) * (like.ndim - 1) + (box.num_dims,)
    low, high = (jnp.asarray(bound).astype(like.dtype).reshape(shape) for bound in (box.low, box.high))
    return low, high


def _is_open(box: Box, like: Array) -> Array:
    """1 in the dimensions with low < high, 0 in the others."""
    low, high = _bounds(box, like)
    return (high > low).astype(like.dtype)


def _per_half_width(box: Box, like: Array) -> Array:
    """2 / (high - low), and 0 in dimensions with low == high: there no action is different from another."""
    low, high = _bounds(box, like)
    return jnp.where(high > low, 2 / jnp.where(high > low, high - low, 1), 0)


def _align(heads: Any, event_ndim: int, action: Array) -> tuple[Any, Array]:
    """Heads and actions in one dtype, the same number of batch dimensions before each.

    event_ndim: dimensions of `heads`, or of its field `value`, after the batch's.
    """
    leaves, tree = jax.tree.flatten(heads)
    *leaves, action = widen(*leaves, action)
    heads = jax.tree.unflatten(tree, leaves)
    extra = (action.ndim - 1) - (getattr(heads, "value", heads).ndim - event_ndim)
    heads = jax.tree.map(lambda leaf: leaf.reshape((1,) * max(extra, 0) + leaf.shape), heads)
    return heads, action.reshape((1,) * max(-extra, 0) + action.shape)
