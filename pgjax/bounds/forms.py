"""Intermediate arrays of a function over a box, enclosed by affine forms and intervals, and the ways back.

A box is center + radius * t with t in [-1, 1]^N. An enclosure holds an array x as

    x = center + slopes^T t +- error   (an affine form),   and   low <= x <= high,

both with room for the rounding of every operation. Each enclosure knows the operation that made it, y = L x + r
with L linear and r in a range, so that a linear functional of y is bounded by one of x (`upper`), and a range of
gradients in y becomes one in x (`gradient`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from pgjax.bounds.elementary import Elementary, Line, line, lines
from pgjax.types import Array

LinearMap: TypeAlias = Callable[..., Array]
# Rounding units (the dtype's eps, twice the error of one operation) allowed for an operation besides one for each
# term that it sums: elementary functions of XLA are within some units of the last place.
_OWN_UNITS = 2
_ELEMENTARY_UNITS = 8


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

    @property
    def magnitude(self) -> Array:
        return jnp.maximum(jnp.abs(self.low), jnp.abs(self.high))

    def times(self, other: Interval) -> Interval:
        """The products of their numbers."""
        products = [a * b for a in self for b in other]
        return Interval(
            jnp.minimum(jnp.minimum(*products[:2]), jnp.minimum(*products[2:])),
            jnp.maximum(jnp.maximum(*products[:2]), jnp.maximum(*products[2:])),
        )


@dataclasses.dataclass(eq=False)
class Enclosure:
    """An array x: its affine form, its interval, the rounding allowed for it, and the operation that made it."""

    center: Array
    slopes: Array
    error: Array
    interval: Interval
    rounding: Array
    parents: tuple[Enclosure, ...]
    operation: Operation | None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.center.shape


def enclosed(
    operation: Operation | None,
    parents: tuple[Enclosure, ...],
    affine: tuple[Array, Array, Array],
    interval: Interval,
    rounding: Array,
) -> Enclosure:
    """An enclosure whose interval is the smaller of its own and the affine form's."""
    center, slopes, error = affine
    error = error + rounding
    reach = jnp.sum(jnp.abs(slopes), axis=0) + error
    low = jnp.maximum(interval.low - rounding, center - reach)
    high = jnp.minimum(interval.high + rounding, center + reach)
    return Enclosure(center, slopes, error, Interval(low, high), rounding, parents, operation)


def box_enclosure(low: Array, high: Array) -> Enclosure:
    """The enclosure of the identity over a box `[N]`."""
    interval = Interval(low, high)
    # Rounding of center and radius: the box that they span must hold the box.
    rounding = jnp.finfo(low.dtype).eps * interval.magnitude
    slopes = jnp.diag(interval.radius)
    return Enclosure(interval.center, slopes, rounding, interval, rounding, (), None)


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
    constant: Array
    parents: tuple[Enclosure, ...]

    def enclose(self, num_terms: int) -> Enclosure:
        parents = self.parents
        absolute = self.absolute
        rounding = jnp.abs(self.constant) + absolute(*(x.interval.magnitude for x in parents))
        rounding = (num_terms + _OWN_UNITS) * jnp.finfo(rounding.dtype).eps * rounding
        affine = (
            self.linear(*(x.center for x in parents)) + self.constant,
            jax.vmap(self.linear)(*(x.slopes for x in parents)),
            absolute(*(x.error for x in parents)),
        )
        center = self.linear(*(x.interval.center for x in parents)) + self.constant
        radius = absolute(*(x.interval.radius for x in parents))
        return enclosed(self, parents, affine, Interval(center - radius, center + radius), rounding)

    def upper(self, coefficients):
        return _transpose(self.linear, self.parents, coefficients), jnp.sum(coefficients * self.constant)

    def gradient(self, gradient):
        centers = _transpose(self.linear, self.parents, gradient.center)
        radii = _transpose(self.absolute, self.parents, gradient.radius)
        return tuple(Interval(c - r, c + r) for c, r in zip(centers, radii, strict=True))


@dataclasses.dataclass(eq=False)
class Elementwise(Operation):
    """y = f(x) for an elementary f of one number."""

    above: Line
    below: Line
    derivative: Interval

    @staticmethod
    def enclose(function: Elementary, x: Enclosure) -> Enclosure:
        low, high = x.interval
        above, below, band = lines(function, low, high)
        flat = line(function, jnp.zeros_like(low), low, high)
        interval = Interval(flat.low, flat.high)
        steepest = jnp.maximum(jnp.abs(above.slope), jnp.abs(below.slope))
        rounding = interval.magnitude + jnp.maximum(steepest, jnp.abs(band.slope)) * x.interval.magnitude
        rounding = _ELEMENTARY_UNITS * jnp.finfo(low.dtype).eps * rounding
        affine = (
            band.slope * x.center + 0.5 * (band.low + band.high),
            band.slope[None] * x.slopes,
            jnp.abs(band.slope) * x.error + 0.5 * (band.high - band.low),
        )
        operation = Elementwise(above, below, Interval(*function.derivative_range(low, high)))
        return enclosed(operation, (x,), affine, interval, rounding)

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

    product: LinearMap
    parents: tuple[Enclosure, Enclosure]
    residual: Interval

    @staticmethod
    def enclose(product: LinearMap, x: Enclosure, y: Enclosure, num_terms: int) -> Enclosure:
        xc, yc = x.interval.center, y.interval.center
        corner = product(xc, yc)
        spread = product(x.interval.radius, y.interval.radius)
        residual = Interval(-corner - (0 if x is y else spread), spread - corner)
        operation = Bilinear(product, (x, y), residual)
        magnitude = product(x.interval.magnitude, y.interval.magnitude)
        rounding = 3 * (num_terms + _OWN_UNITS) * jnp.finfo(magnitude.dtype).eps * magnitude
        affine = (
            operation.linear(x.center, y.center) + residual.center,
            jax.vmap(operation.linear)(x.slopes, y.slopes),
            operation.absolute(x.error, y.error) + residual.radius,
        )
        reach = operation.absolute(x.interval.radius, y.interval.radius) + spread
        return enclosed(operation, (x, y), affine, Interval(corner - reach, corner + reach), rounding)

    def linear(self, x: Array, y: Array) -> Array:
        """The linear part, at the centers."""
        x_center, y_center = (parent.interval.center for parent in self.parents)
        return self.product(x, y_center) + self.product(x_center, y)

    def absolute(self, x: Array, y: Array) -> Array:
        """The linear part with the absolute values of the coefficients."""
        x_center, y_center = (jnp.abs(parent.interval.center) for parent in self.parents)
        return self.product(x, y_center) + self.product(x_center, y)

    def upper(self, coefficients):
        up = coefficients > 0
        constant = coefficients * jnp.where(up, self.residual.high, self.residual.low)
        return _transpose(self.linear, self.parents, coefficients), jnp.sum(constant)

    def gradient(self, gradient):
        x, y = (parent.interval for parent in self.parents)

        def spread(a, b):
            return self.product(a, y.radius) + self.product(x.radius, b)

        size = jnp.abs(gradient.center) + gradient.radius
        centers = _transpose(self.linear, self.parents, gradient.center)
        inner = _transpose(self.absolute, self.parents, gradient.radius)
        outer = _transpose(spread, self.parents, size)
        return tuple(Interval(c - r - s, c + r + s) for c, r, s in zip(centers, inner, outer, strict=True))


@dataclasses.dataclass(eq=False)
class Hull(Operation):
    """y in an interval, of which nothing more is known."""

    interval: Interval
    parents: tuple[Enclosure, ...]

    @staticmethod
    def enclose(interval: Interval, parents: tuple[Enclosure, ...]) -> Enclosure:
        rounding = _OWN_UNITS * jnp.finfo(interval.low.dtype).eps * interval.magnitude
        slopes = jnp.zeros((parents[0].slopes.shape[0], *interval.low.shape), interval.low.dtype)
        affine = (interval.center, slopes, interval.radius)
        return enclosed(Hull(interval, parents), parents, affine, interval, rounding)

    def upper(self, coefficients):
        constant = jnp.sum(coefficients * jnp.where(coefficients > 0, self.interval.high, self.interval.low))
        return tuple(jnp.zeros_like(parent.center) for parent in self.parents), constant

    def gradient(self, gradient):
        everything = jnp.inf
        return tuple(
            Interval(jnp.full_like(x.center, -everything), jnp.full_like(x.center, everything))
            for x in self.parents
        )


def _transpose(function: LinearMap, parents: Sequence[Enclosure], coefficients: Array) -> tuple[Array, ...]:
    return jax.linear_transpose(function, *(parent.center for parent in parents))(coefficients)
