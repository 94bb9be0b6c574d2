"""Strict JAX settings for every test, all cores, and a default run that leaves out what is deep."""

import collections
import os
import pathlib
import shutil
import tempfile

import jaxlib.version

# Eight devices; and no time spent on optimizing programs that run once (CI runs the numerics with it too).
FLAGS: dict[str, object] = {"--xla_force_host_platform_device_count": 8, "--xla_backend_optimization_level": 0}
is_optimized = "--xla_backend_optimization_level" in os.environ.get("XLA_FLAGS", "")
if jaxlib.version.__version_info__[:2] == (0, 10) and not is_optimized:
    FLAGS["--xla_cpu_use_fusion_emitters"] = "false"  # compiles in half the time; later versions do not have it
for flag, value in FLAGS.items():
    if flag not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}={value}".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# What one worker has compiled, the others read. A directory named by the user is used, and kept.
OWN_PROGRAMS = "JAX_COMPILATION_CACHE_DIR" not in os.environ
if OWN_PROGRAMS:  # before JAX is imported, and so that workers inherit it
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="pgjax-tests-")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_debug_key_reuse", True)

hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("fixed")


def pytest_addoption(parser):
    """Add `--deep`."""
    parser.addoption("--deep", action="store_true", help="run the exhaustive tests too (alone: -m deep)")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Leave out the tests marked deep, unless they are asked for by --deep, by -m, or by name.

    Of a test marked few(n) all cases but the first n are deep.
    """
    cases: collections.Counter = collections.Counter()
    for item in items:
        if (few := item.get_closest_marker("few")) and not item.get_closest_marker("deep"):
            cases[item.path, item.originalname] += 1
            if cases[item.path, item.originalname] > few.args[0]:
                item.add_marker("deep")
    if config.option.deep or "deep" in config.option.markexpr or any("::" in name for name in config.args):
        return
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("deep")])
    items[:] = [item for item in items if not item.get_closest_marker("deep")]


def pytest_xdist_auto_num_workers(config):
    """One worker for each core that this process may use, eight at most: each holds some GB of programs."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, 8)


def pytest_unconfigure(config):
    """Remove the compiled programs of this run, at the end of the process that made their directory."""
    if OWN_PROGRAMS:
        shutil.rmtree(pathlib.Path(os.environ["JAX_COMPILATION_CACHE_DIR"]), ignore_errors=True)


@pytest.fixture
def key():
    """Return a fresh typed key, the same in every test."""
    return jax.random.key(0)


@pytest.fixture
def rng():
    """Return a NumPy generator, the same in every test."""
    return np.random.default_rng(0)
