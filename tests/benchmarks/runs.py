"""Studies run as a user starts them, within the tests' process."""

import contextlib
import sys
from typing import Any, cast

import jax
import pytest

from studies.claims.rows import judged
from studies.common import command_line


@contextlib.contextmanager
def default_settings():
    """JAX's own settings in the place of the tests' strict ones."""
    with (
        jax.numpy_dtype_promotion("standard"),  # optax needs it
        jax.numpy_rank_promotion("allow"),
        jax.debug_key_reuse(False),  # what is timed is the same call
    ):
        yield


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
