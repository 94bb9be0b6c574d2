"""The natural gradient: conjugate gradients on products of the policy's Fisher matrix with vectors."""

from __future__ import annotations

from collections.abc import Callable

import distrax
import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg

from pgjax.checks import check_count
from pgjax.distributions.base import as_array
from pgjax.types import Array, ArrayLike, Params

FisherProduct = Callable[[Params], Params]


def kl_fisher(
    distribution_fn: Callable[[Params], distrax.Distribution], params: Params, weights: ArrayLike | None = None
) -> FisherProduct:
    """Make the product with the Fisher matrix, as the curvature of the KL divergence.

    F = sum_t w_t E_{a ~ pi}[score score^T](s_t), which is the Hessian of sum_t w_t KL(pi || pi')(s_t) at pi' = pi

    Exact in the actions. For a Gaussian, F is Sigma^-1 in the mean and 2 I in log_std.

    Args:
        distribution_fn: from parameters to the policy at some states, any batch shape; its distribution must
            have `kl_divergence`.
        params: the parameters, a tree of floating arrays.
        weights: w, a scalar or of the batch shape; None for the mean.

    Returns: a function from trees like params to F times them.
    Raises: ValueError: weights of another shape.
    Cost: one gradient here; about one more forward and backward pass for each product.
    Reference: Schulman et al. (2015), Trust region policy optimization, appendix C.1.
    """
    pi = distribution_fn(params)

    def divergence(params):
        divergences = pi.kl_divergence(distribution_fn(params))
        return jnp.sum(_as_weights(weights, divergences) * divergences)

    return jax.linearize(jax.grad(divergence), params)[1]


def score_fisher(
    log_prob_fn: Callable[[Params], Array], params: Params, weights: ArrayLike | None = None
) -> FisherProduct:
    """Make the product with the Fisher matrix, as estimated from sampled actions.

    F = sum_i w_i score_i score_i^T,   score_i = gradient of log pi(a_i | s_i)

    Needs densities only. Its rank is the number of samples at most: damp it.

    Args:
        log_prob_fn: from parameters to log pi(a_i | s_i) of actions sampled from that policy, any shape.
        params: the parameters, a tree of floating arrays.
        weights: w, a scalar or of the shape of the log probabilities, not negative; None for the mean.

    Returns: a function from trees like params to F times them.
    Raises: ValueError: weights of another shape.
    Cost: one forward pass here; about one more forward and backward pass for each product.
    Reference: Kakade (2001), A natural policy gradient.
    """
    log_probs, directional = jax.linearize(log_prob_fn, params)
    transposed = jax.linear_transpose(directional, params)

    sample_weights = _as_weights(weights, log_probs)
    return lambda vector: transposed(sample_weights * directional(vector))[0]


def natural_gradient(
    fisher: FisherProduct, gradient: Params, *, damping: ArrayLike = 0.1, num_iterations: int = 10
) -> Params:
    """Turn a gradient into the direction of steepest descent per KL divergence.

    x with (F + damping I) x = gradient, by conjugate gradients

    Exact after as many iterations as the parameters have dimensions; fewer give x in the Krylov space of the
    gradient, still a descent direction.

    Args:
        fisher: the product with F, of `kl_fisher` or `score_fisher`.
        gradient: of a loss, a tree like the parameters.
        damping: added to F's diagonal; 0.1 as in the reference's code.
        num_iterations: at most so many; 10 as in the reference. Fewer once x is exact to rounding.

    Returns: x, a tree like the gradient; to be subtracted from the parameters, times a step size.
    Raises: ValueError: a negative damping, fewer than one iteration.
    Cost: one product an iteration, and one more.
    Reference: Kakade (2001), A natural policy gradient; Schulman et al. (2015), Trust region policy
        optimization, appendix C.
    """
    check_count("num_iterations", num_iterations)
    if isinstance(damping, (int, float)) and not damping >= 0:
        raise ValueError(f"damping must not be negative; got {damping}")

    def damped(vector):
        return jax.tree.map(lambda product, entry: product + damping * entry, fisher(vector), vector)

    rounding = max(float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(gradient))
    return cg(damped, gradient, tol=rounding, maxiter=num_iterations)[0]


def _as_weights(weights: ArrayLike | None, like: Array) -> Array:
    """Weights in the shape and dtype of `like`, those of the mean for None."""
    array = as_array("weights", 1 / like.size if weights is None else weights).astype(like.dtype)
    if array.shape not in ((), like.shape):
        raise ValueError(f"weights must be a scalar or have shape {like.shape}; got {array.shape}")
    return jnp.broadcast_to(array, like.shape)
