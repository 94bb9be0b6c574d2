"""Benchmark scripts run as a user starts them, within the tests' process."""

import sys

import jax
import pytest


def run_main(script, *arguments):
    """The exit status of a benchmark's `main` for these arguments, under JAX's default settings."""
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        jax.numpy_dtype_promotion("standard"),  # optax needs it
        jax.numpy_rank_promotion("allow"),
        jax.debug_key_reuse(False),  # what is timed is the same call
    ):
        monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *map(str, arguments)])
        return script.main()
