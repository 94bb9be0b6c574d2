"""Bring the README's tables up to date with the committed results: `python benchmarks/readme.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import argmax_report
import built_in
import certified
import claims
import harness
import report

README = Path(__file__).parent.parent / "README.md"
RESULTS = Path(__file__).parent / "results"
# The name in a section's markers -> the result that it tells of, and how.
SECTIONS: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "table": ("cpu.json", report.markdown),
    "argmax": ("argmax_cpu.json", argmax_report.markdown),
    "built-in": ("built_in_cpu.json", built_in.markdown),
    "certified": ("certified_cpu.json", certified.markdown),
    "claims": ("claims_cpu.json", claims.markdown),
}


def updated(text: str, results: Path = RESULTS) -> str:
    """The text with every section made anew from its result.

    Raises: ValueError: a section's markers are missing. OSError: a result is.
    """
    for name, (file, markdown) in SECTIONS.items():
        text = insert(text, markdown(harness.read_json(results / file)), name)
    return text


def insert(text: str, section: str, name: str) -> str:
    """The text with the section between the two markers of that name.

    Raises: ValueError: a marker is missing, or the end stands before the beginning.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, found_begin, rest = text.partition(begin)
    _, found_end, tail = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"expected the markers {begin} and {end}")
    return f"{head}{begin}\n{section}\n{end}{tail}"


if __name__ == "__main__":
    new = updated(README.read_text(encoding="utf-8"))
    temporary = README.with_name(f".{README.name}.tmp")
    temporary.write_text(new, encoding="utf-8")
    temporary.replace(README)
