"""The categorical policy: one choice, or several independent ones."""

from __future__ import annotations

from typing import cast

import flax.linen as nn
import jax.numpy as jnp

from pgjax.distributions import Categorical, MultiCategorical
from pgjax.networks.layers import POLICY_GAIN, Activation, Initialization, check_sizes, dense, torso_features
from pgjax.types import Array, DTypeLike


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
