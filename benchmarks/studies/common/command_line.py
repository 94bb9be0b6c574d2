"""Run a study from the command line: options refused by name, rows kept whatever happens, figures beside them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from studies.common.results import Results, read_json
from studies.common.study import Study

CONSOLE = Console(width=max(shutil.get_terminal_size().columns, 120), highlight=False)


def check_output(path: Path) -> None:
    """Make the folder of a JSON to write; ValueError where that cannot be done."""
    if path.suffix != ".json" or path.is_dir():
        raise ValueError(f"--output: expected the name of a .json file; got {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--output: cannot make its folder: {error}") from error


def parsed(options_type: type[Any]) -> Any | None:
    """The command line's options; None, and the reason printed, for what cannot be run."""
    options = tyro.cli(options_type)
    try:
        options.check()
    except ValueError as error:
        Console(stderr=True).print(str(error), style="red", highlight=False)
        return None
    return options


def main(study: Study) -> int:
    """Run a study, write its JSON and the figures beside it, and show the result.

    Returns: the exit status: 0; 1 without rows or with a NaN; 2 for bad options; 130 when interrupted.
    """
    options = parsed(study.options)
    if options is None:
        return 2
    results = Results(options.output, study.name, options, keep=getattr(options, "update", False))
    device = results.run
    CONSOLE.print(f"device: {device['device_kind']} ({device['backend']}), {device['device_count']} of them")
    try:
        study.run(options, results, CONSOLE)
    except KeyboardInterrupt:
        count = results.num_rows
        kept = f"{count} rows are in {results.partial}" if count else "nothing was measured"
        CONSOLE.print(f"interrupted: {kept}; earlier results are as they were")
        return 130
    if not results.num_rows and not results.refused:
        CONSOLE.print("nothing was measured: what was asked for does not run on these problems")
        return 1
    results.finish()
    result = read_json(options.output)
    written = [options.output, *write_figures(study, result, options.output)]
    study.show(CONSOLE, result)
    CONSOLE.print(f"{results.run['wall_time_s']:.0f} s; wrote {', '.join(map(str, written))}")
    for places in results.refused:
        more = f" and {len(places) - 1} more places" if len(places) > 1 else ""
        CONSOLE.print(f"refused, NaN at {places[0]}{more}: kept under refused in the JSON", style="red")
    return 1 if results.refused else 0


def write_figures(study: Study, result: Mapping[str, Any], path: Path) -> list[Path]:
    """Write `<stem>_<name>.png` beside a result for each of the study's figures; returns their paths."""
    written = []
    for name, figure in study.figures(result).items():
        written.append(path.with_name(f"{path.stem}_{name}.png"))
        figure.savefig(written[-1], dpi=150)
    return written
