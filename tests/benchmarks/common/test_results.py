"""Results on disk: what comes back, what is refused, what an interruption leaves, rows that name their run."""

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from studies.common import results
from studies.common.results import Results


def test_json_round_trip(tmp_path):
    path = tmp_path / "result.json"
    result: dict[str, Any] = {
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


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of a run."""

    seed: int
    output: Path = Path("result.json")


def test_every_row_names_its_run_and_a_run_its_machine_commit_settings_and_seed(tmp_path):
    path = tmp_path / "result.json"
    for seed in (3, 4):
        run = Results(path, "small", Options(seed), keep=True)
        run.add({"x": seed}, {"x": -seed, "seed": 9})
        run.put("about", {"seed": seed})
        run.finish()
    result = results.read_json(path)
    assert [(row["x"], row["run"], row["seed"]) for row in result["rows"]] == [
        (3, 0, 3), (-3, 0, 9), (4, 1, 4), (-4, 1, 9),
    ]  # fmt: skip
    assert result["about"] == {"seed": 4}
    for seed, about in zip((3, 4), result["runs"], strict=True):
        assert about["settings"] == {"seed": seed, "output": "result.json"}
        assert about["seed"] == seed
        assert about["wall_time_s"] > 0
        assert {"git_commit", "git_dirty", "versions", "device_kind", "date_utc", "cpu"} <= set(about)


def test_the_file_is_whole_after_every_row_and_is_what_was_added(tmp_path):
    path = tmp_path / "result.json"
    run = Results(path, "small", Options(0))
    for number in range(4):
        run.add({"x": number, "y": {"z": [number, math.inf]}}, table="rows" if number % 2 else "others")
        read = results.read_json(run.partial)
        assert read == run.parts
    assert run.num_rows == 4
    run.replace(lambda row: row["x"] == 1, [{"x": 5}])
    assert [row["x"] for row in results.read_json(run.partial)["rows"]] == [3, 5]
    assert not path.exists()
    run.finish()
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    ("value", "places"),
    [
        (math.nan, [""]),
        ({"a": [1.0, {"b": math.nan}], "c": math.nan}, ["['a'][1]['b']", "['c']"]),
        ([np.float32("nan"), jnp.full(2, jnp.nan), np.array([1, 2])], ["[0]", "[1]"]),
        ({"a": [math.inf, None, "nan?", True, 3]}, []),
    ],
)
def test_nans_are_found_wherever_they_are(value, places):
    assert list(results.nan_places(value)) == places


def test_a_part_with_a_nan_does_not_take_the_place_of_a_good_one(tmp_path):
    run = Results(tmp_path / "result.json", "small", Options(0))
    run.put("gemm", {"rate": 1.0})
    run.put("gemm", {"rate": math.nan})
    assert run.parts["gemm"] == {"rate": 1.0}
    assert run.refused == [["gemm['rate']"]]


def test_what_an_earlier_run_refused_is_not_charged_to_the_next(tmp_path):
    path = tmp_path / "result.json"
    first = Results(path, "small", Options(0))
    first.add({"x": math.nan})
    first.finish()
    second = Results(path, "small", Options(0), keep=True)
    second.add({"x": 1.0})
    assert second.refused == []
    assert len(second.parts["refused"]) == 1
