"""Enclosures of everything that a function computes, equation by equation of its jaxpr."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.extend as jex
import jax.numpy as jnp

from pgjax.bounds.elementary import ELEMENTARY, kink, power, reciprocal
from pgjax.bounds.enclosures import Enclosure, Interval
from pgjax.bounds.operations import Bilinear, Elementwise, Hull, Linear
from pgjax.types import Array


class Truth(NamedTuple):
    """Truth values over a box: whether they surely hold, whether they may, and what they depend on."""

    low: Array
    high: Array
    parents: tuple[Enclosure, ...]


Value: TypeAlias = Any  # an array where it is the same all over the box, else an Enclosure or a Truth

_CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "remat", "checkpoint")
# Linear in all operands together: constants among them belong to the constant part.
_ADDITIVE = (
    "add", "add_any", "sub", "neg", "reduce_sum", "broadcast_in_dim", "reshape", "squeeze", "expand_dims", "slice",
    "rev", "concatenate", "transpose", "convert_element_type", "copy", "gather", "dynamic_slice",
    "pad", "stack",
)  # fmt: skip
_REARRANGEMENTS = ("broadcast_in_dim", "reshape", "squeeze", "expand_dims", "slice", "rev", "transpose", "copy")
_COMPARISONS = ("gt", "ge", "lt", "le", "eq", "ne")
_MONOTONE = ("reduce_max", "reduce_min", "floor", "ceil", "round", "sign", "cummax", "cummin")


def without_rounding(x: Array, low: Array, high: Array) -> Array:
    """Return x clipped to [low, high], for an x that leaves it by rounding alone: bounds take it for x itself.

    Its derivative in x is 1, at low and high too.
    """
    return _marked_clip(x, low, high)


@jax.custom_jvp
def _clip(x, low, high):
    return jnp.clip(x, low, high)


@_clip.defjvp
def _clip_jvp(primals, tangents):
    return _clip(*primals), tangents[0]


def _marked(x, low, high):
    return _clip(x, low, high)


# The name by which `_apply` knows it in a jaxpr: one that no function of a user can have.
_marked.__name__ = "pgjax.bounds.without_rounding"
_marked_clip = jax.jit(_marked)


def enclose(function: Callable[[Array], Array], box: Enclosure) -> Value:
    """The enclosure of a function over a box, or its value where it is the same everywhere.

    Raises:
        ValueError: the function uses an operation that has no rule; the message names it.
    """
    closed = jax.make_jaxpr(function)(box.center)
    (result,) = _interpret(closed.jaxpr, closed.consts, [box])
    return result


def _interpret(jaxpr: Any, consts: list[Any], arguments: list[Value]) -> list[Value]:
    known: dict[Any, Value] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))

    def read(atom):
        return atom.val if isinstance(atom, jex.core.Literal) else known[atom]

    for equation in jaxpr.eqns:
        operands = [read(atom) for atom in equation.invars]
        for variable, value in zip(equation.outvars, _apply(equation, operands), strict=True):
            known[variable] = value
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation: Any, operands: list[Value]) -> list[Value]:
    name, params = equation.primitive.name, equation.params
    if params.get("name") == _marked.__name__ and isinstance(operands[0], Enclosure):
        return [operands[0]]
    if name in ("materialize", "stop_gradient"):
        return operands
    if name in _CALLS:
        inner = next(params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in params)
        jaxpr, consts = (inner.jaxpr, inner.consts) if hasattr(inner, "consts") else (inner, [])
        return _interpret(jaxpr, consts, operands)
    if not any(isinstance(x, Enclosure | Truth) for x in operands):
        values = _bind(equation, *operands)
        return list(values) if equation.primitive.multiple_results else [values]
    logical = any(isinstance(x, Truth) for x in operands)
    rule = (_LOGICAL_RULES if logical else _RULES).get(name)
    to_integer = name == "convert_element_type" and not jnp.issubdtype(params["new_dtype"], jnp.floating)
    if rule is None or to_integer:
        what = f"{name!r} of truth values" if logical else repr(name)
        raise ValueError(f"objective uses {what}, an operation for which there are no bounds")
    return [rule(equation, *operands)]


def _bind(equation: Any, *operands: Any, params: dict[str, Any] | None = None) -> Any:
    params = equation.params if params is None else params
    if equation.primitive.name == "dot_general":
        # An accelerator's fast products round more than is allowed for.
        params = params | {"precision": jax.lax.Precision.HIGHEST}
    return equation.primitive.bind(*operands, **params)


def _linear(equation: Any, *operands: Value, additive: bool = True) -> Enclosure:
    """An operation that is linear in its enclosed operands."""
    parents = tuple(x for x in operands if isinstance(x, Enclosure))

    # Of a gather that fills what lies outside, the fill belongs to the constant part too.
    homogeneous = equation.params | {"fill_value": 0} if equation.params.get("fill_value") else equation.params

    def fill(constants, enclosed):
        rest = iter(enclosed)
        return [next(rest) if isinstance(x, Enclosure) else constants(x) for x in operands]

    def linear(*xs):
        return _bind(equation, *fill(_zeros if additive else _itself, xs), params=homogeneous)

    def absolute(*xs):
        values = fill(_zeros if additive else jnp.abs, xs)
        if equation.primitive.name == "neg":
            return values[0]
        if equation.primitive.name == "sub":
            return values[0] + values[1]
        return _bind(equation, *values, params=homogeneous)

    constant = None
    if additive and len(parents) < len(operands):
        constant = _bind(equation, *fill(_itself, [jnp.zeros_like(x.center) for x in parents]))
    return Linear(linear, absolute, constant, parents).enclose(_num_terms(equation))


def _zeros(x: Any) -> Any:
    """Zeros in place of a constant; an index stays what it is."""
    return jnp.zeros_like(x) if jnp.issubdtype(jnp.result_type(x), jnp.floating) else x


def _itself(x: Any) -> Any:
    return x


def _num_terms(equation: Any) -> int:
    """How many numbers the operation adds up for one of its result."""
    (result,), operand = equation.outvars, equation.invars[0].aval
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return math.prod(operand.shape[i] for i in contracted)
    return max(1, operand.size // max(1, result.aval.size))


def _product(equation: Any, x: Value, y: Value) -> Enclosure:
    if isinstance(x, Enclosure) and isinstance(y, Enclosure):
        if x is y and equation.primitive.name == "mul":
            return Elementwise.enclose(ELEMENTARY["square"], x)
        return Bilinear.enclose(lambda a, b: _bind(equation, a, b), x, y, _num_terms(equation))
    return _linear(equation, x, y, additive=False)


def _divide(equation: Any, x: Value, y: Value) -> Enclosure:
    if not isinstance(y, Enclosure):
        return _linear(equation, x, y, additive=False)
    inverse = Elementwise.enclose(reciprocal(), y)
    if isinstance(x, Enclosure):
        return Bilinear.enclose(jnp.multiply, x, inverse, 1)
    return Linear(lambda v: x * v, lambda v: jnp.abs(x) * v, None, (inverse,)).enclose(1)


def _maximum(equation: Any, x: Value, y: Value) -> Enclosure:
    """max(x, y), or min; of two enclosures it is y + max(x - y, 0)."""
    name = equation.primitive.name
    left, right = (0.0, 1.0) if name == "max" else (1.0, 0.0)
    if isinstance(x, Enclosure) and isinstance(y, Enclosure):
        difference = Linear(jnp.subtract, jnp.add, None, (x, y)).enclose(2)
        choose = jnp.maximum if name == "max" else jnp.minimum
        beyond = Elementwise.enclose(kink(lambda v: choose(v, 0), 0.0, left, right), difference)
        return Linear(jnp.add, jnp.add, None, (y, beyond)).enclose(2)
    enclosure, constant = (x, y) if isinstance(x, Enclosure) else (y, x)
    function = kink(lambda v: _bind(equation, v, jnp.broadcast_to(constant, v.shape)), constant, left, right)
    return Elementwise.enclose(function, enclosure)


def _clamp(equation: Any, low: Value, x: Value, high: Value) -> Enclosure:
    del equation
    x = Elementwise.enclose(kink(lambda v: jnp.maximum(v, low), low, 0.0, 1.0), x)
    return Elementwise.enclose(kink(lambda v: jnp.minimum(v, high), high, 1.0, 0.0), x)


def _integer_power(equation: Any, x: Enclosure) -> Enclosure:
    exponent = equation.params["y"]
    if exponent < 0:
        x, exponent = Elementwise.enclose(reciprocal(), x), -exponent
    return x if exponent == 1 else Elementwise.enclose(power(exponent), x)


def _monotone(equation: Any, x: Enclosure) -> Enclosure:
    return Hull.enclose(Interval(*(_bind(equation, end) for end in x.interval)), (x,))


def _interval(x: Value) -> Interval:
    return x.interval if isinstance(x, Enclosure) else Interval(x, x)


def _compare(equation: Any, x: Value, y: Value) -> Truth:
    """A tie at an interval's end counts as either."""
    name = equation.primitive.name
    parents = tuple(operand for operand in (x, y) if isinstance(operand, Enclosure))
    a, b = _interval(x), _interval(y)
    if name in ("eq", "ne") and x is y:
        number = jnp.isfinite(a.low) & jnp.isfinite(a.high)  # NaN is not equal to itself
        yes, no = jnp.ones_like(number), jnp.zeros_like(number)
        return Truth(number, yes, parents) if name == "eq" else Truth(no, ~number, parents)
    if name in ("lt", "le"):
        a, b = b, a
    if name in ("gt", "ge", "lt", "le"):
        return Truth(a.low > b.high, a.high >= b.low, parents)
    apart = (a.low > b.high) | (a.high < b.low)
    if name == "ne":
        return Truth(apart, jnp.ones_like(apart), parents)
    return Truth(jnp.zeros_like(apart), ~apart, parents)


def _is_finite(equation: Any, x: Enclosure) -> Truth:
    del equation
    bounded = jnp.isfinite(x.interval.low) & jnp.isfinite(x.interval.high)
    return Truth(bounded, jnp.ones_like(bounded), (x,))


def _logical(equation: Any, *operands: Value) -> Truth:
    truths = [x if isinstance(x, Truth) else Truth(x, x, ()) for x in operands]
    parents = tuple(parent for truth in truths for parent in truth.parents)
    low, high = (_bind(equation, *ends) for ends in zip(*(truth[:2] for truth in truths), strict=True))
    return Truth(high, low, parents) if equation.primitive.name == "not" else Truth(low, high, parents)


def _choose(equation: Any, which: Truth, *cases: Value) -> Enclosure:
    """The case that is surely chosen; where both may be, their hull."""
    if not isinstance(which, Truth) or any(isinstance(case, Truth) for case in cases):
        raise ValueError(
            "objective uses 'select_n' between truth values, an operation for which there are no bounds"
        )
    false, true = (_interval(case) for case in cases)
    low = jnp.where(which.high, jnp.minimum(false.low, true.low), false.low)
    high = jnp.where(which.high, jnp.maximum(false.high, true.high), false.high)
    hull = Interval(jnp.where(which.low, true.low, low), jnp.where(which.low, true.high, high))
    enclosed = tuple(case for case in cases if isinstance(case, Enclosure))
    either = Hull.enclose(hull, which.parents + enclosed)
    if not enclosed:
        return either
    decided = which.low == which.high

    def pick(either, chosen):
        return jnp.where(decided, chosen, either)

    return Linear(pick, pick, None, (either, _linear(equation, which.low, *cases))).enclose(1)


_RULES: dict[str, Callable[..., Value]] = {
    **dict.fromkeys(_ADDITIVE, _linear),
    **dict.fromkeys(_COMPARISONS, _compare),
    **dict.fromkeys(_MONOTONE, _monotone),
    **{name: lambda _, x, f=f: Elementwise.enclose(f, x) for name, f in ELEMENTARY.items()},
    **dict.fromkeys(("mul", "dot_general"), _product),
    "div": _divide,
    **dict.fromkeys(("max", "min"), _maximum),
    "clamp": _clamp,
    "is_finite": _is_finite,
    "integer_pow": _integer_power,
    "select_n": _linear,
}
_LOGICAL_RULES: dict[str, Callable[..., Value]] = {
    **dict.fromkeys(("and", "or", "not", *_REARRANGEMENTS), _logical),
    "select_n": _choose,
}
