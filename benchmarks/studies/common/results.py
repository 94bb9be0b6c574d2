"""Results on disk: every row is there when it is known, with the run that made it, and no number is NaN."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from studies.common.machine import machine_record

NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Results:
    """A study's JSON, written whole after every row to `<stem>.partial.json`, and renamed when the run is over.

    So earlier results stay until there are new ones, and a run that is killed loses what it was measuring alone.
    The JSON holds "study"; "runs": machine, versions, commit, settings and seed of each run; tables of rows, each
    with "run", the index of the run that made it, and "seed"; and whatever else the study puts beside them. What
    holds a NaN is kept in "refused" alone, with the places of the NaNs.

    Args:
        path: of the JSON.
        study: its name.
        options: a dataclass, the run's settings; its `seed` is the rows' where they have none of their own.
        keep: whether to go on with what an earlier run left: the partial file, else the JSON.
    """

    def __init__(self, path: Path, study: str, options: Any, *, keep: bool = False) -> None:
        self.path, self.partial = path, partial_of(path)
        self.parts: dict[str, Any] = {"study": study, "runs": []}
        self._start = time.perf_counter()
        self._texts: dict[str, str] = {}  # of parts, encoded
        self._row_texts: dict[str, list[str]] = {}
        if keep and (earlier := self.earlier(path)):
            self.parts |= read_json(earlier)
        settings = dataclasses.asdict(options) | {"output": path.name}
        self._seed = settings.get("seed")
        run = machine_record() | {"settings": settings, "seed": self._seed, "wall_time_s": 0.0}
        self._index = len(self.parts["runs"])
        self.parts["runs"] = [*self.parts["runs"], run]
        for name, part in self.parts.items():
            if name not in ("runs", "refused") and is_table(part):
                self._row_texts[name] = [_text(row, 2) for row in part]
        if self.partial.exists() and not keep:  # of a run that was killed: never lost
            date = time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime(self.partial.stat().st_mtime))
            self.partial.rename(path.with_suffix(f".{date}.partial.json"))

    @staticmethod
    def earlier(path: Path) -> Path | None:
        """The file that a run goes on with: what a killed one left, else the JSON, else None."""
        return next((file for file in (partial_of(path), path) if file.exists()), None)

    @property
    def run(self) -> dict[str, Any]:
        """The record of this run: machine, versions, commit, settings, seed, seconds so far."""
        return self.parts["runs"][-1]

    @property
    def num_rows(self) -> int:
        """Of this run, in all tables."""
        return sum(row["run"] == self._index for name in self._row_texts for row in self.parts[name])

    def table(self, name: str = "rows") -> list[dict[str, Any]]:
        """The rows of a table so far, not to be changed."""
        return self.parts.get(name, [])

    def add(self, *rows: Mapping[str, Any], table: str = "rows") -> None:
        """Append rows that were measured together, and write."""
        self.replace(lambda row: False, rows, table=table)

    def replace(
        self, is_stale: Callable[[dict[str, Any]], bool], rows: Iterable[Mapping[str, Any]], table: str = "rows"
    ) -> None:
        """Drop the rows of a table that are stale, append new ones, and write.

        A row that has no "run" gets this one's.
        """
        stamped = [{"run": self._index, "seed": self._seed} | dict(row) for row in rows]
        good = [row for row in stamped if self._accepts(table, row)]
        kept = [i for i, row in enumerate(self.table(table)) if not is_stale(row)]
        texts = self._row_texts.get(table, [])
        self._row_texts[table] = [texts[i] for i in kept] + [_text(row, 2) for row in good]
        self.parts[table] = [self.table(table)[i] for i in kept] + good
        self.write()

    def put(self, name: str, value: Any) -> None:
        """Set a part that is no table of rows, and write."""
        if self._accepts(name, value):
            self.parts[name], self._texts[name] = value, _text(value, 1)
            self.write()

    def _accepts(self, name: str, value: Any) -> bool:
        """Whether every number is one; what has a NaN goes to "refused"."""
        places = [f"{name}{place}" for place in nan_places(value)]
        if places:
            entry = {"run": self._index, "nan_at": places, "value": value}
            self.parts["refused"] = [*self.parts.get("refused", []), entry]
            self._texts.pop("refused", None)
        return not places

    @property
    def refused(self) -> list[list[str]]:
        """The places of NaNs, for each row or part of this run that was refused."""
        return [entry["nan_at"] for entry in self.parts.get("refused", []) if entry["run"] == self._index]

    def write(self) -> None:
        """Write everything to the partial file."""
        self.run["wall_time_s"] = round(time.perf_counter() - self._start, 3)
        self._texts["runs"] = _text(self.parts["runs"], 1)
        for name, part in self.parts.items():
            if name in self._row_texts:
                rows = ",\n".join(f"  {text}" for text in self._row_texts[name])
                self._texts[name] = f"[\n{rows}\n ]" if rows else "[]"
            elif name not in self._texts:
                self._texts[name] = _text(part, 1)
        body = ",\n".join(f' "{name}": {self._texts[name]}' for name in self.parts)
        _write_text(self.partial, f"{{\n{body}\n}}\n")

    def finish(self) -> None:
        """Put the JSON in its place."""
        self.write()
        os.replace(self.partial, self.path)


def partial_of(path: Path) -> Path:
    """Where the rows of a run are kept until it is over."""
    return path.with_suffix(".partial.json")


def is_table(part: Any) -> bool:
    """Whether a part of a result is a list of rows."""
    return isinstance(part, list) and bool(part) and all(isinstance(row, dict) and "run" in row for row in part)


def nan_places(value: Any, place: str = "") -> Iterator[str]:
    """Where a NaN stands in nested data, such as `['regret']['median']`."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from nan_places(item, f"{place}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from nan_places(item, f"{place}[{index}]")
    elif isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.asarray(value)
        if np.issubdtype(array.dtype, np.inexact) and np.isnan(array).any():
            yield place
    elif isinstance(value, float) and math.isnan(value):
        yield place


def write_json(path: str | os.PathLike[str], result: Mapping[str, Any]) -> None:
    """Write data so that an interruption at any moment leaves the earlier file whole.

    NaN and infinities, which JSON lacks, become "nan", "inf", "-inf"; NumPy and JAX arrays become lists.

    Raises: ValueError: a key that is not text, a text that would be read back as a number, a value that is
        not data; the message names the place, and nothing is written.
    """
    _write_text(Path(path), _text(result, 0) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read what `write_json` wrote, with its non-finite numbers."""
    return _decode(json.loads(Path(path).read_text(encoding="utf-8")))


def _write_text(path: Path, text: str) -> None:
    """To a temporary name, then renamed."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _text(value: Any, depth: int) -> str:
    """Data as JSON, its further lines indented by `depth`, lists of numbers on one line."""
    text = json.dumps(_encode(value, "result"), indent=1, allow_nan=False)
    # Thousands of raw times must not become thousands of lines. (Inside texts JSON has no raw line breaks.)
    text = re.sub(r"\[\n[^\[\]{}]*\n\s*\]", lambda found: re.sub(r"\n\s*", " ", found[0]), text)
    return text.replace("\n", "\n" + " " * depth)


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
