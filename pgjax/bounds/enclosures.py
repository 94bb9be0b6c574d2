"""Arrays of a function over a box, enclosed by affine forms and intervals.

A box is center + radius * t with t in [-1, 1]^N. An enclosure holds an array x in two ways at once,

`x = center + slopes^T t +- error` (an affine form), and `x = middle +- radius` (an interval),

both with room for rounding. Each enclosure knows the operation that made it, y = L x + r with L linear and r in a
range, so that a linear functional of y is bounded by one of x (`upper`), and a range of gradients in y becomes one
in x (`gradient`).

Rounding: an operation that adds K products rounds by at most about `K u sum |terms|`, u half the dtype's eps
(Higham (2002), Accuracy and stability of numerical algorithms, section 3.1), whatever the order of the sum. `size`
bounds the absolute values of everything an enclosure is made of, and each operation widens its result by its
number of roundings times u times the size; terms of order u^2 are left out. XLA flushes subnormal numbers to 0, so
that each rounding may also lose as much as the smallest normal number (`rounding_of`): little, until a later
operation multiplies it by a large number.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import NamedTuple

import jax.numpy as jnp

from pgjax.types import Array

OWN_ROUNDINGS = 4  # beside one for each term: those of the bounds themselves
_MAX_DEPTH = 2  # a dense layer: the product, the bias, the activation


class Interval(NamedTuple):
    """Least and largest value, elementwise."""

    low: Array
    high: Array

    @property
    def center(self) -> Array:
        """The middle."""
        return 0.5 * (self.low + self.high)

    @property
    def radius(self) -> Array:
        """Half the width."""
        return 0.5 * (self.high - self.low)

    def times(self, other: Interval) -> Interval:
        """The products of their numbers."""
        a, b, c, d = (x * y for x in self for y in other)
        low = jnp.minimum(jnp.minimum(a, b), jnp.minimum(c, d))
        high = jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))
        lost = jnp.where(self.is_zero | other.is_zero, 0, smallest_normal(low))  # where a product is flushed to 0
        return Interval(low - lost, high + lost)

    @property
    def is_zero(self) -> Array:
        """Where both ends are 0."""
        return (self.low == 0) & (self.high == 0)


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
    rounding = rounding_of(size, OWN_ROUNDINGS)  # the box of center and radius must hold the box
    signed = jnp.concatenate([center[None], center[None], jnp.diag(radius)])
    return Enclosure(signed, jnp.stack([radius + rounding, rounding, size]), rounding, (), None)


def make_enclosure(
    signed: Array,
    unsigned: Array,
    rounding: Array,
    parents: tuple[Enclosure, ...],
    operation: Operation,
    is_product: bool = False,
) -> Enclosure:
    """What an operation made, its numbers kept where the chain that led to them gets long."""
    depth = 0 if is_product else 1 + max(x.depth for x in parents)
    if depth > (_MAX_DEPTH if rounding.ndim else 0):
        signed, unsigned, (rounding,) = keep(signed, unsigned, rounding[None])
        depth = 0
    return Enclosure(signed, unsigned, rounding, parents, operation, depth)


def unit_roundoff(x: Array) -> float:
    """u: half the eps of the array's dtype."""
    return 0.5 * float(jnp.finfo(x.dtype).eps)


def smallest_normal(x: Array) -> float:
    """The smallest number of the array's dtype that is not flushed to 0."""
    return float(jnp.finfo(x.dtype).smallest_normal)


def rounding_of(size: Array, num_roundings: int) -> Array:
    """How far so many roundings may move a sum of terms whose absolute values add up to size."""
    return num_roundings * (unit_roundoff(size) * size + smallest_normal(size))


class Operation:
    """How an enclosure follows from its parents; see the module."""

    def upper(self, coefficients: Array) -> tuple[tuple[Array, ...], Array]:
        """Coefficients of the parents x and a constant: <coefficients, y> <= sum <., x> + constant."""
        raise NotImplementedError

    def gradient(self, gradient: Interval) -> tuple[Interval, ...]:
        """Range of the gradient in the parents, from that in y."""
        raise NotImplementedError


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
