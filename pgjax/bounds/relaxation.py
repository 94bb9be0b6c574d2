"""The public face: bounds of one number or array over one box."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from pgjax.bounds.forms import Enclosure, Interval, box_enclosure
from pgjax.bounds.interpreter import enclose
from pgjax.types import Array


class Relaxation(NamedTuple):
    """An upper bound of a function over a box, as a number and as a plane, and its gradient's range.

    upper: f(a) <= upper; plane, slopes `[N]`: f(a) <= plane - sum_k (|slope_k| radius_k - slope_k (a_k - center_k)).
    """

    upper: Array
    plane: Array
    slopes: Array
    gradient_low: Array
    gradient_high: Array


def interval_bounds(function, low: Array, high: Array) -> Interval:
    value = enclose(function, box_enclosure(low, high))
    return value.interval if isinstance(value, Enclosure) else Interval(value, value)


def relax(objective: Callable[[Array], Array], low: Array, high: Array) -> Relaxation:
    box = box_enclosure(low, high)
    result = enclose(objective, box)
    if not isinstance(result, Enclosure):
        zero = jnp.zeros_like(low)
        return Relaxation(result, result, zero, zero, zero)
    order = _ancestors(result)
    plane, slopes = _upper(order, box)
    upper = jnp.minimum(plane, result.interval.high)
    gradient = _gradient(order, box)
    return Relaxation(jnp.where(jnp.isnan(upper), jnp.inf, upper), plane, slopes, *gradient)


def _ancestors(result: Enclosure) -> list[Enclosure]:
    """All that a result was made from, each after everything made from it."""
    found: dict[int, Enclosure] = {}

    def visit(enclosure):
        if id(enclosure) not in found:
            for parent in enclosure.parents:
                visit(parent)
            found[id(enclosure)] = enclosure

    visit(result)
    return list(found.values())[::-1]


def _upper(order: list[Enclosure], box: Enclosure) -> tuple[Array, Array]:
    coefficients = {id(order[0]): jnp.ones_like(order[0].center)}
    constant = jnp.zeros_like(order[0].center)
    for enclosure in order:
        own = coefficients.pop(id(enclosure))
        constant = constant + jnp.sum(jnp.abs(own) * enclosure.rounding)
        if enclosure.operation is None:
            break
        parts, extra = enclosure.operation.upper(own)
        constant = constant + extra
        for parent, part in zip(enclosure.parents, parts, strict=True):
            coefficients[id(parent)] = coefficients[id(parent)] + part if id(parent) in coefficients else part
    radius = box.interval.radius
    return constant + jnp.sum(own * box.center) + jnp.sum(jnp.abs(own) * radius), own


def _gradient(order: list[Enclosure], box: Enclosure) -> Interval:
    one = jnp.ones_like(order[0].center)
    gradients = {id(order[0]): Interval(one, one)}
    for enclosure in order:
        own = gradients.pop(id(enclosure))
        if enclosure.operation is None:
            break
        for parent, part in zip(enclosure.parents, enclosure.operation.gradient(own), strict=True):
            known = gradients.get(id(parent))
            gradients[id(parent)] = part if known is None else Interval(known.low + part.low, known.high + part.high)
    return own
