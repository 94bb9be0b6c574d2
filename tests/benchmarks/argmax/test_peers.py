"""Public maximizers beside pgjax's own: rows of a tiny run, absent packages, ties."""

import ast
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import pgjax
from pgjax import maximizers
from studies.argmax import peers as argmax_peers
from studies.common.acting import tasks, ways

pytestmark = pytest.mark.deep  # it runs the study

FIELDS = {
    "method", "peer", "problem", "batch_size", "time_per_decision_s", "peer_time_per_decision_s", "speedup",
    "normalized_regret_median", "peer_normalized_regret_median", "goal", "met", "states_timed",
}  # fmt: skip
TINY: dict[str, Any] = {"num_regret_states": 4, "num_looped_states": 2, "num_keys": 1}
TINY |= {"min_time_s": 1e-3, "max_time_s": 2e-3, "min_repetitions": 1, "num_rounds": 1}


SHORT = ways.Search("64 points", "random search", maximizers.random_search(num_samples=64), 1)


@pytest.fixture(autouse=True)
def timed_calls_reuse_their_keys():
    """What is timed is the same call."""
    with jax.debug_key_reuse(False):
        yield


def task(is_critic):
    """A quadratic, which compiles fast, with its maximum known or not."""
    problem = pgjax.problems.quadratic(jax.random.key(0), 4, num_dims=2)

    def objective(params, state, action):
        return problem.objective(state, action)

    known = None if is_critic else problem
    return tasks.Task("quadratic", objective, (), problem.states, 4, problem.box, known, 0, 1)


def run(peers, batch_sizes=(4,), is_critic=False):
    return argmax_peers.measure([task(is_critic)], batch_sizes, peers=peers, **TINY)


def named(name):
    """A peer beside what compiles fast."""
    (peer,) = (peer for peer in argmax_peers.PEERS if peer.name == name)
    return peer._replace(search=SHORT)


@pytest.mark.parametrize(
    ("name", "is_critic", "batch_size"),
    [
        ("plain CEM 2x64/6", False, 1),
        ("plain CEM 2x64/6", True, 4),
        ("SciPy L-BFGS-B", False, 4),
        ("jaxopt LBFGSB", False, 4),
        ("evosax CMA_ES", False, 4),
    ],
)
def test_rows_have_their_fields_and_plausible_values(name, is_critic, batch_size):
    peer = named(name)
    pytest.importorskip(peer.package, exc_type=ImportError)
    (row,) = run([peer], (batch_size,), is_critic)
    assert set(row) == FIELDS
    assert row["peer"] == name
    assert row["speedup"] == pytest.approx(row["peer_time_per_decision_s"] / row["time_per_decision_s"])
    assert row["states_timed"] == (2 if name.startswith("SciPy") else batch_size)
    assert -1e-6 <= row["normalized_regret_median"] < 1
    assert -1e-6 <= row["peer_normalized_regret_median"] < (0.3 if "CEM" in name else 1e-2)
    assert row["goal"] == (1.0 if batch_size == 1 else 3.0)
    assert row["speedup"] >= row["goal"] or not row["met"]


def test_peers_of_absent_packages_have_no_rows():
    assert run([peer._replace(package="no_such_package") for peer in argmax_peers.PEERS]) == []


def test_no_peer_is_imported_with_the_module():
    parsed = ast.parse(Path(argmax_peers.__file__).read_text())
    imports = [ast.unparse(node) for node in parsed.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not any(package in line for line in imports for package in ("evosax", "jaxopt"))


def test_no_worse_means_within_the_noise_of_the_median(rng):
    peer = rng.uniform(size=(3, 50))
    assert argmax_peers.is_no_worse(peer * 0.5, peer)
    assert argmax_peers.is_no_worse(peer * 1.01, peer)
    assert not argmax_peers.is_no_worse(peer * 2, peer)
    assert argmax_peers.is_no_worse(np.full((3, 50), 1e-8), np.full((3, 50), 1e-9))
