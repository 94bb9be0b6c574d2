"""Checks of settings that several modules need."""

from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["check_choice", "check_count"]


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    choices = tuple(choices)
    if value not in choices:
        raise ValueError(f"{name} must be one of {choices}; got {value!r}")


def check_count(name: str, value: int, lowest: int = 1) -> None:
    """Raise ValueError unless the value is an integer of at least `lowest`."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < lowest:
        raise ValueError(f"{name} must be an integer of at least {lowest}; got {value!r}")
