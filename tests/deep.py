"""Parametrized cases of which the default run takes the representative ones, and `--deep` all."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest


def deep(*values: Any, id: str | None = None) -> Any:
    """Return one case that is marked deep."""
    return pytest.param(*values, id=id, marks=pytest.mark.deep)


def deep_except(cases: Mapping[str, Any] | Iterable[Any], *representative: Any) -> list[Any]:
    """Return the cases, all but the representative ones marked deep; those of a table have its names."""
    names = list(cases)
    missing = [name for name in representative if name not in names]
    assert not missing, f"{missing} not among {names}"
    if isinstance(cases, Mapping):
        return [
            pytest.param(case, id=name, marks=[] if name in representative else pytest.mark.deep)
            for name, case in cases.items()
        ]
    return [case if case in representative else deep(case) for case in names]
