"""The contract of a study: what a script runs, and what reports are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from matplotlib.figure import Figure
from rich.console import Console

from studies.common.results import Results

Result = Mapping[str, Any]


class Options(Protocol):
    """The command line: a dataclass whose fields have the help texts below them."""

    @property
    def output(self) -> Path:
        """The JSON to write."""

    def check(self) -> None:
        """Raise ValueError, naming the option, for what cannot be run."""


def no_figures(result: Result) -> dict[str, Figure]:
    """Of a study that has tables only."""
    del result
    return {}


class Study(NamedTuple):
    """A study, as its script and the reports use it.

    Fields:
        name: of the script, and in the JSON.
        options: a dataclass that has what `Options` says.
        run: measures what the options ask for and adds every row to the results as soon as it is known.
        show: prints a result's tables.
        markdown: a result's tables for the documentation.
        figures: name -> figure, of a result alone; written as `<stem of the JSON>_<name>.png`.
    """

    name: str
    options: type[Any]
    run: Callable[[Any, Results, Console], None]
    show: Callable[[Console, Result], None]
    markdown: Callable[[Result], str]
    figures: Callable[[Result], dict[str, Figure]] = no_figures
