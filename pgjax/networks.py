"""Flax modules: the torso, the policies (which return a distribution), value and action-value networks.

Defaults are the textbook chapter's network: two hidden layers of 64 with tanh (ReLU where values of actions are
learned), and one log_std shared by all states that starts at zero. Parameters are float32 unless `param_dtype`
says otherwise; the computation has the dtype of the inputs and the parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, cast

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from pgjax.checks import check_choice
from pgjax.distributions import Categorical, DiagonalNormal, MultiCategorical, MultivariateNormal, TanhNormal
from pgjax.types import Array, Box, DTypeLike

__all__ = [
    "MLP",
    "POLICY_GAIN",
    "VALUE_GAIN",
    "Activation",
    "CategoricalPolicy",
    "GaussianPolicy",
    "Initialization",
    "QNetwork",
    "QValues",
    "ValueNetwork",
    "check_sizes",
    "dense",
    "scale_tril",
    "torso_features",
]

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


class GaussianPolicy(nn.Module):
    """Gaussian policy: features, a linear head for the mean, and log_std shared by all states or from a head.

    Args:
        action_size: N.
        hidden_sizes, activation: of the torso, see `MLP`; not read where there is another torso.
        initialization: of the torso and the heads, see `MLP`; "orthogonal" with gain 0.01 for the heads.
        std: "shared" (parameters, starting at 0) or "per_state" (a linear head).
        covariance: "diagonal", or "full": Sigma = L L^T with log L_ii in place of log_std and free entries
            below the diagonal, shared or per state like log_std.
        box: None, or the actions' bounds; then the action is squashed into it (`TanhNormal`).
        log_std_bounds: None, or (lowest, highest): log_std is clipped to it.
        torso: None for the MLP, or any Flax module from observations to features `[..., F]`.
        param_dtype: dtype of the parameters.

    Called with observations `[..., D]`, returns a `DiagonalNormal`, `MultivariateNormal` or `TanhNormal` with
    batch shape `[...]`. Hashable, so fine as a static argument of `jit`.

    Raises:
        ValueError: a setting that is not one of these, a box of other than N dimensions or with a full covariance;
            when it is initialized or applied.
    """

    action_size: int
    hidden_sizes: tuple[int, ...] = (64, 64)
    activation: Activation = nn.tanh
    std: Literal["shared", "per_state"] = "shared"
    covariance: Literal["diagonal", "full"] = "diagonal"
    box: Box | None = None
    log_std_bounds: tuple[float, float] | None = None
    initialization: Initialization = "lecun"
    torso: nn.Module | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, observation: Array) -> DiagonalNormal | MultivariateNormal | TanhNormal:
        self._check()
        features = torso_features(self, observation)
        mean = dense(self, self.action_size, "mean", features, POLICY_GAIN)
        log_std = self._spread(self.action_size, "log_std", features)
        if self.log_std_bounds is not None:
            log_std = jnp.clip(log_std, *self.log_std_bounds)
        if self.covariance == "full":
            num_below = self.action_size * (self.action_size - 1) // 2
            below = self._spread(num_below, "below", features) if num_below else jnp.zeros_like(log_std[..., :0])
            return MultivariateNormal(mean, scale_tril(log_std, below))
        if self.box is not None:
            return TanhNormal(mean, log_std, self.box.low, self.box.high)
        return DiagonalNormal(mean, log_std)

    def _spread(self, size: int, name: str, features: Array) -> Array:
        if self.std == "per_state":
            return dense(self, size, name, features, POLICY_GAIN)
        return self.param(name, nn.initializers.zeros_init(), (size,), self.param_dtype)

    def _check(self) -> None:
        check_sizes("action_size", (self.action_size,))
        check_choice("std", self.std, ("shared", "per_state"))
        check_choice("covariance", self.covariance, ("diagonal", "full"))
        if not isinstance(self.box, Box | None):
            raise ValueError(f"box must be a pgjax.Box(low, high) or None; got {self.box!r}")
        if self.box is not None and self.box.num_dims != self.action_size:
            raise ValueError(f"box must have action_size = {self.action_size} dimensions; got {self.box.num_dims}")
        if self.box is not None and self.covariance == "full":
            raise ValueError('box needs covariance="diagonal": squashing a full covariance is not supported')
        bounds = self.log_std_bounds
        numbers = isinstance(bounds, tuple) and all(isinstance(bound, int | float) for bound in bounds)
        if bounds is not None and not (numbers and len(bounds) == 2 and bounds[0] <= bounds[1]):
            raise ValueError(f"log_std_bounds must be (lowest, highest) or None; got {bounds!r}")


class CategoricalPolicy(nn.Module):
    """Categorical policy over one choice (`num_actions` an int) or several independent ones (a tuple).

    Args:
        num_actions: A, or (A_1, ..., A_F).
        hidden_sizes, activation, initialization, torso, param_dtype: as in `GaussianPolicy`.

    Called with observations `[..., D]` and optionally a mask (`[..., A]`; for a tuple, a tuple of masks),
    returns a `Categorical` or `MultiCategorical` with batch shape `[...]`.

    Raises:
        ValueError: a setting that is not one of these, masks that do not fit; when it is initialized or applied.
    """

    num_actions: int | tuple[int, ...]
    hidden_sizes: tuple[int, ...] = (64, 64)
    activation: Activation = nn.tanh
    initialization: Initialization = "lecun"
    torso: nn.Module | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, observation: Array, mask: Array | tuple[Array | None, ...] | None = None
    ) -> Categorical | MultiCategorical:
        several = isinstance(self.num_actions, tuple)
        sizes = cast(tuple[int, ...], self.num_actions if several else (self.num_actions,))
        check_sizes("num_actions", sizes)
        features = torso_features(self, observation)
        logits = dense(self, sum(sizes), "logits", features, POLICY_GAIN)
        if not several:
            return Categorical(logits, cast(Array | None, mask))
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
        return MultiCategorical(
            tuple(jnp.split(logits, ends, axis=-1)), cast(tuple[Array | None, ...] | None, mask)
        )


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
        kernel_init = _kernel_init(self.initialization, 2.0**0.5)
        kernel = self.param("kernel", kernel_init, (state_size + action_size, first), self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros_init(), (first,), self.param_dtype)
        of_state = state @ kernel[:state_size] + _row(bias, state.ndim)
        of_action = action @ kernel[state_size:]
        ndim = max(of_state.ndim, of_action.ndim)
        x = self.activation(_row(of_state, ndim) + _row(of_action, ndim))
        if rest:
            x = MLP(tuple(rest), self.activation, self.initialization, self.param_dtype, name="torso")(x)
        return dense(self, 1, "value", x, VALUE_GAIN)[..., 0]


def torso_features(module: nn.Module, observation: Array) -> Array:
    """The features `[..., F]` of the module's own torso, or of the MLP."""
    if module.torso is not None:
        return module.torso(observation)
    fields = ("hidden_sizes", "activation", "initialization", "param_dtype")
    return MLP(**{field: getattr(module, field) for field in fields}, name="torso")(observation)


def dense(module: nn.Module, size: int, name: str, x: Array, gain: float) -> Array:
    """A dense layer of the module, with its initialization and dtype, applied to `[..., F]`: `[..., size]`."""
    kernel_init = _kernel_init(module.initialization, gain)
    return nn.Dense(size, kernel_init=kernel_init, param_dtype=module.param_dtype, name=name)(x)


def _kernel_init(initialization: Initialization, gain: float) -> nn.initializers.Initializer:
    check_choice("initialization", initialization, ("lecun", "orthogonal"))
    return nn.initializers.orthogonal(gain) if initialization == "orthogonal" else nn.initializers.lecun_normal()


def scale_tril(log_diagonal: Array, below: Array) -> Array:
    """Lower-triangular `[..., N, N]` from the logarithm of its diagonal and the entries below it, row by row."""
    num_dims = log_diagonal.shape[-1]
    rows, columns = jnp.tril_indices(num_dims, -1)
    tril = jnp.zeros((*below.shape[:-1], num_dims, num_dims), below.dtype).at[..., rows, columns].set(below)
    return tril + jnp.exp(log_diagonal)[..., None] * jnp.eye(num_dims, dtype=tril.dtype).reshape(
        (1,) * (log_diagonal.ndim - 1) + (num_dims, num_dims)
    )


def _row(array: Array, ndim: int) -> Array:
    return array.reshape((1,) * (ndim - array.ndim) + array.shape)


def check_sizes(name: str, sizes: tuple[int, ...]) -> None:
    """Raise ValueError unless these are positive integers, at least one, in a tuple."""
    whole = isinstance(sizes, tuple) and all(
        isinstance(size, (int, np.integer)) and not isinstance(size, bool) for size in sizes
    )
    if not whole or not sizes or min(sizes) < 1:
        raise ValueError(f"{name} must be a tuple of positive integers, at least one; got {sizes!r}")
