"""Time calls side by side, compilation apart; the floor of a GEMM's rate.

One mechanism times everything, `time_interleaved`.
"""

import functools
import itertools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

Name = TypeVar("Name", bound=Hashable)
_matmul = jax.jit(jnp.matmul, static_argnames="precision")


@dataclass(frozen=True)
class Timing:
    """Seconds per call, one entry per repetition.

    `median_s` is the number to report and `spread` its noise: the inter-quartile range over the median.
    `p99_s` is close to the largest time when there are fewer than 100 repetitions.
    """

    times_s: tuple[float, ...]
    median_s: float
    p99_s: float
    min_s: float
    spread: float

    @classmethod
    def of(cls, times_s: Sequence[float]) -> "Timing":
        """Derive the statistics from the raw times."""
        low, median, high, p99 = (float(value) for value in np.percentile(times_s, (25, 50, 75, 99)))
        spread = (high - low) / median if median > 0 else math.nan
        return cls(tuple(times_s), median, p99, min(times_s), spread)


def time_interleaved(
    calls: Mapping[Name, tuple[Callable[..., Any], tuple[Any, ...]]],
    *,
    min_time_s: float = 0.2,
    max_time_s: float = 2.0,
    min_repetitions: int = 5,
    max_repetitions: int = 2000,
    num_rounds: int = 5,
) -> dict[Name, Timing]:
    """Time several compiled calls side by side, so that the machine's noise hits all alike.

    The calls take turns for `num_rounds` rounds; each spreads its repetitions evenly over them, so a call of
    microseconds samples the same period as one of seconds, and ratios of medians are meaningful. A call is
    repeated until it has `min_repetitions` and `min_time_s`; it stops earlier at `max_repetitions` or
    `max_time_s`, but not before one repetition. Each is warmed up once, outside the limits.

    A time includes Python's dispatch, the wait and the clock (the last two: 1 to 2 microseconds).

    Args:
        calls: name -> (function, its positional arguments).
        min_time_s, max_time_s: limits on one call's measured time, all rounds together, in seconds.
        min_repetitions, max_repetitions: limits on one call's repetitions, all rounds together.
        num_rounds: how often the calls take turns.
    Returns: name -> Timing, in the order of `calls`.
    Raises: ValueError: a setting that is not positive, or a minimum above its maximum.
    """
    limits = {"time_s": (min_time_s, max_time_s), "repetitions": (min_repetitions, max_repetitions)}
    for limit, (low, high) in limits.items():
        if not 0 < low <= high:
            raise ValueError(f"expected 0 < min_{limit} <= max_{limit}, got {low} and {high}")
    if num_rounds < 1:
        raise ValueError(f"num_rounds: expected >= 1, got {num_rounds}")
    elapsed_s: dict[Name, list[float]] = {name: [] for name in calls}
    total_s = dict.fromkeys(calls, 0.0)

    def is_done(name: Name, share: float) -> bool:
        count, total = len(elapsed_s[name]), total_s[name]
        enough = count >= share * min_repetitions and total >= share * min_time_s
        return count > 0 and (enough or count >= share * max_repetitions or total >= share * max_time_s)

    for call in calls.values():
        _measure(call)
    for round_number in range(1, num_rounds + 1):
        for name, call in calls.items():
            while not is_done(name, round_number / num_rounds):
                elapsed_s[name].append(_measure(call))
                total_s[name] += elapsed_s[name][-1]
    return {name: Timing.of(times_s) for name, times_s in elapsed_s.items()}


def time_call(function: Callable[..., Any], *args: Any, **limits: Any) -> Timing:
    """Time one compiled call; `limits` are the keyword arguments of `time_interleaved`."""
    return time_interleaved({"call": (function, args)}, **limits)["call"]


def _measure(call: tuple[Callable[..., Any], tuple[Any, ...]]) -> float:
    """Seconds for a call, its result included."""
    function, args = call
    start = perf_counter()
    jax.block_until_ready(function(*args))
    return perf_counter() - start


class Compiled(NamedTuple):
    """A compiled function, and the seconds that took."""

    function: Callable[..., Any]
    compile_time_s: float


def compile_call(jitted: Any, *args: Any) -> Compiled:
    """Compile a jitted function for these arguments without running it: tracing, lowering, XLA's compilation.

    Returns the jitted function itself: JAX finds the compiled program in its cache at the first call (a test
    holds it to that), and its dispatch is the one that users pay.
    """
    start = perf_counter()
    jitted.lower(*args).compile()
    return Compiled(jitted, perf_counter() - start)


def mlp_flops(sizes: Sequence[int]) -> int:
    """Operations of one row's forward pass: 2 * inputs * outputs a layer, without biases and activations."""
    return sum(2 * inputs * outputs for inputs, outputs in itertools.pairwise(sizes))


@dataclass
class GemmMeter:
    """The machine's rate of square float32 matrix products, sampled through a run because it drifts.

    Args:
        size: rows and columns of the matrices; by default 1024 on a CPU, 8192 on an accelerator.
        repetitions: products timed for one sample, whose value is 2 size^3 over their median time.
        precision: as in `jax.numpy.matmul`; None follows jax_default_matmul_precision (on NVIDIA: TF32).
    """

    size: int = field(default_factory=lambda: 1024 if jax.default_backend() == "cpu" else 8192)
    repetitions: int = 5
    precision: str | None = None
    samples: list[float] = field(default_factory=list)

    def sample(self) -> float:
        """Measure once more, FLOP/s."""
        shape = (self.size, self.size)
        left, right = (jax.random.normal(jax.random.key(seed), shape, jnp.float32) for seed in (0, 1))
        product = functools.partial(_matmul, precision=self.precision)
        limits = {"min_repetitions": self.repetitions, "max_repetitions": self.repetitions}
        timing = time_call(product, left, right, max_time_s=math.inf, **limits)
        self.samples.append(2 * self.size**3 / timing.median_s)
        return self.samples[-1]

    @property
    def rate(self) -> float:
        """Median of all samples so far, FLOP/s; NaN before the first."""
        return float(np.median(self.samples)) if self.samples else math.nan

    def fraction(self, flops: float, time_s: float) -> float:
        """Work done in a time, as a fraction of what the machine's matrix products do in it."""
        return flops / time_s / self.rate

    def record(self) -> dict[str, Any]:
        """Everything for the JSON: the rate used, every sample, and how they were taken."""
        default = cast(Any, jax.config).jax_default_matmul_precision
        precision = self.precision or default or "default"
        how = {"rate_is": "median of all samples", "dtype": "float32", "precision": precision}
        return {"rate_flops": self.rate} | asdict(self) | how
