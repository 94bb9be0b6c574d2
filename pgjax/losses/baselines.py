"""Baselines from a batch of episodes, each estimated from the others, so that the gradient stays unbiased."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pgjax.distributions.base import as_float_array, widen
from pgjax.types import Array, ArrayLike, Params


def leave_one_out_baseline(returns: ArrayLike) -> Array:
    """Take the mean return of the other episodes as each one's baseline.

    `b_i = (sum_j G_j - G_i) / (B - 1)`

    The mean over all episodes, G_i included, would shrink the expected gradient by the factor 1 - 1 / B.

    Args:
        returns: G, shape `[B]`; for returns at each step, `vmap` over these (0 after an episode's end is right).

    Returns:
        shape `[B]`.
    Raises:
        ValueError: another shape, fewer than two episodes.
    Differentiable in:
        nothing.
    Reference:
        Kool, van Hoof & Welling (2019), Buy 4 REINFORCE samples, get a baseline for free!
    """
    (returns,) = widen(as_float_array("returns", returns))
    if returns.ndim != 1 or len(returns) < 2:
        raise ValueError(f"returns must have shape [B] with B >= 2; got {returns.shape}")
    return jax.lax.stop_gradient(_sum_of_others(returns) / (len(returns) - 1))


def optimal_baseline(gradients: Params, scores: Params) -> Array:
    """Estimate the constant baseline that makes the gradient's variance least, from the other episodes.

    `b_i = -sum_{j != i} X_j . Y_j / sum_{j != i} Y_j . Y_j`

    X_j is the gradient of episode j's loss without baseline and Y_j that of its weighted log probabilities, so
    that X_j + b Y_j is the gradient with baseline b, and b minimizes its mean square.

    Args:
        gradients: X, gradients of `reinforce_loss(log_probs, rewards, ...)`, a tree with leaves `[B, ...]`.
        scores: Y, gradients of sum_t gamma^t log pi(a_t | s_t), with the weights that X has, likewise.

    Returns:
        b, shape `[B]`; 0 where the other episodes' scores are all zero.
    Raises:
        ValueError: trees that differ, fewer than two episodes.
    Cost:
        one gradient for each episode, kept apart: B times the parameters' memory.
    Differentiable in:
        nothing.
    Reference:
        Greensmith, Bartlett & Baxter (2004), Variance reduction techniques for gradient estimates in reinforcement
        learning, theorem 8. Deviation: each episode's baseline leaves that episode out.
    """
    structures: list[Any] = [jax.tree.structure(tree) for tree in (gradients, scores)]
    if structures[0] != structures[1]:
        raise ValueError(f"scores must be a tree like gradients, {structures[0]}; got {structures[1]}")
    shapes, score_shapes = ([jnp.shape(x) for x in jax.tree.leaves(tree)] for tree in (gradients, scores))
    sizes = {shape[:1] for shape in shapes}
    if shapes != score_shapes or len(sizes) != 1 or min(sizes) < (2,):
        raise ValueError(
            "gradients and scores must be trees with leaves [B, ...] of the same shapes, B >= 2; "
            f"got {shapes} and {score_shapes}"
        )
    products, squares = (_sum_of_others(_dot(tree, scores)) for tree in (gradients, scores))
    baseline = -products / jnp.where(squares > 0, squares, 1)
    return jax.lax.stop_gradient(jnp.where(squares > 0, baseline, 0))


def _dot(left: Params, right: Params) -> Array:
    """Inner products of two trees with leaves `[B, ...]`, for each of B."""
    terms = jax.tree.map(lambda x, y: jnp.sum((x * y).reshape(len(x), -1), axis=1), left, right)
    return jnp.sum(jnp.stack(widen(*jax.tree.leaves(terms))), axis=0)


def _sum_of_others(x: Array) -> Array:
    """For each element, the sum of all others, added up without it: no cancellation against a large one."""
    before, after = jnp.cumsum(x), jnp.cumsum(x[::-1])[::-1]
    zero = jnp.zeros_like(x[:1])
    return jnp.concatenate([zero, before[:-1]]) + jnp.concatenate([after[1:], zero])
