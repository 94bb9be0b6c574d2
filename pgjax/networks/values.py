"""Values: V(s), Q(s, .) of finitely many actions, and Q(s, a) of a continuous one."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from pgjax.networks.layers import (
    MLP,
    VALUE_GAIN,
    Activation,
    Initialization,
    check_sizes,
    dense,
    kernel_init_of,
    torso_features,
)
from pgjax.types import Array, DTypeLike


class ValueNetwork(nn.Module):
    """State value V(s).

    Args:
        hidden_sizes, activation, initialization, torso, param_dtype: as in `GaussianPolicy`; the head's gain is 1.

    Called with observations `[..., D]`, returns `[...]`.
    """

    hidden_sizes: tuple[int, ...] = (64, 64)
    activation: Activation = nn.tanh
    initialization: Initialization = "lecun"
    torso: nn.Module | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, observation: Array) -> Array:
        return dense(self, 1, "value", torso_features(self, observation), VALUE_GAIN)[..., 0]


class QValues(nn.Module):
    """One value for each of A actions, Q(s, .).

    Args:
        num_actions: A.
        hidden_sizes, activation, initialization, torso, param_dtype: as in `GaussianPolicy`; the head's gain is 1.

    Called with observations `[..., D]`, returns `[..., A]`.
    """

    num_actions: int
    hidden_sizes: tuple[int, ...] = (64, 64)
    activation: Activation = nn.relu
    initialization: Initialization = "lecun"
    torso: nn.Module | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, observation: Array) -> Array:
        check_sizes("num_actions", (self.num_actions,))
        return dense(self, self.num_actions, "values", torso_features(self, observation), VALUE_GAIN)


class QNetwork(nn.Module):
    """Action value Q(s, a) of a continuous action.

    The first layer adds state and action features, W_s s + W_a a + b, which is the dense layer of [s, a]
    (one kernel `[D + N, H]`). Under `vmap` over actions alone, the state's half is computed once per state.

    Args:
        hidden_sizes, activation, initialization, param_dtype: as in `MLP`.

    Called with states `[..., D]` and actions `[..., N]` whose batch shapes broadcast, returns `[...]`.

    Cost:
        `2 H_1 (D + N) + 2 sum_i H_i H_(i+1) + 2 H_L` floating-point operations for one state and one action.
    """

    hidden_sizes: tuple[int, ...] = (64, 64)
    activation: Activation = nn.relu
    initialization: Initialization = "lecun"
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, state: Array, action: Array) -> Array:
        check_sizes("hidden_sizes", self.hidden_sizes)
        first, *rest = self.hidden_sizes
        state_size, action_size = state.shape[-1], action.shape[-1]
        kernel_init = kernel_init_of(self.initialization, 2.0**0.5)
        kernel = self.param("kernel", kernel_init, (state_size + action_size, first), self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros_init(), (first,), self.param_dtype)
        of_state = state @ kernel[:state_size] + _row(bias, state.ndim)
        of_action = action @ kernel[state_size:]
        ndim = max(of_state.ndim, of_action.ndim)
        x = self.activation(_row(of_state, ndim) + _row(of_action, ndim))
        if rest:
            x = MLP(tuple(rest), self.activation, self.initialization, self.param_dtype, name="torso")(x)
        return dense(self, 1, "value", x, VALUE_GAIN)[..., 0]


def _row(array: Array, ndim: int) -> Array:
    return array.reshape((1,) * (ndim - array.ndim) + array.shape)
