"""Bounds of a function over one box: an interval, an upper plane, the range of the gradient."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from pgjax.bounds.enclosures import Enclosure, Interval, box_enclosure, keep, smallest_normal
from pgjax.bounds.interpreter import enclose
from pgjax.types import Array


class Relaxation(NamedTuple):
    """What is proved of a function f over a box of center c and radius r.

    Fields:
        upper: f(a) <= upper; +inf where nothing is known.
        plane, slopes: `f(a) <= plane - sum_k (|slopes_k| r_k - slopes_k (a_k - c_k))`; shapes `[]` and `[N]`. The
            plane's own largest value is `plane`, which may be above `upper`.
        gradient_low, gradient_high: range of df / da_k over the box, at kinks of both sides' slopes and all
            between (Clarke's generalized gradient); shape `[N]`, infinite or NaN where f may jump.
    """

    upper: Array
    plane: Array
    slopes: Array
    gradient_low: Array
    gradient_high: Array


def interval_bounds(function: Callable[[Array], Array], low: Array, high: Array) -> Interval:
    """Bound each number that a function of one action returns, over a box.

    The smaller of interval arithmetic and affine arithmetic, with room for the rounding of every operation.

    Args:
        function: takes an array `[N]`, returns one of any shape, made of operations that have rules.
        low, high: the box, shape `[N]`, floating, of one dtype.

    Returns:
        `Interval(low, high)` of the function's shape.
    Raises:
        ValueError: an operation without a rule.
    Reference:
        Moore (1966), Interval analysis; de Figueiredo & Stolfi (2004), Affine arithmetic.
    """
    value = enclose(function, box_enclosure(low, high))
    return value.interval if isinstance(value, Enclosure) else Interval(value, value)


def relax(objective: Callable[[Array], Array], low: Array, high: Array) -> Relaxation:
    """Bound a function over a box from above, by a number and a plane, and bound its gradient.

    Forward, every intermediate array is enclosed by an affine form of the action and an interval; backward, a
    linear functional of each array is bounded by one of what it was made from, where a nonlinear operation is
    replaced by the line above or below it, by the functional's sign; alongside goes the range of the gradient.
    Numbers that do not depend on the action are computed once however many boxes there are under vmap, and are
    taken as computed: bounds allow for rounding in all else.

    Args:
        objective: takes an action `[N]`, returns a scalar, made of operations that have rules.
        low, high: the box, shape `[N]`, floating, of one dtype, low <= high.

    Returns:
        a `Relaxation`. For smooth objectives upper exceeds the maximum by O(r^2).
    Raises:
        ValueError: an operation without a rule.
    Cost:
        for a dense network about 2 (N + 5) evaluations, in products of the weights with N + 8 columns a box.
    Reference:
        Zhang et al. (2018), Efficient neural network robustness certification with general activation functions
        (CROWN), theorem 3.2. Deviation: bounds of hidden units are from forward affine forms with one band around
        each nonlinearity (Singh et al. (2018), Fast and effective robustness certification), where CROWN goes
        backward from each unit.
    """
    box = box_enclosure(low, high)
    result = enclose(objective, box)
    if not isinstance(result, Enclosure):
        value, zeros = _number_or_inf(jnp.asarray(result)), jnp.zeros_like(low)
        return Relaxation(value, value, zeros, zeros, zeros)
    order = _ancestors(result)
    plane, slopes, gradient = _go_back(order)
    upper = jnp.fmin(plane, result.interval.high)  # NaN says nothing
    return Relaxation(_number_or_inf(upper), _number_or_inf(plane), slopes, *gradient)


def _number_or_inf(x: Array) -> Array:
    return jnp.where(jnp.isnan(x), jnp.inf, x)


def _ancestors(result: Enclosure) -> list[Enclosure]:
    """All that a result was made from, each after everything made from it; the box is the last."""
    found: dict[int, Enclosure] = {}
    waiting = [result]
    while waiting:
        enclosure = waiting[-1]
        missing = [parent for parent in enclosure.parents if id(parent) not in found]
        if missing:
            waiting += missing
        else:
            found[id(waiting.pop())] = enclosure
    return list(found.values())[::-1]


def _go_back(order: list[Enclosure]) -> tuple[Array, Array, Interval]:
    """The upper plane's largest value, its slopes, and the range of the gradient."""
    constant, one = jnp.zeros_like(order[0].center), jnp.ones_like(order[0].center)
    # Of each enclosure: the plane's coefficients, least and largest gradient.
    sums: dict[int, tuple[Array, ...]] = {id(order[0]): (one, one, one)}
    uses = collections.Counter(id(parent) for enclosure in order for parent in enclosure.parents)
    for enclosure in order[:-1]:
        coefficients, *gradient = sums.pop(id(enclosure))
        if coefficients.ndim == 0 or uses[id(enclosure)] > 1:  # a number, or a sum over many paths
            coefficients, *gradient = _kept(coefficients, *gradient)
        assert enclosure.operation is not None
        parts, extra = enclosure.operation.upper(coefficients)
        extra = extra + jnp.sum(jnp.abs(coefficients) * enclosure.rounding)
        # A parent's coefficients are sums of products, which may be flushed to 0, times numbers up to its size.
        lost = coefficients.size * smallest_normal(coefficients)
        sizes = (jnp.sum(parent.unsigned[2]) for parent in enclosure.parents)
        extra = extra.astype(constant.dtype) + lost * sum(size.astype(constant.dtype) for size in sizes)
        constant = constant + extra
        ranges = enclosure.operation.gradient(Interval(*gradient))
        for parent, part, (low, high) in zip(enclosure.parents, parts, ranges, strict=True):
            new, known = (part, low, high), sums.get(id(parent))
            sums[id(parent)] = new if known is None else tuple(map(jnp.add, known, new))
    box, (slopes, *gradient) = order[-1], sums[id(order[-1])]
    constant = constant + jnp.sum(slopes * box.center) + jnp.sum(jnp.abs(slopes) * box.unsigned[0])
    return constant, slopes, Interval(*gradient)


def _kept(coefficient: Array, low: Array, high: Array) -> tuple[Array, ...]:
    """The numbers through `keep`, which would make NaN of all where one is infinite."""
    known = jnp.isfinite(low) & jnp.isfinite(high)
    numbers = [coefficient, jnp.where(known, low, 0), jnp.where(known, high, 0), known.astype(low.dtype)]
    (coefficient, low, high, known), *_ = keep(jnp.stack(numbers))
    return coefficient, jnp.where(known > 0, low, -jnp.inf), jnp.where(known > 0, high, jnp.inf)
