"""Intermediate arrays of a function over a box, enclosed by affine forms and intervals, and the ways back.

A box is center + radius * t with t in [-1, 1]^N. An enclosure holds an array x in two ways at once,

    x = center + slopes^T t +- error   (an affine form),   and   x = middle +- radius   (an interval),

both with room for rounding. Each enclosure knows the operation that made it, y = L x + r with L linear and r in a
range, so that a linear functional of y is bounded by one of x (`upper`), and a range of gradients in y becomes one
in x (`gradient`).

Rounding: an operation that adds K products rounds by at most about K u sum |terms|, u half the dtype's eps
(Higham (2002), Accuracy and stability of numerical algorithms, section 3.1), whatever the order of the sum. `size`
bounds the absolute values of everything an enclosure is made of, and each operation widens its result by its
number of roundings times u times the size; terms of order u^2 are left out.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from pgjax.bounds.elementary import Elementary, Line, line, lines
from pgjax.types import Array

LinearMap: TypeAlias = Callable[..., Array]
# Roundings beside one for each term: of the bounds themselves, and of XLA's elementary functions, which are
# within a few units of the last place.
_OWN_ROUNDINGS = 4
_ELEMENTARY_ROUNDINGS = 16
_ACCUMULATED_ROUNDINGS = 256  # of all operations that led to an argument
_MANY_TERMS = 4  # a sum of more is not computed anew for every use
_MAX_DEPTH = 2  # a dense layer: the product, the bias, the activation


class Interval(NamedTuple):
    """Least and largest value, elementwise."""

    low: Array
    high: Array

    @property
    def center(self) -> Array:
        return 0.5 * (self.low + self.high)

    @property
    def radius(self) -> Array:
        return 0.5 * (self.high - self.low)

    def times(self, other: Interval) -> Interval:
        """The products of their numbers."""
        a, b, c, d = (x * y for x in self for y in other)
        low = jnp.minimum(jnp.minimum(a, b), jnp.minimum(c, d))
        return Interval(low, jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d)))


@dataclasses.dataclass(eq=False)
class Enclosure:
    """An array x, and where it comes from.

    Fields:
        signed: what linear maps act on: middle, center, slopes; shape `[2 + N, *x.shape]`.
        unsigned: what their absolute values act on: radius, error, size; shape `[3, *x.shape]`.
        rounding: allowed for in the operation that made it.
        parents, operation: what made it; the box itself has none.
        depth: operations since numbers were last kept.
    """

    signed: Array
    unsigned: Array
    rounding: Array
    parents: tuple[Enclosure, ...]
    operation: Operation | None
    depth: int = 0

    @property
    def center(self) -> Array:
        return self.signed[1]

    @functools.cached_property
    def interval(self) -> Interval:
        """The smaller of the interval and the affine form's range; infinite where both are NaN."""
        reach = jnp.sum(jnp.abs(self.signed[2:]), axis=0) + self.unsigned[1]
        low = jnp.fmax(self.signed[0] - self.unsigned[0], self.signed[1] - reach)
        high = jnp.fmin(self.signed[0] + self.unsigned[0], self.signed[1] + reach)
        return Interval(jnp.where(jnp.isnan(low), -jnp.inf, low), jnp.where(jnp.isnan(high), jnp.inf, high))


def box_enclosure(low: Array, high: Array) -> Enclosure:
    """The enclosure of the identity over a box `[N]`."""
    center, radius = Interval(low, high).center, Interval(low, high).radius
    size = jnp.abs(center) + radius
    rounding = _OWN_ROUNDINGS * _unit(low) * size  # the box of center and radius must hold the box
    signed = jnp.concatenate([center[None], center[None], jnp.diag(radius)])
    return Enclosure(signed, jnp.stack([radius + rounding, rounding, size]), rounding, (), None)


def _made(
    signed: Array,
    unsigned: Array,
    rounding: Array,
    parents: tuple[Enclosure, ...],
    operation: Operation,
    is_product: bool = False,
) -> Enclosure:
    depth = 0 if is_product else 1 + max(x.depth for x in parents)
    if depth > (_MAX_DEPTH if rounding.ndim else 0):
        signed, unsigned, (rounding,) = keep(signed, unsigned, rounding[None])
        depth = 0
    return Enclosure(signed, unsigned, rounding, parents, operation, depth)


def _unit(x: Array) -> float:
    return 0.5 * float(jnp.finfo(x.dtype).eps)


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
    rounding = (units + len(affine)) * _unit(size) * size
    signed = jnp.concatenate([interval.center[None], affine])
    unsigned = jnp.stack([interval.radius + rounding, error + rounding, size + rounding])
    return _made(signed, unsigned, rounding, parents, operation)


class Operation:
    """How an enclosure follows from its parents; see the module."""

    def upper(self, coefficients: Array) -> tuple[tuple[Array, ...], Array]:
        """Coefficients of the parents x and a constant: <coefficients, y> <= sum <., x> + constant."""
        raise NotImplementedError

    def gradient(self, gradient: Interval) -> tuple[Interval, ...]:
        """Range of the gradient in the parents, from that in y."""
        raise NotImplementedError


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
        rounding = (num_terms + _OWN_ROUNDINGS + len(signed)) * _unit(size) * size
        unsigned = jnp.stack([unsigned[0] + rounding, unsigned[1] + rounding, size + rounding])
        return _made(signed, unsigned, rounding, self.parents, self, is_product=num_terms > _MANY_TERMS)

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
        unit = _ELEMENTARY_ROUNDINGS * _unit(low)
        # An extreme that is looked for beside its place is missed by this much.
        missed = 0.5 * function.curvature * jnp.square(unit * x.unsigned[2]) if function.curvature else 0.0
        interval, steepest = Interval(numbers[9] - missed, numbers[10] + missed), numbers[11]
        # f itself, and slope * x of any of the lines, are rounded where the line's offset is found.
        rounding = unit * steepest * x.unsigned[2] + missed
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
        units = 3 * (num_terms + _OWN_ROUNDINGS)
        rounding = units * _unit(corner) * product(x.unsigned[2], y.unsigned[2])
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
        return _enclosed(operation, parents, affine, interval.radius, interval, _OWN_ROUNDINGS)

    def upper(self, coefficients):
        constant = jnp.sum(coefficients * jnp.where(coefficients > 0, self.interval.high, self.interval.low))
        return tuple(jnp.zeros_like(parent.center) for parent in self.parents), constant

    def gradient(self, gradient):
        matters = jnp.any((gradient.low != 0) | (gradient.high != 0))
        most = jnp.where(matters, jnp.inf, 0).astype(gradient.low.dtype)
        unknown = [jnp.full_like(parent.center, most) for parent in self.parents]
        return tuple(Interval(-x, x) for x in unknown)


def _without_rounding_below(lowest: float, x: Enclosure) -> Interval:
    """The interval, from the lowest argument that a function has, where not more than rounding lies below that."""
    low, high = x.interval
    if lowest == -math.inf:
        return Interval(low, high)
    slack = _ACCUMULATED_ROUNDINGS * _unit(low) * x.unsigned[2]
    low = jnp.where((low < lowest) & (low >= lowest - slack), lowest, low)
    return Interval(low, jnp.where(high >= lowest - slack, jnp.maximum(low, high), high))


def _rounded_radius(gradient: Interval) -> Array:
    """The radius with room for the rounding of the sums that a transposed linear map makes."""
    size = jnp.abs(gradient.center) + gradient.radius
    return gradient.radius + (size.size + _OWN_ROUNDINGS) * _unit(size) * size


def _transpose(function: LinearMap, parents: Sequence[Enclosure], coefficients: Array) -> tuple[Array, ...]:
    return jax.linear_transpose(function, *(parent.center for parent in parents))(coefficients)


def keep(*arrays: Array) -> tuple[Array, ...]:
    """The same numbers, computed once.

    XLA on CPU computes anew for every use what is cheap to write, so that a chain of operations on few numbers
    costs exponentially in its length; it does not look through a matrix product.
    """
    rows = jnp.concatenate(arrays)
    one = jnp.eye(len(rows), dtype=rows.dtype)
    rows = jnp.tensordot(rows.T, one, 1, precision="highest").T
    ends = [sum(map(len, arrays[:i])) for i in range(len(arrays) + 1)]
    return tuple(rows[a:b] for a, b in itertools.pairwise(ends))
