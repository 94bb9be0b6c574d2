"""The natural gradient: conjugate gradients on products of the policy's Fisher matrix with vectors."""

from __future__ import annotations

from collections.abc import Callable

import distrax
import jax
import jax.numpy as jnp

from pgjax.checks import check_count
from pgjax.distributions.base import as_array, compute_dtype
from pgjax.returns.arrays import as_scalar
from pgjax.types import Array, ArrayLike, Params

FisherProduct = Callable[[Params], Params]


def kl_fisher(
    distribution_fn: Callable[[Params], distrax.Distribution], params: Params, weights: ArrayLike | None = None
) -> FisherProduct:
    """Make the product with the Fisher matrix, as the curvature of the KL divergence.

    `F = sum_t w_t E_{a ~ pi}[score score^T](s_t)`, the Hessian of `sum_t w_t KL(pi || pi')(s_t)` at `pi' = pi`.

    Exact in the actions. For a Gaussian, F is Sigma^-1 in the mean and 2 I in log_std.

    Args:
        distribution_fn: from parameters to the policy at some states, any batch shape; its distribution must
            have `kl_divergence`.
        params: the parameters, a tree of floating arrays.
        weights: w, a scalar or of the batch shape; None for the mean.

    Returns:
        a function from trees like params to F times them.
    Raises:
        ValueError: weights of another shape, an empty batch, params without floating leaves.
    Cost:
        one gradient here; about one more forward and backward pass for each product.
    Reference:
        Schulman et al. (2015), Trust region policy optimization, appendix C.1.
    """
    _leaf_dtypes("params", params)
    pi = distribution_fn(params)

    def divergence(params):
        divergences = pi.kl_divergence(distribution_fn(params))
        return jnp.sum(_as_weights(weights, divergences) * divergences)

    return jax.linearize(jax.grad(divergence), params)[1]


def score_fisher(
    log_prob_fn: Callable[[Params], Array], params: Params, weights: ArrayLike | None = None
) -> FisherProduct:
    """Make the product with the Fisher matrix, as estimated from sampled actions.

    `F = sum_i w_i score_i score_i^T`, with score_i the gradient of `log pi(a_i | s_i)`.

    Needs densities only. Its rank is the number of samples at most: damp it.

    Args:
        log_prob_fn: from parameters to log pi(a_i | s_i) of actions sampled from that policy, any shape.
        params: the parameters, a tree of floating arrays.
        weights: w, a scalar or of the shape of the log probabilities, not negative; None for the mean.

    Returns:
        a function from trees like params to F times them.
    Raises:
        ValueError: weights of another shape, an empty batch, params without floating leaves.
    Cost:
        one forward pass here; about one more forward and backward pass for each product.
    Reference:
        Kakade (2001), A natural policy gradient.
    """
    _leaf_dtypes("params", params)
    log_probs, directional = jax.linearize(log_prob_fn, params)
    transposed = jax.linear_transpose(directional, params)

    sample_weights = _as_weights(weights, log_probs)
    return lambda vector: transposed(sample_weights * directional(vector))[0]


def natural_gradient(
    fisher: FisherProduct, gradient: Params, *, damping: ArrayLike = 0.1, num_iterations: int = 10
) -> Params:
    """Turn a gradient into the direction of steepest descent per KL divergence.

    `(F + damping I) x = gradient` is solved for x, by conjugate gradients.

    Exact after as many iterations as the parameters have dimensions; fewer give x in the Krylov space of the
    gradient, still a descent direction. Solved in at least float32, for the gradient over its largest entry. It
    stops early in a direction without curvature (p^T F p at rounding level), which without damping has no
    solution. NaN gives NaN.

    Args:
        fisher: the product with F, of `kl_fisher` or `score_fisher`.
        gradient: of a loss, a tree like the parameters.
        damping: added to F's diagonal; 0.1 as in the reference's code.
        num_iterations: at most so many; 10 as in the reference. Fewer once x is exact to rounding.

    Returns:
        x, a tree like the gradient; to be subtracted from the parameters, times a step size.
    Raises:
        ValueError: a damping known and negative, fewer than one iteration, a gradient without floating leaves.
    Cost:
        one product an iteration.
    Differentiable in:
        gradient, by one more solution.
    Reference:
        Kakade (2001), A natural policy gradient; Schulman et al. (2015), Trust region policy optimization,
        appendix C.
    """
    check_count("num_iterations", num_iterations)
    dtype = compute_dtype(*_leaf_dtypes("gradient", gradient))
    wide = jax.tree.map(lambda x: jnp.asarray(x, dtype), gradient)
    damping = as_scalar("damping", damping, jax.tree.leaves(wide)[0], 0)
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(x), initial=0) for x in jax.tree.leaves(wide)]))
    scale = jax.lax.stop_gradient(jnp.where(largest == 0, 1, largest))

    def damped(vector):
        product = fisher(jax.tree.map(lambda x, like: x.astype(jnp.asarray(like).dtype), vector, gradient))
        return jax.tree.map(lambda y, x: y.astype(dtype) + damping * x, product, vector)

    def solve(matvec, target):
        return _conjugate_gradients(matvec, target, num_iterations)

    scaled = jax.tree.map(lambda x: x / scale, wide)
    solution = jax.lax.custom_linear_solve(damped, scaled, solve, symmetric=True)
    return jax.tree.map(lambda x, like: (scale * x).astype(jnp.asarray(like).dtype), solution, gradient)


def _conjugate_gradients(matvec: FisherProduct, target: Params, num_iterations: int) -> Params:
    """x with matvec(x) = target, from 0, until exact to rounding or in a direction without curvature."""
    rounding = float(jnp.finfo(jax.tree.leaves(target)[0].dtype).eps)
    limit = rounding**2 * _dot(target, target)

    def step(state):
        i, x, residual, direction, square, steepest, _ = state
        product = matvec(direction)
        curvature, length = _dot(direction, product), _dot(direction, direction)
        steepest = jnp.maximum(steepest, curvature / length)
        flat = curvature <= 10 * rounding * steepest * length
        size = jnp.where(flat, 0, square / jnp.where(flat, 1, curvature))
        x, residual = _add(x, size, direction), _add(residual, -size, product)
        following = _dot(residual, residual)
        direction = _add(residual, following / square, direction)
        return i + 1, x, residual, direction, following, steepest, flat | (following <= limit)

    start = jax.tree.map(jnp.zeros_like, target)
    square = _dot(target, target)
    state = jnp.int32(0), start, target, target, square, jnp.zeros_like(square), square == 0
    return jax.lax.while_loop(lambda state: (state[0] < num_iterations) & ~state[-1], step, state)[1]


def _dot(left: Params, right: Params) -> Array:
    products = jax.tree.map(lambda x, y: jnp.sum(x * y), left, right)
    return jnp.sum(jnp.stack(jax.tree.leaves(products)))


def _add(x: Params, factor: Array, y: Params) -> Params:
    return jax.tree.map(lambda x, y: x + factor * y, x, y)


def _leaf_dtypes(name: str, tree: Params) -> list[jnp.dtype]:
    """The leaves' dtypes. Raises: ValueError: no leaf, or one that is not floating."""
    dtypes = [jnp.asarray(leaf).dtype for leaf in jax.tree.leaves(tree)]
    if not dtypes or not all(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes):
        raise ValueError(f"{name} must be a tree of floating arrays, not empty; got dtypes {dtypes}")
    return dtypes


def _as_weights(weights: ArrayLike | None, like: Array) -> Array:
    """Weights in the shape and dtype of `like`, those of the mean for None."""
    if like.size == 0:
        raise ValueError("params must give a policy at one state or more, or one log probability; got none")
    array = as_array("weights", 1 / like.size if weights is None else weights).astype(like.dtype)
    if array.shape not in ((), like.shape):
        raise ValueError(f"weights must be a scalar or have shape {like.shape}; got {array.shape}")
    return jnp.broadcast_to(array, like.shape)
