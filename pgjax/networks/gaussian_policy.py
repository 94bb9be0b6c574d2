"""The Gaussian policy: diagonal, with full covariance, or squashed into a box."""

from __future__ import annotations

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp

from pgjax.checks import check_choice
from pgjax.distributions import DiagonalNormal, MultivariateNormal, TanhNormal
from pgjax.networks.layers import POLICY_GAIN, Activation, Initialization, check_sizes, dense, torso_features
from pgjax.types import Array, Box, DTypeLike


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


def scale_tril(log_diagonal: Array, below: Array) -> Array:
    """Lower-triangular `[..., N, N]` from the logarithm of its diagonal and the entries below it, row by row."""
    num_dims = log_diagonal.shape[-1]
    rows, columns = jnp.tril_indices(num_dims, -1)
    tril = jnp.zeros((*below.shape[:-1], num_dims, num_dims), below.dtype).at[..., rows, columns].set(below)
    return tril + jnp.exp(log_diagonal)[..., None] * jnp.eye(num_dims, dtype=tril.dtype).reshape(
        (1,) * (log_diagonal.ndim - 1) + (num_dims, num_dims)
    )
