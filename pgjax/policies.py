"""Policies as pure functions of (policy module, params, key, observation).

Each takes a Flax module that returns a distribution (`GaussianPolicy`, `CategoricalPolicy`, or one of yours),
its parameters, and observations `[..., D]`, unbatched, batched or under `vmap` alike. Jit them with the module
static: `jax.jit(pgjax.sample, static_argnums=0)`.
"""

from __future__ import annotations

from typing import Any

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from pgjax.networks import CategoricalPolicy, GaussianPolicy
from pgjax.types import Array, ArrayLike, Key, Params

__all__ = ["distribution", "entropy", "kl_divergence", "log_prob", "mode", "sample", "sample_and_log_prob"]

# Rows whose activations still fit in a CPU's caches; more at once page in fresh memory at every call.
_MAX_BLOCK_ROWS = 4096
_MIN_BLOCK_ROWS = 1024


def distribution(
    policy: nn.Module, params: Params, observation: ArrayLike, mask: Any = None
) -> distrax.Distribution:
    """Give the distribution of actions `pi(· | s)`, for one observation or a batch.

    On CPU, a large batch through the default torso is computed in blocks of rows: the same numbers, in less
    time and memory.

    Args:
        policy: Flax module from observations to a distribution.
        params: its variables, as `policy.init` returns them.
        observation: shape `[..., D]`, or what the policy's own torso takes.
        mask: allowed actions for a `CategoricalPolicy`, `[..., A]`, or a tuple of them, one for each factor.

    Returns:
        a distribution with batch shape `[...]`.
    Raises:
        ValueError: an observation without dimensions, or a mask for a policy that takes none.
    Cost:
        one forward pass.
    Differentiable in:
        params, observation.
    """
    observation = jax.tree.map(jnp.asarray, observation)
    if isinstance(observation, jax.Array) and observation.ndim == 0:
        raise ValueError("observation must have shape [..., D]; got a scalar")
    if mask is not None and isinstance(policy, GaussianPolicy):
        raise ValueError("mask is for categorical policies; GaussianPolicy takes none")
    inputs = (observation,) if mask is None else (observation, mask)

    def apply(inputs):
        return policy.apply(params, *inputs)

    block_rows = _block_rows(observation) if _acts_rowwise(policy) and mask is None else None
    if block_rows is None:
        return apply(inputs)
    return jax.lax.platform_dependent(
        inputs, cpu=lambda inputs: _apply_in_blocks(apply, inputs, block_rows), default=apply
    )


def sample(policy: nn.Module, params: Params, key: Key, observation: ArrayLike, mask: Any = None) -> Array:
    """Draw one action for each observation.

    Args:
        policy, params, observation, mask: as for `distribution`.
        key: random key, consumed.

    Returns:
        actions `[..., N]`; for categorical policies integers `[...]`, or `[..., F]` for F choices at once.
    Raises:
        ValueError: as `distribution`.
    Cost:
        one forward pass, and the numbers that the distribution draws: one for each action dimension as a rule.
    Differentiable in:
        params, observation, for Gaussian policies (reparameterized).
    """
    return distribution(policy, params, observation, mask).sample(seed=key)


def sample_and_log_prob(
    policy: nn.Module, params: Params, key: Key, observation: ArrayLike, mask: Any = None
) -> tuple[Array, Array]:
    """Draw one action for each observation, with its log probability `[...]` (exact also where it saturates).

    Reparameterized: the gradient of log_prob flows through the action too. For a score-function estimator, take
    `log_prob` of the stopped action.

    Args:
        policy, params, observation, mask: as for `distribution`.
        key: random key, consumed.

    Returns:
        the actions, as of `sample`, and their log probabilities (densities), shape `[...]`.
    Raises:
        ValueError: as `distribution`.
    Differentiable in:
        params, observation; through the actions too for Gaussian policies.
    """
    return distribution(policy, params, observation, mask).sample_and_log_prob(seed=key)


def log_prob(
    policy: nn.Module, params: Params, observation: ArrayLike, action: ArrayLike, mask: Any = None
) -> Array:
    """Log probability (density) of each action given its observation.

    Args:
        policy, params, observation, mask: as for `distribution`.
        action: `[..., N]`; for categorical policies integers `[...]` or `[..., F]`.

    Returns:
        shape `[...]`; -inf for actions outside the box or forbidden.
    Raises:
        ValueError: as `distribution`, or an action of another shape or kind.
    Differentiable in:
        params, observation, and a continuous action.
    """
    return distribution(policy, params, observation, mask).log_prob(action)


def entropy(policy: nn.Module, params: Params, observation: ArrayLike, mask: Any = None) -> Array:
    """Entropy of `pi(· | s)` in nats; of a squashed Gaussian by quadrature, to about 1e-6.

    Args:
        policy, params, observation, mask: as for `distribution`.

    Returns:
        shape `[...]`.
    Raises:
        ValueError: as `distribution`.
    Differentiable in:
        params, observation.
    """
    return distribution(policy, params, observation, mask).entropy()


def mode(policy: nn.Module, params: Params, observation: ArrayLike, mask: Any = None) -> Array:
    """The deterministic action: the mean, the squashed mean in a box, or the most probable action.

    Args:
        policy, params, observation, mask: as for `distribution`.

    Returns:
        actions, as of `sample`.
    Raises:
        ValueError: as `distribution`.
    Differentiable in:
        params, observation, for Gaussian policies.
    """
    return distribution(policy, params, observation, mask).mode()


def kl_divergence(
    policy: nn.Module, params: Params, other_params: Params, observation: ArrayLike, mask: Any = None
) -> Array:
    """`KL(pi_params(· | s) || pi_other_params(· | s))` in nats.

    Args:
        policy, params, observation, mask: as for `distribution`.
        other_params: the second policy's parameters, of the same module.

    Returns:
        shape `[...]`; +inf where the first allows what the second forbids.
    Raises:
        ValueError: as `distribution`.
    Cost:
        two forward passes.
    Differentiable in:
        params, other_params, observation.
    """
    other = distribution(policy, other_params, observation, mask)
    return distribution(policy, params, observation, mask).kl_divergence(other)


def _acts_rowwise(policy: nn.Module) -> bool:
    """Whether each row's output is known to depend on that row alone (another torso may mix rows)."""
    return isinstance(policy, (GaussianPolicy, CategoricalPolicy)) and policy.torso is None


def _block_rows(observation: Any) -> int | None:
    """The largest block that divides the rows evenly, or None where there is no use or no such block."""
    rows = observation.size // max(observation.shape[-1], 1)
    if rows < 2 * _MAX_BLOCK_ROWS:
        return None
    return next((block for block in range(_MAX_BLOCK_ROWS, _MIN_BLOCK_ROWS - 1, -1) if rows % block == 0), None)


def _apply_in_blocks(apply: Any, inputs: tuple[Array], block_rows: int) -> distrax.Distribution:
    (observation,) = inputs
    batch_shape = observation.shape[:-1]
    # A block takes rows from all over the batch: a batch sharded over devices stays so in every block.
    blocks = jnp.swapaxes(observation.reshape(block_rows, -1, observation.shape[-1]), 0, 1)
    stacked = jax.lax.map(lambda block: apply((block,)), blocks)
    return jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1).reshape(*batch_shape, *leaf.shape[2:]), stacked)
