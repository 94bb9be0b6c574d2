"""Multi-start projected Newton ascent."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from pgjax.maximizers.base import Maximizer
from pgjax.maximizers.multi_start import (
    DEFAULT_SEARCH,
    DEFAULT_SEARCH_STEPS,
    free_gradient,
    multi_start,
    trial_steps,
)
from pgjax.small_matrices import modified_cholesky, solve_lower, solve_upper


@functools.lru_cache(typed=True)
def newton(
    *,
    num_starts: int = 8,
    search: Maximizer | None = DEFAULT_SEARCH,
    num_search_steps: int = DEFAULT_SEARCH_STEPS,
    max_step: float = 0.5,
) -> Maximizer:
    """Climb by Newton steps from several starts side by side, projected onto the box.

    Dimensions at a bound that the gradient presses on are held; the Hessian of the others is made negative
    definite where it is not, so that every step climbs. Converges quadratically near a maximum of a smooth
    objective, on the box's faces too. Of no use on a critic of ReLU layers, whose Hessian is zero: each step is
    then one of length max_step along the gradient. Trial steps as in `lbfgs`.

    Args:
        num_starts, search, num_search_steps: the starts, as for `gradient_ascent`.
        max_step: longest step in its largest dimension, in half widths of the box.

    Raises:
        ValueError: a setting out of range; when run, as `gradient_ascent`.
    Cost:
        that of the search, then for each start and step one gradient, N Hessian columns (counted as gradients) and
        N^3 / 3 operations; the first step evaluates the starts.
    Reference:
        Bertsekas (1982), Projected Newton methods for optimization problems with simple constraints; modified
        Hessian: Gill, Murray & Wright (1981), Practical optimization, section 4.4.2.2.
    """
    if not max_step > 0:
        raise ValueError(f"max_step must be positive; got {max_step}")

    def examine(objective, trial, *_):
        def gradient_and_all(point):
            value, gradient = jax.value_and_grad(objective)(point)
            return gradient, (value, gradient)

        hessian, (value, gradient) = jax.jacfwd(gradient_and_all, has_aux=True)(trial)
        gradient, hessian = (jnp.where(jnp.isfinite(x), x, 0) for x in (gradient, hessian))
        climbing = free_gradient(trial, gradient)
        is_free = climbing != 0
        both_free = is_free[:, None] & is_free[None]
        lower = modified_cholesky(jnp.where(both_free, -hessian, jnp.eye(len(trial), dtype=trial.dtype)))
        direction = jnp.where(is_free, solve_upper(lower, solve_lower(lower, climbing)), 0)
        longest = jnp.max(jnp.abs(direction))
        direction = direction * (max_step / jnp.maximum(longest, max_step))
        return value, gradient, direction, None

    local = trial_steps(lambda start: None, examine)._replace(gradients_per_step=lambda num_dims: 1 + num_dims)
    return multi_start(local, num_starts, search, num_search_steps)
