"""Strict JAX settings for every test: what passes here also passes in a strict user's program."""

import os

import jaxlib.version

# Eight devices; and no time spent on optimizing programs that run once (CI runs the numerics with it too).
FLAGS = {"--xla_force_host_platform_device_count": 8, "--xla_backend_optimization_level": 0}
is_optimized = "--xla_backend_optimization_level" in os.environ.get("XLA_FLAGS", "")
if jaxlib.version.__version_info__[:2] == (0, 10) and not is_optimized:
    FLAGS["--xla_cpu_use_fusion_emitters"] = "false"  # compiles in half the time; later versions do not have it
for flag, value in FLAGS.items():
    if flag not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}={value}".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_debug_key_reuse", True)

hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("fixed")


@pytest.fixture
def key():
    """Return a fresh typed key, the same in every test."""
    return jax.random.key(0)


@pytest.fixture
def rng():
    """Return a NumPy generator, the same in every test."""
    return np.random.default_rng(0)
