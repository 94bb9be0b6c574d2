"""What the critics share: the module's settings, acting greedily, and lengths in half widths of the box."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pgjax.distributions.base import as_float_array, widen
from pgjax.networks.layers import VALUE_GAIN, Activation, Initialization, check_sizes, dense, torso_features
from pgjax.types import Array, ArrayLike, Box, DTypeLike, Params


class BoxCritic(nn.Module):
    """What the three critics share; not for use by itself.

    Args:
        box: the actions, N dimensions; in those with low == high the action is fixed.
        hidden_sizes, activation, initialization, torso, param_dtype: as in `GaussianPolicy`.

    Called with states `[..., D]` and actions `[..., N]` whose batch shapes broadcast, returns `[...]`, in
    float32, or float64 where the heads or the action are. Actions outside the box have a value too; the
    maximum is over the box. Lengths are measured in half widths of the box, so that its units do not matter.

    Raises:
        ValueError: a bad setting, by its name; an action of other than N dimensions.
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

        Args:
            params: the critic's variables, as `init` returns them.
            state: shape `[..., D]`, or what the critic's own torso takes.

        Returns:
            actions `[..., N]` and values `[...]`.
        Cost:
            one forward pass and the critic's own maximization, of which its class says.
        Differentiable in:
            params and state, the value only (the action counts as fixed, which is exact by the envelope theorem).
        """
        heads = self.apply(params, state, method="heads")
        action = jax.lax.stop_gradient(self._argmax(heads))
        low, high = bounds_like(self.box, action)
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


def bounds_like(box: Box, like: Array) -> tuple[Array, Array]:
    """The box's bounds in the dtype and rank of actions `[..., N]`."""
    shape = (1,) * (like.ndim - 1) + (box.num_dims,)
    low, high = (jnp.asarray(bound).astype(like.dtype).reshape(shape) for bound in (box.low, box.high))
    return low, high


def is_open(box: Box, like: Array) -> Array:
    """1 in the dimensions with low < high, 0 in the others."""
    low, high = bounds_like(box, like)
    return (high > low).astype(like.dtype)


def per_half_width(box: Box, like: Array) -> Array:
    """2 / (high - low), and 0 in dimensions with low == high: there no action is different from another."""
    low, high = bounds_like(box, like)
    return jnp.where(high > low, 2 / jnp.where(high > low, high - low, 1), 0)


def align(heads: Any, event_ndim: int, action: Array) -> tuple[Any, Array]:
    """Heads and actions in one dtype, the same number of batch dimensions before each.

    event_ndim: dimensions of `heads`, or of its field `value`, after the batch's.
    """
    leaves, tree = jax.tree.flatten(heads)
    *leaves, action = widen(*leaves, action)
    heads = jax.tree.unflatten(tree, leaves)
    extra = (action.ndim - 1) - (getattr(heads, "value", heads).ndim - event_ndim)
    heads = jax.tree.map(lambda leaf: leaf.reshape((1,) * max(extra, 0) + leaf.shape), heads)
    return heads, action.reshape((1,) * max(-extra, 0) + action.shape)
