"""Studies run as a user starts them, within the tests' process."""

import sys
from typing import Any, cast

import jax
import pytest

from studies.claims.rows import judged
from studies.common import command_line
from tests.settings import default_settings


def run_study(study, *arguments):
    """The exit status of a study's script for these arguments."""
    with pytest.MonkeyPatch.context() as monkeypatch, default_settings():
        monkeypatch.setattr(sys, "argv", [f"{study.name}.py", *map(str, arguments)])
        return command_line.main(study)


def judged_run(module, **settings):
    """A claim measured: its rows by statement, and the figure's data."""
    with default_settings():
        claim = judged(module.STATEMENTS, module.measure(**settings))
    assert not cast(Any, jax.config).jax_enable_x64
    return dict(zip(module.STATEMENTS, claim["rows"], strict=True)), claim["figure"]
