"""Checks of settings that several modules need."""

import numpy as np


def check_count(name: str, value: int, lowest: int = 1) -> None:
    """Raise ValueError unless the value is an integer of at least `lowest`."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < lowest:
        raise ValueError(f"{name} must be an integer of at least {lowest}; got {value!r}")
