"""Public maximizers beside pgjax's own: the same objective, batch and budget, side by side in the same run.

Peers work on the cube [-1, 1]^N that stands for the box, as pgjax's maximizers do, and return the best action that
they evaluated. A peer of an absent package has no rows.

Set OPENBLAS_NUM_THREADS=1: on a busy machine of two cores SciPy's L-BFGS-B took 6 to 25 times as long with
OpenBLAS's default threads, which wait for one another over vectors of six numbers. Such a ratio says nothing.
"""

from __future__ import annotations

import functools
import importlib.util
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from scipy.stats import qmc

import pgjax
from pgjax import maximizers
from studies.common.acting.regret import regret_scale, rescore
from studies.common.acting.tasks import Task
from studies.common.acting.ways import Search, actions_of, search_method, search_named
from studies.common.timing import time_interleaved

GOALS = {1: 1.0, 4096: 3.0}  # times as fast as each peer, at no more regret
NUM_POINTS, NUM_STARTS, MAX_STEPS, MEMORY = 512, 8, 30, 5
POPULATION, INITIAL_SIGMA = 32, 0.6
NO_REGRET = 1e-6  # float32 does not tell lower regrets from the maximum
_LBFGS = Search("L-BFGS 8x30", "L-BFGS", maximizers.lbfgs(num_starts=NUM_STARTS), MAX_STEPS)


class Peer(NamedTuple):
    """Someone else's maximizer, and pgjax's of the same budget.

    Fields: name; package it needs; search: pgjax's; solve: (task, params, key, ONE state) -> action `[N]`;
    jittable: whether JAX compiles and batches it, or Python loops over the states.
    """

    name: str
    package: str
    search: Search
    solve: Callable[[Task, Any, jax.Array, jax.Array], Any]
    jittable: bool = True


def value_on_cube(task: Task, params: Any, state: jax.Array, point: jax.Array) -> jax.Array:
    """Q of the action that a point of the cube stands for."""
    return task.objective(params, state, to_action(task.box, point))


def to_action(box: pgjax.Box, point: jax.Array) -> jax.Array:
    """The action that a point of the cube stands for."""
    half = jnp.asarray((box.high - box.low) / 2, point.dtype)
    return jnp.asarray(box.low, point.dtype) + half * (point + 1)


@functools.lru_cache
def sobol_points(num_dims: int) -> np.ndarray:
    """Points of the cube to choose starts from."""
    points = qmc.Sobol(num_dims, scramble=True, rng=0).random(NUM_POINTS)
    return (2 * points - 1).astype(np.float32)


@functools.lru_cache
def compiled_losses(objective: Callable[..., jax.Array], low: tuple, high: tuple) -> tuple[Any, Any]:
    """-Q of points, and of one point with its gradient, as functions of (params, state, point or points)."""
    box = pgjax.Box(np.asarray(low), np.asarray(high))

    def loss(params, state, point):
        return -objective(params, state, to_action(box, point))

    return jax.jit(jax.vmap(loss, (None, None, 0))), jax.jit(jax.value_and_grad(loss, 2))


def evosax_cma_es(task: Task, params: Any, key: jax.Array, state: jax.Array) -> jax.Array:
    """CMA-ES of evosax, which minimizes and knows no bounds: its population is clipped."""
    from evosax.algorithms import CMA_ES

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        start = jnp.zeros(task.box.num_dims)
        strategy = CMA_ES(population_size=POPULATION, solution=start)
        settings = strategy.default_params.replace(std_init=jnp.float32(INITIAL_SIGMA))

        def generation(search, key):
            key_ask, key_tell = jax.random.split(key)
            population, search = strategy.ask(key_ask, search, settings)
            population = jnp.clip(population, -1, 1)
            losses = -jax.vmap(lambda x: value_on_cube(task, params, state, x))(population)
            return strategy.tell(key_tell, population, losses, search, settings)[0], None

        key_init, key_run = jax.random.split(key)
        search = jax.tree.map(jnp.asarray, strategy.init(key_init, start, settings))
        search, _ = jax.lax.scan(generation, search, jax.random.split(key_run, MAX_STEPS))
    return to_action(task.box, search.best_solution)


def jaxopt_lbfgsb(task: Task, params: Any, key: jax.Array, state: jax.Array) -> jax.Array:
    """L-BFGS-B of jaxopt, from the best of the Sobol points."""
    del key
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it says that it is no longer maintained
        import jaxopt

    def loss(x):
        return -value_on_cube(task, params, state, x)

    points = jnp.asarray(sobol_points(task.box.num_dims))
    _, chosen = jax.lax.top_k(-jax.vmap(loss)(points), NUM_STARTS)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        solver = jaxopt.LBFGSB(loss, maxiter=MAX_STEPS, history_size=MEMORY, tol=1e-6, implicit_diff=False)
        bounds = -jnp.ones(task.box.num_dims), jnp.ones(task.box.num_dims)
        found, info = jax.vmap(lambda start: solver.run(start, bounds))(points[chosen])
    return to_action(task.box, found[jnp.nanargmin(info.value)])


def scipy_lbfgsb(task: Task, params: Any, key: jax.Array, state: jax.Array) -> np.ndarray:
    """L-BFGS-B of SciPy, from the best of the Sobol points, start by start, with as many gradients; Q compiled."""
    del key
    losses, loss_and_gradient = compiled_losses(task.objective, tuple(task.box.low), tuple(task.box.high))
    points = sobol_points(task.box.num_dims)
    starts = points[np.argsort(losses(params, state, points))[:NUM_STARTS]]
    results = [
        scipy.optimize.minimize(
            lambda x: jax.device_get(loss_and_gradient(params, state, np.float32(x))),
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[(-1, 1)] * task.box.num_dims,
            options={"maxiter": MAX_STEPS, "maxfun": MAX_STEPS, "maxcor": MEMORY},
        )
        for start in starts
    ]
    best = min(results, key=lambda result: result.fun)
    return np.asarray(to_action(task.box, best.x.astype(np.float32)))


def plain_cem(num_samples: int, num_elites: int, num_steps: int) -> Callable[..., jax.Array]:
    """The cross-entropy method as it is commonly written: vmapped, with noise of its own for each state."""

    def solve(task: Task, params: Any, key: jax.Array, state: jax.Array) -> jax.Array:
        def step(gaussian, key):
            mean, std = gaussian
            noise = jax.random.normal(key, (num_samples, task.box.num_dims))
            samples = jnp.clip(mean[None] + std[None] * noise, -1, 1)
            values = jax.vmap(lambda x: value_on_cube(task, params, state, x))(samples)
            _, best = jax.lax.top_k(values, num_elites)
            elites = samples[best]
            return (jnp.mean(elites, axis=0), jnp.std(elites, axis=0)), (elites[0], values[best[0]])

        start = jnp.zeros(task.box.num_dims), jnp.full(task.box.num_dims, 0.5)
        _, (points, values) = jax.lax.scan(step, start, jax.random.split(key, num_steps))
        return to_action(task.box, points[jnp.argmax(values)])

    return solve


_CMA_ES = Search("CMA-ES 32x30", "CMA-ES", maximizers.cma_es(num_samples=POPULATION), MAX_STEPS)
PEERS = (
    Peer("evosax CMA_ES", "evosax", _CMA_ES, evosax_cma_es),
    Peer("jaxopt LBFGSB", "jaxopt", _LBFGS, jaxopt_lbfgsb),
    Peer("SciPy L-BFGS-B", "scipy", _LBFGS, scipy_lbfgsb, jittable=False),
    Peer("plain CEM 10x400/40", "jax", search_named("CEM 10x400/40"), plain_cem(400, 40, 10)),
    Peer("plain CEM 2x64/6", "jax", search_named("CEM 2x64/6"), plain_cem(64, 6, 2)),
)


def measure(
    tasks: Sequence[Task],
    batch_sizes: Sequence[int] = tuple(GOALS),
    *,
    peers: Sequence[Peer] = PEERS,
    num_regret_states: int = 256,
    num_looped_states: int = 16,
    num_keys: int = 3,
    **limits: Any,
) -> list[dict[str, Any]]:
    """One row for each peer, problem and batch size: times per decision, their ratio, regrets, the goal.

    A row's regrets are those of the first states under several keys, as noise that states share hits all of
    them alike; on a critic, against the best action that anyone found.

    Args:
        tasks: of the largest batch size.
        num_regret_states: distinct states to judge by at most; a batch has no more than its own.
        num_looped_states: states of a batch that a peer in a Python loop is timed on (`states_timed`).
        limits: of `time_interleaved`.
    """
    present = [peer for peer in peers if importlib.util.find_spec(peer.package)]
    rows = []
    for task in tasks:
        found = []
        for peer in present:
            for batch_size in batch_sizes:
                pair = {"own": own_act(task, peer), "peer": peer_act(task, peer, batch_size)}
                row: dict[str, Any] = {"method": peer.search.name, "peer": peer.name, "problem": task.name}
                row |= {"batch_size": batch_size, "goal": GOALS.get(batch_size, GOALS[4096])}
                row |= time_pair(task, peer, pair, batch_size, num_looped_states, limits)
                values = {
                    side: values_found(task, act, batch_size, num_regret_states, num_keys, side)
                    for side, act in pair.items()
                }
                found.append((row, values))
        rows += judge(task, found)
    return rows


def own_act(task: Task, peer: Peer) -> Callable[..., jax.Array]:
    """pgjax's maximizer, compiled: (params, key, states) -> actions."""
    way = search_method(task, peer.search)
    return jax.jit(lambda params, key, states: actions_of(way.act(params, key, states)))


def peer_act(task: Task, peer: Peer, batch_size: int) -> Callable[..., Any]:
    """The peer's maximizer: (params, key, states) -> actions, with a key of its own for each state."""
    solve = functools.partial(peer.solve, task)
    if batch_size == 1:
        return jax.jit(solve) if peer.jittable else solve
    if not peer.jittable:
        return lambda params, key, states: np.stack([solve(params, key, state) for state in states])

    def act(params, key, states):
        return jax.vmap(solve, (None, 0, 0))(params, jax.random.split(key, len(states)), states)

    return jax.jit(act)


def time_pair(
    task: Task, peer: Peer, pair: dict[str, Any], batch_size: int, num_looped: int, limits: dict[str, Any]
) -> dict[str, Any]:
    """Times per decision, side by side."""
    states_timed = batch_size if peer.jittable else min(batch_size, num_looped)
    states = {"own": task.states[:batch_size], "peer": task.states[:states_timed]}
    if batch_size == 1:
        states = {side: several[0] for side, several in states.items()}
    calls = {side: (act, (task.params, jax.random.key(1), states[side])) for side, act in pair.items()}
    timings = time_interleaved(calls, **limits)
    own_s, peer_s = timings["own"].median_s / batch_size, timings["peer"].median_s / states_timed
    return {
        "time_per_decision_s": own_s,
        "peer_time_per_decision_s": peer_s,
        "speedup": peer_s / own_s,
        "states_timed": states_timed,
    }


def values_found(task: Task, act: Any, batch_size: int, num_states: int, num_keys: int, side: str) -> np.ndarray:
    """Q of the actions for the first states under several keys, `[keys, states]`, in float64."""
    num_states = min(num_states, task.num_states if batch_size == 1 else min(task.num_states, batch_size))
    values = []
    for key in jax.random.split(jax.random.key(2), num_keys):
        if batch_size == 1:
            keys = jax.random.split(key, num_states)
            several = zip(keys, task.states, strict=False)
            actions = np.stack([act(task.params, key, state) for key, state in several])
        else:
            # A peer has a key for each state, so that fewer states have the same ones.
            count = batch_size if side == "own" else num_states
            actions = np.asarray(act(task.params, key, task.states[:count]))
        with jax.enable_x64(True):
            states = np.asarray(task.states[:num_states], np.float64)
            actions = actions[:num_states].astype(np.float64)
            values.append(np.asarray(rescore(task.objective, task.params, states, actions)))
    return np.stack(values)


def judge(task: Task, found: Sequence[tuple[dict[str, Any], dict[str, np.ndarray]]]) -> list[dict[str, Any]]:
    """The rows with median regrets, normalized as in `regret_scale`, and whether the goal is met."""
    if not found:
        return []
    most = max(values.shape[1] for _, pair in found for values in pair.values())
    problem = task.problem
    if problem is None:
        best = np.full(most, -np.inf)
        for values in (values for _, pair in found for values in pair.values()):
            count = values.shape[1]
            best[:count] = np.maximum(best[:count], values.max(axis=0))
        objective = functools.partial(task.objective, task.params)
        problem = pgjax.problems.Problem(task.states, objective, task.box, best, np.empty(0))
        task = task._replace(states=task.states[:most], problem=problem)
    scale = regret_scale(task)
    for row, pair in found:
        own, peer = (
            (problem.maximum[: values.shape[1]] - values) / scale[: values.shape[1]]
            for values in (pair["own"], pair["peer"])
        )
        row["normalized_regret_median"] = float(np.median(own))
        row["peer_normalized_regret_median"] = float(np.median(peer))
        row["met"] = row["speedup"] >= row["goal"] and is_no_worse(own, peer)
    return [row for row, _ in found]


def is_no_worse(own: np.ndarray, peer: np.ndarray) -> bool:
    """Whether the median regret is at most the peer's, within 95 % of its bootstrap noise, or both are nothing.

    Args:
        own, peer: regrets `[keys, states]` for the same states, which are drawn anew together; so are the keys,
            each side's apart.
    """
    if max(np.median(own), np.median(peer)) <= NO_REGRET:
        return True
    rng = np.random.default_rng(0)
    num_keys, num_states = own.shape
    differences = []
    for _ in range(1000):
        states = rng.integers(num_states, size=num_states)
        medians = [np.median(side[rng.integers(num_keys, size=num_keys)][:, states]) for side in (own, peer)]
        differences.append(medians[0] - medians[1])
    return bool(np.quantile(differences, 0.05) <= 0)
