import json
import math
import os
import platform
import re
import socket

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from studies.common import machine, results, statistics, timing


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
    timing = timing.time_call(clock.function("f", 0.5), 1, 2, min_time_s=1, max_time_s=9, min_repetitions=8)
    assert clock.calls == [("f", 1, 2)] * 9
    assert timing.times_s == (0.5,) * 8
    assert (timing.median_s, timing.p99_s, timing.min_s, timing.spread) == (0.5, 0.5, 0.5, 0)


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
    timing = timing.time_call(clock.function("f", 0.5), num_rounds=4, **limits)
    assert len(timing.times_s) == repetitions


def test_calls_take_turns_and_each_spans_all_rounds(clock):
    calls = {"short": (clock.function("short", 0.25), ()), "long": (clock.function("long", 1.0), ())}
    timings = timing.time_interleaved(calls, min_time_s=2, max_time_s=2, min_repetitions=1, num_rounds=2)
    order = [name for (name,) in clock.calls]
    warm_up = ["short", "long"]
    assert order == warm_up + (["short"] * 4 + ["long"]) * 2
    assert list(timings) == ["short", "long"]
    assert [timing.median_s for timing in timings.values()] == [0.25, 1.0]


def test_statistics_of_a_timing_against_numpy():
    times_s = np.random.default_rng(0).exponential(size=301)
    timing = timing.Timing.of(times_s.tolist())
    low, high = np.percentile(times_s, (25, 75))
    assert timing.median_s == np.median(times_s)
    assert timing.p99_s == pytest.approx(np.percentile(times_s, 99))
    assert timing.spread == pytest.approx((high - low) / np.median(times_s))


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

    def listen(event, duration_s, **_):
        if "backend_compile" in event:
            compilations.append(duration_s)

    jax.monitoring.register_event_duration_secs_listener(listen)
    compiled = timing.compile_call(double, x)
    assert (len(traces), len(compilations)) == (1, 1)
    assert compiled.compile_time_s >= compilations[0]
    timing = timing.time_call(compiled.function, x, min_time_s=1e-6, max_repetitions=7, min_repetitions=7)
    assert (len(traces), len(compilations)) == (1, 1), "the first call compiled again"
    assert len(timing.times_s) == 7


def test_summarize_against_numpy():
    values = np.random.default_rng(1).normal(size=1000)
    summary = statistics.summarize(values)
    assert summary == {
        "median": pytest.approx(np.median(values)),
        "p90": pytest.approx(np.percentile(values, 90)),
        "p99": pytest.approx(np.percentile(values, 99)),
        "mean": pytest.approx(np.mean(values)),
        "count": 1000,
    }
    assert math.isnan(statistics.summarize([1.0, math.nan])["median"])
    with pytest.raises(ValueError, match="values"):
        statistics.summarize([])


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


def test_machine_record_is_data_and_names_no_one(monkeypatch, tmp_path):
    monkeypatch.setenv("XLA_FLAGS", f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to=/home/somebody/dump")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/home/somebody/cache")
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setattr(socket, "gethostname", lambda: "somebody")
    monkeypatch.setattr(platform, "node", lambda: "somebody")
    record = machine.machine_record()
    results.write_json(tmp_path / "record.json", record)
    assert results.read_json(tmp_path / "record.json") == record
    text = json.dumps(record)
    assert "somebody" not in text
    assert not re.search(r"(^|[\s\"=:,~])/\w", text)
    assert "--xla_dump_to=<path>" in record["environment"]["XLA_FLAGS"]
    assert record["versions"]["jax"] == jax.__version__
    assert record["device_count"] == jax.device_count()


def test_machine_record_survives_what_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(machine, "PACKAGES", ("jax", "no_such_package"))
    monkeypatch.setattr(machine.Path, "read_text", lambda *_: (_ for _ in ()).throw(OSError("unreadable")))
    record = machine.machine_record()
    assert record["git_commit"] is None
    assert record["git_dirty"] is None
    assert record["versions"]["no_such_package"] is None
    assert record["usable_cores"] == os.cpu_count()


def test_json_round_trip(tmp_path):
    path = tmp_path / "result.json"
    result = {
        "texts": ["a [ b ]", "{c,\n d}", "µs"],
        "numbers": [1, 2.5, None, True],
        "non_finite": {"nan": math.nan, "list": [math.inf, -math.inf, 0.0]},
        "rows": [{"times_s": [1e-9] * 3, "empty": []}, {}],
    }
    results.write_json(path, result)
    back = results.read_json(path)
    assert math.isnan(back["non_finite"].pop("nan"))
    result["non_finite"].pop("nan")
    assert back == result
    assert '"times_s": [ 1e-09, 1e-09, 1e-09 ]' in path.read_text()


def test_json_has_no_non_finite_constants(tmp_path):
    path = tmp_path / "result.json"
    results.write_json(path, {"x": [math.nan, math.inf, -math.inf]})

    def refuse(name):
        raise AssertionError(name)

    assert json.loads(path.read_text(), parse_constant=refuse) == {"x": ["nan", "inf", "-inf"]}


def test_arrays_become_lists(tmp_path):
    path = tmp_path / "result.json"
    arrays = {
        "numpy": np.arange(3.0),
        "scalar": np.float32(0.5),
        "count": np.int64(3),
        "jax": jnp.ones((1, 2)),
    }
    results.write_json(path, arrays)
    assert results.read_json(path) == {
        "numpy": [0.0, 1.0, 2.0],
        "scalar": 0.5,
        "count": 3,
        "jax": [[1.0, 1.0]],
    }


@pytest.mark.parametrize(
    ("bad", "place"),
    [
        ({"a": [1, {"b": object()}]}, r"\['a'\]\[1\]\['b'\]"),
        ({"a": {1: 2}}, r"\['a'\]"),
        ({"a": "nan"}, r"\['a'\]"),
    ],
)
def test_what_would_not_come_back_is_refused_by_place(tmp_path, bad, place):
    path = tmp_path / "result.json"
    results.write_json(path, {"earlier": 1})
    with pytest.raises(ValueError, match=place):
        results.write_json(path, bad)
    assert results.read_json(path) == {"earlier": 1}


@pytest.mark.parametrize("moment", ["fsync", "replace"])
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_an_interrupted_write_leaves_the_earlier_file_alone(tmp_path, monkeypatch, moment, interruption):
    path = tmp_path / "result.json"
    results.write_json(path, {"earlier": 1})

    def interrupt(*_):
        raise interruption

    with monkeypatch.context() as patch:
        patch.setattr(os, moment, interrupt)
        with pytest.raises(interruption):
            results.write_json(path, {"later": 2})
    assert results.read_json(path) == {"earlier": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]
    results.write_json(path, {"later": 2})
    assert results.read_json(path) == {"later": 2}
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]
