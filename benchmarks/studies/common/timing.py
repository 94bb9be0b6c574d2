"""Time calls, describe the machine, keep results in JSON, count floating-point operations.

Knows nothing of policies. One mechanism times everything, `time_interleaved`; compilation is measured apart.
"""

import datetime
import functools
import importlib.metadata
import itertools
import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

PACKAGES = ("jax", "jaxlib", "flax", "optax", "distrax", "chex", "numpy", "scipy", "torch", "evosax", "jaxopt")
ENVIRONMENT = re.compile(r"(XLA|JAX|LIBTPU|OMP|MKL|OPENBLAS|CUDA|NVIDIA_TF32)_")
NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}

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
    calls: Mapping[str, tuple[Callable[..., Any], tuple[Any, ...]]],
    *,
    min_time_s: float = 0.2,
    max_time_s: float = 2.0,
    min_repetitions: int = 5,
    max_repetitions: int = 2000,
    num_rounds: int = 5,
) -> dict[str, Timing]:
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
    for name, (low, high) in limits.items():
        if not 0 < low <= high:
            raise ValueError(f"expected 0 < min_{name} <= max_{name}, got {low} and {high}")
    if num_rounds < 1:
        raise ValueError(f"num_rounds: expected >= 1, got {num_rounds}")
    elapsed_s: dict[str, list[float]] = {name: [] for name in calls}
    total_s = dict.fromkeys(calls, 0.0)

    def is_done(name: str, share: float) -> bool:
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
        precision = self.precision or _jax_setting("jax_default_matmul_precision") or "default"
        how = {"rate_is": "median of all samples", "dtype": "float32", "precision": precision}
        return {"rate_flops": self.rate} | asdict(self) | how


def summarize(values: Iterable[float]) -> dict[str, float | int]:
    """Median, 90th and 99th percentile, mean and count of some values; NaN if one of them is NaN."""
    array = np.asarray(list(values), np.float64)
    if array.size == 0:
        raise ValueError("values: expected at least one, got none")
    median, p90, p99 = (float(value) for value in np.percentile(array, (50, 90, 99)))
    return {"median": median, "p90": p90, "p99": p99, "mean": float(array.mean()), "count": array.size}


def machine_record() -> dict[str, Any]:
    """Describe hardware, software and settings; what cannot be found out is None.

    Holds no host name, user name or path: paths in environment variables become `<path>`.
    """
    devices = _or_none(jax.devices) or []
    commit = _git("rev-parse", "--verify", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no")
    versions = {name: _or_none(functools.partial(importlib.metadata.version, name)) for name in PACKAGES}
    variables = {name: value for name, value in sorted(os.environ.items()) if ENVIRONMENT.match(name)}
    return {
        "date_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "system": platform.system() or None,
        "architecture": platform.machine() or None,
        "cpu": _cpu_model(),
        "usable_cores": _or_none(lambda: len(os.sched_getaffinity(0))) or os.cpu_count(),
        "memory_bytes": _or_none(lambda: os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        "backend": _or_none(jax.default_backend),
        "device_kind": devices[0].device_kind if devices else None,
        "device_count": len(devices),
        "versions": {"python": platform.python_version()} | versions,
        "x64": _jax_setting("jax_enable_x64"),
        "matmul_precision": _jax_setting("jax_default_matmul_precision") or "default",
        "random_generator": _jax_setting("jax_default_prng_impl"),
        "environment": {name: re.sub(r"~?/[^\s,:;]*", "<path>", value) for name, value in variables.items()},
        "git_commit": commit,
        "git_dirty": None if commit is None else bool(changes),
    }


def _or_none(function: Callable[[], Any]) -> Any:
    """Result of a look-up that may fail on some machine in ways nobody foresaw."""
    try:
        return function()
    except Exception:
        return None


def _jax_setting(name: str) -> Any:
    return _or_none(lambda: getattr(jax.config, name))


def _git(*arguments: str) -> str | None:
    run = functools.partial(subprocess.run, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10)
    return _or_none(lambda: run(("git", *arguments), check=True).stdout.strip())


def _cpu_model() -> str | None:
    lines = _or_none(lambda: Path("/proc/cpuinfo").read_text().splitlines()) or []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (names[0] if names else platform.processor()) or None


def write_json(path: str | os.PathLike[str], result: Mapping[str, Any]) -> None:
    """Write a result so that an interruption at any moment leaves the earlier file whole.

    NaN and infinities, which JSON lacks, become "nan", "inf", "-inf"; NumPy and JAX arrays become lists.

    Raises: ValueError: a key that is not text, a text that would be read back as a number, a value that is
        not data; the message names the place, and nothing is written.
    """
    path = Path(path)
    text = json.dumps(_encode(result, "result"), indent=1, allow_nan=False)
    # Thousands of raw times must not become thousands of lines. (Inside texts JSON has no raw line breaks.)
    text = re.sub(r"\[\n[^\[\]{}]*\n\s*\]", lambda found: re.sub(r"\n\s*", " ", found[0]), text)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read what `write_json` wrote, with its non-finite numbers."""
    return _decode(json.loads(Path(path).read_text(encoding="utf-8")))


def _encode(value: Any, place: str) -> Any:
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        value = np.asarray(value).tolist()
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise ValueError(f"{place}: expected keys to be text, got {wrong[0]!r}")
        return {key: _encode(item, f"{place}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str) and value in NON_FINITE:
        raise ValueError(f"{place}: the text {value!r} would be read back as a number")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"{place}: expected numbers, text, lists or mappings, got {type(value).__name__}")


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return NON_FINITE.get(value, value) if isinstance(value, str) else value
