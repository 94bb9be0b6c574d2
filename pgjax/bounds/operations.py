"""How each kind of operation encloses its result, and the ways back through it.

Linear ones, elementary functions of one number, products of two, and what is only known to lie in an interval.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp

from pgjax.bounds.elementary import Elementary, Line, line, lines
from pgjax.bounds.enclosures import (
    OWN_ROUNDINGS,
    Enclosure,
    Interval,
    Operation,
    keep,
    make_enclosure,
    rounding_of,
    unit_roundoff,
)
from pgjax.types import Array

LinearMap: TypeAlias = Callable[..., Array]
_ELEMENTARY_ROUNDINGS = 16  # XLA's elementary functions are within a few units of the last place
_ACCUMULATED_ROUNDINGS = 256  # of all operations that led to an argument
_MANY_TERMS = 4  # a sum of more is not computed anew for every use


@dataclasses.dataclass(eq=False)
class Linear(Operation):
    """y = linear(x) + constant; `absolute` is the map with the absolute values of the coefficients."""

    linear: LinearMap
    absolute: LinearMap
    constant: Array | None
    parents: tuple[Enclosure, ...]

    def enclose(self, num_terms: int) -> Enclosure:
        signed = jax.vmap(self.linear)(*(x.signed for x in self.parents))
        unsigned = jax.vmap(self.absolute)(*(x.unsigned for x in self.parents))
        size = unsigned[2]
        if self.constant is not None:
            size = size + jnp.abs(self.constant)
            rows = jnp.arange(len(signed)).reshape((-1,) + (1,) * self.constant.ndim)
            signed = signed + jnp.where(rows < 2, self.constant[None], 0)
        rounding = rounding_of(size, num_terms + OWN_ROUNDINGS + len(signed))
        unsigned = jnp.stack([unsigned[0] + rounding, unsigned[1] + rounding, size + rounding])
        return make_enclosure(signed, unsigned, rounding, self.parents, self, is_product=num_terms > _MANY_TERMS)

    def upper(self, coefficients):
        constant = jnp.zeros((), coefficients.dtype) if self.constant is None else self.constant
        return _transpose(self.linear, self.parents, coefficients), jnp.sum(coefficients * constant)

    def gradient(self, gradient):
        centers = _transpose(self.linear, self.parents, gradient.center)
        radii = _transpose(self.absolute, self.parents, _rounded_radius(gradient))
        return tuple(Interval(c - r, c + r) for c, r in zip(centers, radii, strict=True))


@dataclasses.dataclass(eq=False)
class Elementwise(Operation):
    """y = f(x) for an elementary f of one number."""

    above: Line
    below: Line
    derivative: Interval

    @staticmethod
    def enclose(function: Elementary, x: Enclosure) -> Enclosure:
        low, high = _without_rounding_below(function.lowest, x)
        above, below, band = lines(function, low, high)
        flat = line(function, jnp.zeros_like(low), low, high)
        steepest = functools.reduce(jnp.maximum, [jnp.abs(each.slope) for each in (above, below, band)])
        numbers = jnp.stack([*above, *below, *band, flat.low, flat.high, steepest])
        numbers = keep(numbers)[0]
        above, below, band = (Line(*numbers[i : i + 3]) for i in (0, 3, 6))
        unit = _ELEMENTARY_ROUNDINGS * unit_roundoff(low)
        # An extreme that is looked for beside its place is missed by this much.
        missed = 0.5 * function.curvature * jnp.square(unit * x.unsigned[2]) if function.curvature else 0.0
        interval, steepest = Interval(numbers[9] - missed, numbers[10] + missed), numbers[11]
        # f itself, and slope * x of any of the lines, are rounded where the line's offset is found.
        rounding = rounding_of(steepest * x.unsigned[2], _ELEMENTARY_ROUNDINGS) + missed
        affine = band.slope[None] * x.signed[1:]
        affine = jnp.concatenate([affine[:1] + 0.5 * (band.low + band.high)[None], affine[1:]])
        error = jnp.abs(band.slope) * x.unsigned[1] + 0.5 * (band.high - band.low) + rounding
        least, largest = function.derivative_range(low, high)
        least, largest = (
            least - unit * (1 + jnp.abs(least)) - missed,
            largest + unit * (1 + jnp.abs(largest)) + missed,
        )
        known = jnp.isfinite(interval.low) & jnp.isfinite(interval.high)  # else a pole may be inside
        derivative = Interval(jnp.where(known, least, -jnp.inf), jnp.where(known, largest, jnp.inf))
        operation = Elementwise(above, below, derivative)
        result = _enclosed(operation, (x,), affine, error, interval, _ELEMENTARY_ROUNDINGS)
        result.rounding = result.rounding + rounding
        return result

    def upper(self, coefficients):
        up = coefficients > 0
        constant = coefficients * jnp.where(up, self.above.high, self.below.low)
        return (coefficients * jnp.where(up, self.above.slope, self.below.slope),), jnp.sum(constant)

    def gradient(self, gradient):
        return (gradient.times(self.derivative),)


@dataclasses.dataclass(eq=False)
class Bilinear(Operation):
    """y = product(x_1, x_2), linear in each: x_1 * x_2 = c_1 x_2 + x_1 c_2 - c_1 c_2 + (x_1 - c_1)(x_2 - c_2).

    The mean of the two planes of McCormick (1976), Computability of global solutions to factorable nonconvex
    programs, part I, above, and of the two below.
    """

    linear: LinearMap
    absolute: LinearMap
    spread: LinearMap
    parents: tuple[Enclosure, Enclosure]
    residual: Interval

    @staticmethod
    def enclose(product: LinearMap, x: Enclosure, y: Enclosure, num_terms: int) -> Enclosure:
        x_center, y_center = x.interval.center, y.interval.center
        x_radius, y_radius = x.interval.radius, y.interval.radius
        x_size, y_size = jnp.abs(x_center), jnp.abs(y_center)

        def around(a, b):
            return lambda u, v: product(u, b) + product(a, v)

        linear, absolute, spread = around(x_center, y_center), around(x_size, y_size), around(x_radius, y_radius)
        corner, most = product(x_center, y_center), product(x_radius, y_radius)
        is_square = x is y and x.center.ndim == 1 and corner.ndim == 0  # (x - c) . (x - c) >= 0
        residual = Interval(-corner - (0 if is_square else most), most - corner)
        affine = jax.vmap(linear)(x.signed[1:], y.signed[1:])
        affine = jnp.concatenate([affine[:1] + residual.center[None], affine[1:]])
        reach = absolute(x_radius, y_radius) + most
        units = 3 * (num_terms + OWN_ROUNDINGS)
        rounding = rounding_of(product(x.unsigned[2], y.unsigned[2]), units)
        error = absolute(x.unsigned[1], y.unsigned[1]) + residual.radius + rounding
        interval = Interval(corner - reach - rounding, corner + reach + rounding)
        operation = Bilinear(linear, absolute, spread, (x, y), residual)
        result = _enclosed(operation, (x, y), affine, error, interval, units)
        result.rounding = result.rounding + rounding
        return result

    def upper(self, coefficients):
        constant = coefficients * jnp.where(coefficients > 0, self.residual.high, self.residual.low)
        return _transpose(self.linear, self.parents, coefficients), jnp.sum(constant)

    def gradient(self, gradient):
        radius = _rounded_radius(gradient)
        size = jnp.abs(gradient.center) + radius
        centers = _transpose(self.linear, self.parents, gradient.center)
        inner = _transpose(self.absolute, self.parents, radius)
        outer = _transpose(self.spread, self.parents, size)
        return tuple(Interval(c - r - s, c + r + s) for c, r, s in zip(centers, inner, outer, strict=True))


@dataclasses.dataclass(eq=False)
class Hull(Operation):
    """y in an interval, of which nothing more is known: no plane, no gradient."""

    interval: Interval
    parents: tuple[Enclosure, ...]

    @staticmethod
    def enclose(interval: Interval, parents: tuple[Enclosure, ...]) -> Enclosure:
        num_slopes = len(parents[0].signed) - 2
        slopes = jnp.zeros((num_slopes, *interval.low.shape), interval.low.dtype)
        affine = jnp.concatenate([interval.center[None], slopes])
        operation = Hull(interval, parents)
        return _enclosed(operation, parents, affine, interval.radius, interval, OWN_ROUNDINGS)

    def upper(self, coefficients):
        constant = jnp.sum(coefficients * jnp.where(coefficients > 0, self.interval.high, self.interval.low))
        return tuple(jnp.zeros_like(parent.center) for parent in self.parents), constant

    def gradient(self, gradient):
        matters = jnp.any((gradient.low != 0) | (gradient.high != 0))
        most = jnp.where(matters, jnp.inf, 0).astype(gradient.low.dtype)
        unknown = [jnp.full_like(parent.center, most) for parent in self.parents]
        return tuple(Interval(-x, x) for x in unknown)


def _enclosed(
    operation: Operation,
    parents: tuple[Enclosure, ...],
    affine: Array,
    error: Array,
    interval: Interval,
    units: int,
) -> Enclosure:
    """A nonlinear operation's enclosure, from its affine form (center and slopes `[1 + N, ...]`)."""
    reach = jnp.sum(jnp.abs(affine), axis=0) + error
    size = functools.reduce(jnp.maximum, [reach, jnp.abs(interval.low), jnp.abs(interval.high)])
    rounding = rounding_of(size, units + len(affine))
    signed = jnp.concatenate([interval.center[None], affine])
    unsigned = jnp.stack([interval.radius + rounding, error + rounding, size + rounding])
    return make_enclosure(signed, unsigned, rounding, parents, operation)


def _without_rounding_below(lowest: float, x: Enclosure) -> Interval:
    """The interval, from the lowest argument that a function has, where not more than rounding lies below that."""
    low, high = x.interval
    if lowest == -math.inf:
        return Interval(low, high)
    slack = _ACCUMULATED_ROUNDINGS * unit_roundoff(low) * x.unsigned[2]
    low = jnp.where((low < lowest) & (low >= lowest - slack), lowest, low)
    return Interval(low, jnp.where(high >= lowest - slack, jnp.maximum(low, high), high))


def _rounded_radius(gradient: Interval) -> Array:
    """The radius with room for the rounding of the sums that a transposed linear map makes."""
    size = jnp.abs(gradient.center) + gradient.radius
    rounding = rounding_of(size, size.size + OWN_ROUNDINGS)
    return gradient.radius + jnp.where(size == 0, 0, rounding)  # 0 where nothing depends on it, exactly


def _transpose(function: LinearMap, parents: Sequence[Enclosure], coefficients: Array) -> tuple[Array, ...]:
    return jax.linear_transpose(function, *(parent.center for parent in parents))(coefficients)
