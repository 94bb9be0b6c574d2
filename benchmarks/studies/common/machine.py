"""Describe the machine: hardware, software, settings, and the commit of the code."""

import datetime
import functools
import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "distrax", "chex", "numpy", "scipy", "torch", "evosax", "jaxopt")
ENVIRONMENT = re.compile(r"(XLA|JAX|LIBTPU|OMP|MKL|OPENBLAS|CUDA|NVIDIA_TF32)_")


def machine_record() -> dict[str, Any]:
    """Describe hardware, software and settings; what cannot be found out is None.

    Holds no host name, user name or path: paths in environment variables become `<path>`.
    """
    devices = _or_none(jax.devices) or []
    commit = _git("rev-parse", "--verify", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no")
    versions = {name: _or_none(functools.partial(importlib.metadata.version, name)) for name in PACKAGES}
    variables = {name: value for name, value in sorted(os.environ.items()) if ENVIRONMENT.match(name)}
    return {
        "date_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "system": platform.system() or None,
        "architecture": platform.machine() or None,
        "cpu": _cpu_model(),
        "usable_cores": _or_none(lambda: len(os.sched_getaffinity(0))) or os.cpu_count(),
        "memory_bytes": _or_none(lambda: os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        "backend": _or_none(jax.default_backend),
        "device_kind": devices[0].device_kind if devices else None,
        "device_count": len(devices),
        "versions": {"python": platform.python_version()} | versions,
        "x64": _jax_setting("jax_enable_x64"),
        "matmul_precision": _jax_setting("jax_default_matmul_precision") or "default",
        "random_generator": _jax_setting("jax_default_prng_impl"),
        "environment": {name: re.sub(r"~?/[^\s,:;]*", "<path>", value) for name, value in variables.items()},
        "git_commit": commit,
        "git_dirty": None if commit is None else bool(changes),
    }


def _or_none(function: Callable[[], Any]) -> Any:
    """Result of a look-up that may fail on some machine in ways nobody foresaw."""
    try:
        return function()
    except Exception:
        return None


def _jax_setting(name: str) -> Any:
    return _or_none(lambda: getattr(jax.config, name))


def _git(*arguments: str) -> str | None:
    run = functools.partial(subprocess.run, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10)
    return _or_none(lambda: run(("git", *arguments), check=True).stdout.strip())


def _cpu_model() -> str | None:
    lines = _or_none(lambda: Path("/proc/cpuinfo").read_text().splitlines()) or []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (names[0] if names else platform.processor()) or None
