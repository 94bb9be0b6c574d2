"""Which code made a committed result, and whether it has changed since."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[3]
BENCHMARKS = ROOT / "benchmarks"


class Change(NamedTuple):
    """A commit after the one that made a result, with those of the result's files that it changed."""

    commit: str
    subject: str
    files: tuple[str, ...]


def code_of(script: str) -> list[str]:
    """The files behind a script, from the repository's root: what it imports of the studies, and the library."""
    found, waiting = set(), [BENCHMARKS / f"{script}.py"]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        waiting += [file for name in imported(path) if (file := file_of(name)) is not None]
    return [*sorted(str(path.relative_to(ROOT)) for path in found), "pgjax"]


def imported(path: Path) -> set[str]:
    """The modules of the studies that a file imports, packages on the way to them included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("studies"):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    parts = [name.split(".") for name in names if name]
    return {".".join(part[:end]) for part in parts for end in range(1, len(part) + 1)}


def file_of(module: str) -> Path | None:
    """Where a module of the studies is; None where the name is not one of a module."""
    path = BENCHMARKS.joinpath(*module.split("."))
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.exists()), None)


def commits_of(result: Mapping[str, Any]) -> dict[str, int]:
    """How many rows, of all tables, each commit made."""
    counts: dict[str, int] = {}
    for part in result.values():
        for row in part if isinstance(part, list) else ():
            if isinstance(row, Mapping) and "run" in row:
                commit = result["runs"][row["run"]]["git_commit"]
                counts[commit] = counts.get(commit, 0) + 1
    return counts


def changes_since(commit: str, files: list[str]) -> list[Change]:
    """The later commits, in the history of HEAD, that changed any of these files, newest first.

    Raises: ValueError: the commit is not in the history of HEAD.
    """
    if git("merge-base", "--is-ancestor", commit, "HEAD") is None:
        raise ValueError(f"commit: expected one in the history of HEAD; got {commit}")
    log = git("log", "--format=%x00%h%x09%s", "--name-only", f"{commit}..HEAD", "--", *files) or ""
    changes = []
    for entry in filter(None, log.split("\0")):
        head, *names = entry.strip().splitlines()
        short, _, subject = head.partition("\t")
        changes.append(Change(short, subject, tuple(filter(None, names))))
    return changes


@functools.cache
def has_history() -> bool:
    """Whether this is a clone with its whole history."""
    return git("rev-parse", "--is-shallow-repository") == "false"


def git(*arguments: str) -> str | None:
    """What git prints about the repository; None where it fails."""
    try:
        done = subprocess.run(
            ("git", *arguments), cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
