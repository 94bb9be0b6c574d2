"""What the networks are made of: the torso, dense layers and their initialization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from pgjax.checks import check_choice
from pgjax.types import Array, DTypeLike

Activation: TypeAlias = Callable[[Array], Array]
Initialization: TypeAlias = Literal["lecun", "orthogonal"]

# Gain of the last layer under "orthogonal": small for a policy, so that it starts near uniform, 1 for a value
# (Andrychowicz et al., 2021, What matters for on-policy deep actor-critic methods?, section 3.2).
POLICY_GAIN = 0.01
VALUE_GAIN = 1.0


class MLP(nn.Module):
    """Dense layers, the activation after each.

    Args:
        hidden_sizes: width of each layer, at least one.
        activation: elementwise function.
        initialization: of the kernels: "lecun" (truncated normal, variance 1 / fan-in) or "orthogonal" (gain
            sqrt 2).
        param_dtype: dtype of the parameters.

    Called with `[..., D]`, returns `[..., hidden_sizes[-1]]`.

    Raises:
        ValueError: a setting that is not one of these; when it is initialized or applied.
    """

    hidden_sizes: tuple[int, ...] = (64, 64)
    activation: Activation = nn.tanh
    initialization: Initialization = "lecun"
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        check_sizes("hidden_sizes", self.hidden_sizes)
        for i, size in enumerate(self.hidden_sizes):
            x = self.activation(dense(self, size, f"dense_{i}", x, 2.0**0.5))
        return x


def torso_features(module: nn.Module, observation: Array) -> Array:
    """The features `[..., F]` of the module's own torso, or of the MLP."""
    if module.torso is not None:
        return module.torso(observation)
    fields = ("hidden_sizes", "activation", "initialization", "param_dtype")
    return MLP(**{field: getattr(module, field) for field in fields}, name="torso")(observation)


def dense(module: nn.Module, size: int, name: str, x: Array, gain: float) -> Array:
    """A dense layer of the module, with its initialization and dtype, applied to `[..., F]`: `[..., size]`."""
    kernel_init = kernel_init_of(module.initialization, gain)
    return nn.Dense(size, kernel_init=kernel_init, param_dtype=module.param_dtype, name=name)(x)


def kernel_init_of(initialization: Initialization, gain: float) -> nn.initializers.Initializer:
    """The initializer of a kernel, by its name; the gain counts for "orthogonal" alone."""
    check_choice("initialization", initialization, ("lecun", "orthogonal"))
    return nn.initializers.orthogonal(gain) if initialization == "orthogonal" else nn.initializers.lecun_normal()


def check_sizes(name: str, sizes: tuple[int, ...]) -> None:
    """Raise ValueError unless these are positive integers, at least one, in a tuple."""
    whole = isinstance(sizes, tuple) and all(
        isinstance(size, (int, np.integer)) and not isinstance(size, bool) for size in sizes
    )
    if not whole or not sizes or min(sizes) < 1:
        raise ValueError(f"{name} must be a tuple of positive integers, at least one; got {sizes!r}")
