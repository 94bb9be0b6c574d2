"""The natural gradient: conjugate gradients on products of the policy's Fisher matrix with vectors."""

from __future__ import annotations

from collections.abc import Callable

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from pgjax.checks import check_count
from pgjax.distributions.base import as_array, as_float_array, compute_dtype
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

    Returns: x, a tree like the gradient; to be subtracted from the parameters, times a step size. It is solved for
        in float32 at least; NaN where the gradient holds one.
    Raises: ValueError: a negative damping, fewer than one iteration, a gradient without floating numbers.
    Cost: one product an iteration.
    Differentiable in: nothing, in reverse.
    Reference: Kakade (2001), A natural policy gradient; Schulman et al. (2015), Trust region policy
        optimization, appendix C.
    """
    check_count("num_iterations", num_iterations)
    damping = as_float_array("damping", damping)
    if not isinstance(damping, jax.core.Tracer) and not np.all(np.asarray(damping) >= 0):
        raise ValueError(f"damping must not be negative; got {damping}")
    leaves = jax.tree.leaves(gradient)
    if not leaves or not all(jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves):
        raise ValueError("gradient must be a tree of floating arrays")
    dtype = compute_dtype(*(jnp.result_type(leaf) for leaf in leaves))
    flat, unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), gradient))

    def as_tree(vector):
        return jax.tree.map(lambda x, leaf: x.astype(jnp.result_type(leaf)), unravel(vector), gradient)

    def damped(vector):
        product = jax.tree.map(lambda x: jnp.asarray(x, dtype), fisher(as_tree(vector)))
        return ravel_pytree(product)[0] + damping.astype(dtype) * vector

    scale = jnp.max(jnp.abs(flat))  # squares of what is left neither overflow nor vanish
    solved = _conjugate_gradients(damped, flat / jnp.where(scale > 0, scale, 1), num_iterations)
    return as_tree(scale * solved)


def _conjugate_gradients(product: Callable[[Array], Array], right: Array, num_iterations: int) -> Array:
    """x with A x = right, from x = 0; ends where the residual, or the curvature of the next step, is rounding."""
    rounding = jnp.finfo(right.dtype).eps

    def goes_on(state):
        _, _, _, square, _, iteration = state
        return (iteration < num_iterations) & (square > rounding**2 * jnp.vdot(right, right))

    def step(state):
        x, residual, direction, square, greatest, iteration = state
        image = product(direction)
        curvature, length = jnp.vdot(direction, image), jnp.vdot(direction, direction)
        greatest = jnp.maximum(greatest, curvature / length)
        usable = curvature > 10 * rounding * greatest * length  # else A is singular there
        size = jnp.where(usable, square / jnp.where(usable, curvature, 1), 0)
        residual = residual - size * image
        new_square = jnp.vdot(residual, residual)
        state = x + size * direction, residual, residual + new_square / square * direction, new_square, greatest
        return *state, jnp.where(usable, iteration + 1, num_iterations)

    zero = jnp.zeros((), right.dtype)
    state = jnp.zeros_like(right), right, right, jnp.vdot(right, right), zero, jnp.int32(0)
    return jax.lax.while_loop(goes_on, step, state)[0]


def _as_weights(weights: ArrayLike | None, like: Array) -> Array:
    """Weights in the shape and dtype of `like`, those of the mean for None."""
    array = as_array("weights", 1 / like.size if weights is None else weights).astype(like.dtype)
    if array.shape not in ((), like.shape):
        raise ValueError(f"weights must be a scalar or have shape {like.shape}; got {array.shape}")
    return jnp.broadcast_to(array, like.shape)
