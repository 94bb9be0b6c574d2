"""JAX's own settings, for tests of what a user starts."""

import contextlib
from collections.abc import Iterator

import jax


@contextlib.contextmanager
def default_settings() -> Iterator[None]:
    """JAX's own settings in the place of the tests' strict ones."""
    with (
        jax.numpy_dtype_promotion("standard"),  # optax needs it
        jax.numpy_rank_promotion("allow"),
        jax.debug_key_reuse(False),  # what is timed is the same call
    ):
        yield
