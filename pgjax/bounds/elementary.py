"""Elementary functions of one number: what bounds need to know of each.

A line of ANY slope s bounds f on an interval: f(x) is in s x + [min, max] of the residual f(x) - s x. The
residual is extreme at the interval's ends or where f'(x) = s, so a function is described by its value, its
derivative, the points of a given slope, and the range of its derivative. Every point that a description names is
clipped to the interval, so that an extra one never hurts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pgjax.types import Array

Points = tuple[Array, ...]


class Elementary(NamedTuple):
    """A function f of one number.

    Fields:
        value: x -> f(x).
        derivative: x -> f'(x), at a kink one of the two.
        points_of_slope: (slope, low, high) -> where f' has that slope or jumps over it, all that matter between
            low and high.
        derivative_range: (low, high) -> least and largest f' on [low, high], both sides of a kink at an end too.
        lowest: the least number that f is defined for.
        curvature: of a wave, the largest `|f''|`: its extremes far from 0 are known to the rounding of their
            place.
    """

    value: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    points_of_slope: Callable[[Array, Array, Array], Points]
    derivative_range: Callable[[Array, Array], tuple[Array, Array]]
    lowest: float = -math.inf
    curvature: float = 0.0


class Line(NamedTuple):
    """slope * x + [low, high], which holds f on an interval."""

    slope: Array
    low: Array
    high: Array


def line(function: Elementary, slope: Array, low: Array, high: Array) -> Line:
    """The tightest line of this slope around the function on [low, high]."""
    points = (low, high, *(jnp.clip(x, low, high) for x in function.points_of_slope(slope, low, high)))
    residuals = [function.value(x) - slope * x for x in points]
    return Line(slope, _minimum(residuals), _maximum(residuals))


def lines(function: Elementary, low: Array, high: Array) -> tuple[Line, Line, Line]:
    """Lines around a function on [low, high]: least area above it, least area below it, least band around it.

    The better of two slopes: the chord's and the tangent's in the middle. (The area is least where
    the line is closest in the middle.) For the rectifier these are the chord above and 0 or 1 below, as in
    CROWN, Zhang et al. (2018), Efficient neural network robustness certification with general activation
    functions, section 3.
    """
    middle, width = 0.5 * (low + high), high - low
    tangent = function.derivative(middle)
    wide = width > 1e-3 * jnp.maximum(jnp.abs(low), jnp.abs(high))  # else the chord is rounding
    rise = function.value(high) - function.value(low)
    slopes = [jnp.where(wide, rise / jnp.where(wide, width, 1), tangent), tangent]
    above = below = band = line(function, slopes[0], low, high)
    for slope in slopes[1:]:
        new = line(function, slope, low, high)
        above = _choose(new.slope * middle + new.high < above.slope * middle + above.high, new, above)
        below = _choose(new.slope * middle + new.low > below.slope * middle + below.low, new, below)
        band = _choose(new.high - new.low < band.high - band.low, new, band)
    return above, below, band


def _choose(condition: Array, new: Line, old: Line) -> Line:
    return Line(*(jnp.where(condition, a, b) for a, b in zip(new, old, strict=True)))


def _minimum(values: list[Array]) -> Array:
    result = values[0]
    for value in values[1:]:
        result = jnp.minimum(result, value)
    return result


def _maximum(values: list[Array]) -> Array:
    return -_minimum([-value for value in values])


def kink(value: Callable[[Array], Array], at: Array | float, left: float, right: float) -> Elementary:
    """A function of slope `left` up to a point and of slope `right` from there."""

    def derivative(x):
        return jnp.where(x > at, right, left).astype(x.dtype)

    def derivative_range(low, high):
        slopes = jnp.where(low > at, right, left), jnp.where(high >= at, right, left)
        return tuple(slope.astype(low.dtype) for slope in (slopes if right > left else slopes[::-1]))

    return Elementary(value, derivative, lambda s, low, high: (jnp.broadcast_to(at, low.shape),), derivative_range)


def _smooth(
    value: Callable[[Array], Array],
    derivative: Callable[[Array], Array],
    points_of_slope: Callable[[Array, Array, Array], Points],
    inflections: Callable[[Array, Array], Points] = lambda low, high: (),
) -> Elementary:
    """A function whose derivative is extreme at the interval's ends or at its inflections."""

    def derivative_range(low, high):
        points = (low, high, *(jnp.clip(x, low, high) for x in inflections(low, high)))
        slopes = [derivative(x) for x in points]
        return _minimum(slopes), _maximum(slopes)

    return Elementary(value, derivative, points_of_slope, derivative_range)


def _positive(x: Array) -> Array:
    return jnp.maximum(x, jnp.finfo(x.dtype).tiny)


def _at_zero(low: Array, high: Array) -> Points:
    return (jnp.zeros_like(low),)


def _tanh_points(slope, low, high):
    x = jnp.arctanh(jnp.sqrt(jnp.clip(1 - slope, 0, 1 - jnp.finfo(slope.dtype).eps)))
    return x, -x


def _logistic_points(slope, low, high):
    x = 2 * jnp.arctanh(jnp.sqrt(jnp.clip(1 - 4 * slope, 0, 1 - jnp.finfo(slope.dtype).eps)))
    return x, -x


def _erf_points(slope, low, high):
    x = jnp.sqrt(-jnp.log(jnp.clip(0.5 * math.sqrt(math.pi) * jnp.abs(slope), jnp.finfo(slope.dtype).tiny, 1)))
    return x, -x


def _erf_derivative(x):
    return 2 / math.sqrt(math.pi) * jnp.exp(-jnp.square(x))


def _first_and_last(phase: Array, period: float, low: Array, high: Array) -> Points:
    """The first and the last of phase + k * period between low and high."""
    first = phase + period * jnp.ceil((low - phase) / period)
    return first, phase + period * jnp.floor((high - phase) / period)


def _extremes_of_wave(shift: float) -> Callable[[Array, Array], Points]:
    """The first two of shift + k pi: of all extremes of a wave's derivative, one of each kind."""

    def points(low, high):
        first, _ = _first_and_last(jnp.full_like(low, shift), math.pi, low, high)
        return first, first + math.pi

    return points


def _sin_points(slope, low, high):
    angle = jnp.arccos(jnp.clip(slope, -1, 1))
    return (*_first_and_last(angle, 2 * math.pi, low, high), *_first_and_last(-angle, 2 * math.pi, low, high))


def _cos_points(slope, low, high):
    angle = jnp.arcsin(jnp.clip(slope, -1, 1))
    points = _first_and_last(-angle, 2 * math.pi, low, high)
    return (*points, *_first_and_last(math.pi + angle, 2 * math.pi, low, high))


def reciprocal() -> Elementary:
    """1 / x; NaN, no bound, where the interval holds 0."""

    def value(x):
        return 1 / x

    def points(slope, low, high):
        x = jnp.sqrt(1 / _positive(-slope))
        pole = jnp.where((low <= 0) & (high >= 0), jnp.nan, 0)
        return x + pole, -x

    return _smooth(value, lambda x: -1 / jnp.square(x), points)


def power(exponent: int) -> Elementary:
    """x^exponent for an exponent of at least 2."""

    def points(slope, low, high):
        root = jnp.power(_positive(jnp.abs(slope) / exponent), 1 / (exponent - 1))
        return (jnp.sign(slope) * root,) if exponent % 2 == 0 else (root, -root)

    return _smooth(
        lambda x: jax.lax.integer_pow(x, exponent),
        lambda x: exponent * jax.lax.integer_pow(x, exponent - 1),
        points,
        _at_zero,
    )


ELEMENTARY = {
    "tanh": _smooth(jnp.tanh, lambda x: 1 - jnp.square(jnp.tanh(x)), _tanh_points, _at_zero),
    "logistic": _smooth(
        jax.nn.sigmoid, lambda x: jax.nn.sigmoid(x) * jax.nn.sigmoid(-x), _logistic_points, _at_zero
    ),
    "sin": _smooth(jnp.sin, jnp.cos, _sin_points, _extremes_of_wave(0.0))._replace(curvature=1.0),
    "cos": _smooth(jnp.cos, lambda x: -jnp.sin(x), _cos_points, _extremes_of_wave(math.pi / 2))._replace(
        curvature=1.0
    ),
    "exp": _smooth(jnp.exp, jnp.exp, lambda s, low, high: (jnp.log(_positive(s)),)),
    "expm1": _smooth(jnp.expm1, jnp.exp, lambda s, low, high: (jnp.log(_positive(s)),)),
    "erf": _smooth(jax.lax.erf, _erf_derivative, _erf_points, _at_zero),
    "erfc": _smooth(jax.lax.erfc, lambda x: -_erf_derivative(x), _erf_points, _at_zero),
    "rsqrt": _smooth(
        jax.lax.rsqrt,
        lambda x: -0.5 * jax.lax.rsqrt(x) / x,
        lambda s, low, high: (jnp.power(_positive(-2 * s), -2 / 3),),
    ),
    "log": _smooth(jnp.log, lambda x: 1 / x, lambda s, low, high: (1 / _positive(s),)),
    "log1p": _smooth(jnp.log1p, lambda x: 1 / (1 + x), lambda s, low, high: (1 / _positive(s) - 1,)),
    "sqrt": _smooth(
        jnp.sqrt, lambda x: 0.5 / jnp.sqrt(x), lambda s, low, high: (0.25 / _positive(s * s),)
    )._replace(lowest=0.0),
    "square": power(2),
    "abs": kink(jnp.abs, 0.0, -1.0, 1.0),
}
