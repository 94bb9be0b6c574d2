"""Times by a clock of our own, limits, compilation apart, the GEMM's rate."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from studies.common import timing


class Clock:
    """A clock that only moves when a fake function says so."""

    def __init__(self, monkeypatch):
        self.now_s = 0.0
        self.calls = []
        monkeypatch.setattr(timing, "perf_counter", lambda: self.now_s)

    def function(self, name, seconds):
        def call(*args):
            self.calls.append((name, *args))
            self.now_s += seconds

        return call


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_every_call_is_counted_once_beside_the_warm_up(clock):
    timed = timing.time_call(clock.function("f", 0.5), 1, 2, min_time_s=1, max_time_s=9, min_repetitions=8)
    assert clock.calls == [("f", 1, 2)] * 9
    assert timed.times_s == (0.5,) * 8
    assert (timed.median_s, timed.p99_s, timed.min_s, timed.spread) == (0.5, 0.5, 0.5, 0)


@pytest.mark.parametrize(
    ("limits", "repetitions"),
    [
        ({"min_time_s": 8, "max_time_s": 99, "min_repetitions": 3}, 16),
        ({"min_time_s": 8, "max_time_s": 99, "min_repetitions": 20}, 20),
        ({"min_time_s": 8, "max_time_s": 99, "min_repetitions": 3, "max_repetitions": 4}, 4),
        ({"min_time_s": 2, "max_time_s": 3, "min_repetitions": 20}, 6),
        ({"min_time_s": 0.1, "max_time_s": 0.1, "min_repetitions": 20}, 1),
    ],
)
def test_limits(clock, limits, repetitions):
    timed = timing.time_call(clock.function("f", 0.5), num_rounds=4, **limits)
    assert len(timed.times_s) == repetitions


def test_calls_take_turns_and_each_spans_all_rounds(clock):
    calls = {"short": (clock.function("short", 0.25), ()), "long": (clock.function("long", 1.0), ())}
    timings = timing.time_interleaved(calls, min_time_s=2, max_time_s=2, min_repetitions=1, num_rounds=2)
    order = [name for (name,) in clock.calls]
    warm_up = ["short", "long"]
    assert order == warm_up + (["short"] * 4 + ["long"]) * 2
    assert list(timings) == ["short", "long"]
    assert [timed.median_s for timed in timings.values()] == [0.25, 1.0]


def test_statistics_of_a_timing_against_numpy():
    times_s = np.random.default_rng(0).exponential(size=301)
    timed = timing.Timing.of(times_s.tolist())
    low, high = np.percentile(times_s, (25, 75))
    assert timed.median_s == np.median(times_s)
    assert timed.p99_s == pytest.approx(np.percentile(times_s, 99))
    assert timed.spread == pytest.approx((high - low) / np.median(times_s))


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_time_s": 0},
        {"min_time_s": 2, "max_time_s": 1},
        {"min_repetitions": 0},
        {"min_repetitions": 3, "max_repetitions": 2},
        {"num_rounds": 0},
    ],
)
def test_wrong_limits_are_refused_before_any_call(clock, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        timing.time_call(clock.function("f", 1), **wrong)
    assert clock.calls == []


def test_compiling_happens_once_and_apart():
    traces = []

    @jax.jit
    def double(x):
        traces.append(x)
        return x @ x

    x = jnp.ones((8, 8))
    compilations = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if "backend_compile" in event:
            compilations.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    compiled = timing.compile_call(double, x)
    assert (len(traces), len(compilations)) == (1, 1)
    assert compiled.compile_time_s >= compilations[0]
    timed = timing.time_call(compiled.function, x, min_time_s=1e-6, max_repetitions=7, min_repetitions=7)
    assert (len(traces), len(compilations)) == (1, 1), "the first call compiled again"
    assert len(timed.times_s) == 7


def test_mlp_flops():
    assert timing.mlp_flops((17, 64, 64, 6)) == 2 * (17 * 64 + 64 * 64 + 64 * 6)
    assert timing.mlp_flops((5,)) == 0


def test_gemm_meter_keeps_every_sample_and_uses_their_median():
    meter = timing.GemmMeter(size=32, repetitions=2, precision="highest")
    assert math.isnan(meter.rate)
    samples = [meter.sample() for _ in range(3)]
    assert all(sample > 0 for sample in samples)
    assert meter.rate == np.median(samples)
    assert meter.fraction(meter.rate * 2.0, 4.0) == pytest.approx(0.5)
    record = meter.record()
    assert record["samples"] == samples
    assert (record["rate_flops"], record["size"], record["precision"]) == (meter.rate, 32, "highest")
