"""What the benchmarks share on the command line: bad options refused by name, earlier results left whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import harness
from rich.console import Console


def check_output(path: Path) -> None:
    """Make the folder of a JSON to write; ValueError where that cannot be done."""
    if path.suffix != ".json" or path.is_dir():
        raise ValueError(f"--output: expected the name of a .json file; got {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--output: cannot make its folder: {error}") from error


def written_at(path: Path) -> int | None:
    """When a file was last written, nanoseconds; None where there is none."""
    return path.stat().st_mtime_ns if path.exists() else None


def run_and_write(
    options: Any,
    run: Callable[[Any], Mapping[str, Any]],
    show: Callable[[Console, Mapping[str, Any]], None],
    console: Console,
    plot: Callable[[Path], Iterable[Path]] = lambda path: (),
) -> int:
    """Check the options, run, write `options.output` and the figures beside it, and show the result.

    A run that writes as it goes keeps, interrupted, what it wrote; any other leaves earlier results as they were.

    Args:
        options: with a method `check`, which raises ValueError for what cannot be run.
        run: options -> result, with "rows" and "wall_time_s".
        plot: the JSON's path -> the paths of the figures.

    Returns: the exit status: 0, 1 without rows, 2 for bad options, 130 when interrupted.
    """
    try:
        options.check()
    except ValueError as error:
        Console(stderr=True).print(str(error), style="red", highlight=False)
        return 2
    before = written_at(options.output)
    try:
        result = run(options)
    except KeyboardInterrupt:
        if written_at(options.output) == before:
            console.print("interrupted: what was measured is lost, earlier results are as they were")
        else:
            written = [options.output, *plot(options.output)]
            console.print(f"interrupted: what was being measured is lost; wrote {', '.join(map(str, written))}")
        return 130
    if not result["rows"] and not result.get("peers"):
        console.print("no method was measured: the ones asked for do not run on these problems")
        return 1
    harness.write_json(options.output, result)
    written = [options.output, *(plot(options.output) if result["rows"] else ())]
    show(console, result)
    console.print(f"{result['wall_time_s']:.0f} s; wrote {', '.join(map(str, written))}")
    return 0
