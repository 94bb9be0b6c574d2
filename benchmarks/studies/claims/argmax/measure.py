"""Claim a: argmax over R^6 at every timestep is impractical.

Measured on a quadratic against theory: what the ways out that the chapter names lose (random samples, a grid), how
fast that falls with their number, and the cross-entropy method, which it does not name. Then on a six-joint arm
(`arm`): how long the cheapest search takes that is good enough, beside a sample of a policy, alone
and in a batch, and on a neural critic. The figure shows both.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import pgjax
from pgjax import maximizers, noise
from studies.claims.argmax import arm
from studies.claims.rows import Measuring, Statement, exactly
from studies.common.statistics import interquartile_mean

NUM_DIMS = 6


class Draws(NamedTuple):
    """How random search is measured: states a seed, samples of the shortest search, tolerance of its slope."""

    num_states: int
    num_samples: int
    tolerance: float


# Theory holds where the nearest sample lies in the ball that the box encloses. That ball holds N V_d / 2^d samples
# in the mean: at least 80 here, and 4 in 12 dimensions, where 1 search in 60 finds none in it at the smallest N.
DRAWS = {
    1: Draws(1024, 200, 0.05),
    2: Draws(512, 200, 0.05),
    3: Draws(256, 200, 0.05),
    6: Draws(64, 1000, 0.05),
    12: Draws(12, 12_500, 0.15),
}
MULTIPLES = (1, 2, 4, 8, 10)  # of the shortest search, at which the best so far is looked at
GRIDS = {3: 256, 5: 128}  # points a side -> states a seed
FINE_GRID = 11
CEM_STATES, CEM_SAMPLES, CEM_ITERATIONS, CEM_FLOOR = 512, 64, (2, 4, 8), 0.02
CEM_OPTIMUM = 0.5  # the optimum's coordinates are uniform up to this far from the center


def ball_volume(num_dims: int) -> float:
    """Of radius 1."""
    return math.pi ** (num_dims / 2) / math.gamma(num_dims / 2 + 1)


def random_regret(num_dims: int, num_samples: float) -> float:
    """Mean squared distance of the nearest of N uniform points in [-1, 1]^d to an inner point, for large N.

    Gamma(1 + 2/d) (N V_d / 2^d)^(-2/d): the volume of the empty ball around it is exponential with mean 2^d / N.
    """
    inside = num_samples * ball_volume(num_dims) / 2**num_dims
    return math.gamma(1 + 2 / num_dims) * inside ** (-2 / num_dims)


def random_samples(num_dims: int, regret: float) -> float:
    """The number of samples that have a regret; the inverse of `random_regret`."""
    return (random_regret(num_dims, 1.0) / regret) ** (num_dims / 2)


def grid_regret(num_dims: int, num_points: int) -> float:
    """Mean squared distance of a uniform point of [-1, 1]^d to the nearest point of a grid, d h^2 / 12."""
    return num_dims * (2 / (num_points - 1)) ** 2 / 12


REGRET = "mean regret"
RANDOM, GRID = "random search, -|a|^2, {}-d", "grid of {} points a side, a* uniform, 6-d"
CEM = f"CEM {CEM_SAMPLES}/6 from the center, std .5, -|a - a*|^2, |a*_i| <= {CEM_OPTIMUM}"
SAMPLED = f"{REGRET} of the best sample, {{}} iterations"
# An independent simulation (it is among the tests) gives .087, .0101, .0021; a first one gave .088, .0102, .0016.
# The last is the mean of a long tail, of runs whose std falls before they are there: 200 runs give .0014 to .0032.
CEM_REGRETS = {2: (0.0875, 0.05), 4: (0.0101, 0.08), 8: (0.0021, 0.2)}
STATEMENTS: dict[str, Statement] = {
    **{
        f"random {n}": exactly(RANDOM.format(6), f"{REGRET}, {n:,} samples", random_regret(6, n), relative=0.05)
        for n in (1000, 10_000)
    },
    **{
        f"slope {d}": exactly(RANDOM.format(d), "log-log slope of regret", -2 / d, relative=draws.tolerance)
        for d, draws in DRAWS.items()
    },
    "halving": exactly(RANDOM.format(6), "regret, 1,000 samples / 2^(d/2) = 8 times more", 2.0, relative=0.05),
    "off center": Statement(
        "random search, -|a - a*|^2, 6-d, a* uniform in the box", f"{REGRET}, 1,000 samples / theory's", low=1.1
    ),
    **{f"grid {k}": exactly(GRID.format(k), REGRET, grid_regret(6, k), relative=0.05) for k in GRIDS},
    "fine grid": exactly(GRID.format(FINE_GRID), "evaluations, for a mean regret of .0200", 1_771_561),
    **{
        f"CEM {n}": exactly(CEM, SAMPLED.format(n), value, relative=tolerance)
        for n, (value, tolerance) in CEM_REGRETS.items()
    },
    "CEM median": Statement(CEM, "median regret of the best sample, 8 iterations", high=3e-4),
    "CEM floor": Statement(f"{CEM}, std at least {CEM_FLOOR}", SAMPLED.format(8), high=1e-3),
    "CEM against random": Statement(
        f"{CEM}, 8 iterations", "evaluations of a random search of this mean regret / of CEM", low=1e5
    ),
    **arm.STATEMENTS,
}


def measure(*, num_seeds: int, seed: int) -> Measuring:
    """Measure the claim: regrets on quadratics, then searches on the arm; the figure shows both.

    Args: num_seeds: of targets, optima and noise; seed: of them all.
    """
    regrets = on_quadratics(num_seeds, seed)
    six, cem = regrets["random", NUM_DIMS], regrets["cem"]
    in_all = CEM_SAMPLES * CEM_ITERATIONS[-1]
    yield "cases", {"fine grid": [grid_size(FINE_GRID)]}
    yield (
        "seeds",
        {
            "random 1000": six[:, 0],
            "random 10000": six[:, -1],
            **{f"slope {d}": slopes(d, regrets["random", d]) for d in DRAWS},
            "halving": six[:, 0] / six[:, MULTIPLES.index(8)],
            "off center": regrets["off center"][:, 0] / random_regret(NUM_DIMS, 1000),
            **{f"grid {k}": regrets["grid", k] for k in GRIDS},
            **{f"CEM {n}": cem["mean"][:, i] for i, n in enumerate(CEM_ITERATIONS)},
            "CEM median": cem["median"][:, -1],
            "CEM floor": cem["floor"][:, -1],
            "CEM against random": [random_samples(NUM_DIMS, regret) / in_all for regret in cem["mean"][:, -1]],
        },
    )
    of_arm = yield from arm.measure(num_seeds=num_seeds, seed=seed)
    return figure_data(regrets) | {"arm": of_arm}


def figure_data(regrets: dict[Any, Any]) -> dict[str, Any]:
    """Lines of regret against evaluations: random search with theory's values, the grid, CEM."""
    random = [
        line(num_samples_of(d), regrets["random", d])
        | {"num_dims": d, "expected": [random_regret(d, n) for n in num_samples_of(d)]}
        for d in DRAWS
    ]
    grids = np.stack([regrets["grid", k] for k in GRIDS], axis=1)
    return {
        "random": random,
        "off_center": line(num_samples_of(NUM_DIMS), regrets["off center"]),
        "grid": line([grid_size(k) for k in GRIDS], grids),
        "fine_grid": {"num_evaluations": grid_size(FINE_GRID), "regret": grid_regret(NUM_DIMS, FINE_GRID)},
        "cem": line([CEM_SAMPLES * n for n in CEM_ITERATIONS], regrets["cem"]["mean"]),
    }


def line(num_evaluations: list[int], regrets: np.ndarray) -> dict[str, list[Any]]:
    """Regrets `[seeds, points]` as the means of their middle halves."""
    return {"num_evaluations": num_evaluations, "regret": interquartile_mean(regrets, axis=0).tolist()}


def num_samples_of(num_dims: int) -> list[int]:
    """The numbers of samples at which a random search is looked at."""
    return [multiple * DRAWS[num_dims].num_samples for multiple in MULTIPLES]


def slopes(num_dims: int, regrets: np.ndarray) -> np.ndarray:
    """Of log regret on log N, for each seed."""
    return np.polyfit(np.log(num_samples_of(num_dims)), np.log(regrets).T, 1)[0]


def on_quadratics(num_seeds: int, seed: int) -> dict[Any, Any]:
    """Regrets of all searches of the quadratic, by name, `[num_seeds, ...]`."""
    keys = iter(jax.random.split(jax.random.key(seed), 2 + len(DRAWS) + len(GRIDS)))
    calls: dict[Any, arm.Call] = {
        ("random", d): (random_regrets, (next(keys), 0.0, num_seeds, d, draws)) for d, draws in DRAWS.items()
    }
    calls["off center"] = random_regrets, (next(keys), 1.0, num_seeds, NUM_DIMS, DRAWS[NUM_DIMS])
    for k, num_states in GRIDS.items():
        calls["grid", k] = grid_regrets, (next(keys), num_seeds, k, num_states)
    calls["cem"] = cem_regrets, (next(keys), num_seeds, CEM_STATES)
    arm.compile_side_by_side(calls.values())
    return {name: jax.tree.map(np.asarray, function(*args)) for name, (function, args) in calls.items()}


def cube(num_dims: int) -> pgjax.Box:
    """[-1, 1]^d."""
    return pgjax.Box(np.full(num_dims, -1.0), np.full(num_dims, 1.0))


def minus_squared_distance(optimum: jax.Array, action: jax.Array) -> jax.Array:
    """The objective."""
    return -jnp.sum(jnp.square(action - optimum))


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def random_regrets(key: jax.Array, spread: float, num_seeds: int, num_dims: int, draws: Draws) -> jax.Array:
    """Mean regret of samples that each state draws for itself, `[num_seeds, len(MULTIPLES)]`.

    Of our searches that is `random_search(sequence="uniform")` by `maximize` under vmap: `maximize_batch` shares
    the samples among states, and Sobol points are not independent. A longer search goes on from a shorter one.
    Optima are at the center for spread 0, uniform in the box for spread 1.
    """
    maximizer = maximizers.random_search(num_samples=draws.num_samples, sequence="uniform")

    def solve(key):
        key_optimum, key_search = jax.random.split(key)
        optimum = spread * jax.random.uniform(key_optimum, (num_dims,), minval=-1.0)
        objective = functools.partial(minus_squared_distance, optimum)
        far = jnp.where(optimum < 0, 1.0, -1.0)  # a corner: the default, the center, would be the answer
        _, trace = pgjax.maximize(
            key_search,
            objective,
            cube(num_dims),
            maximizer,
            num_steps=MULTIPLES[-1],
            initial=far,
            return_trace=True,
        )
        return -trace.value[np.asarray(MULTIPLES) - 1]

    keys = jax.random.split(key, (num_seeds, draws.num_states))
    return jax.lax.map(lambda keys: jnp.mean(jax.vmap(solve)(keys), axis=0), keys)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def grid_regrets(key: jax.Array, num_seeds: int, num_points: int, num_states: int) -> jax.Array:
    """Mean regret of a grid over optima uniform in the box, and so in its cells, `[num_seeds]`."""
    optima = jax.random.uniform(key, (num_seeds * num_states, NUM_DIMS), minval=-1.0)
    best = pgjax.maximize_batch(
        jax.random.key(0),
        minus_squared_distance,
        optima,
        cube(NUM_DIMS),
        maximizers.grid(num_points=num_points),
        num_steps=1,
    )
    return jnp.mean(-best.value.reshape(num_seeds, num_states), axis=1)


def grid_size(num_points: int) -> int:
    """Evaluations of a grid, as the library counts them."""
    return maximizers.grid(num_points=num_points, chunk_size=num_points**NUM_DIMS).num_candidates(NUM_DIMS)


@functools.partial(jax.jit, static_argnums=(1, 2))
def cem_regrets(key: jax.Array, num_seeds: int, num_states: int) -> dict[str, jax.Array]:
    """Regret of CEM's best sample: mean, median, and mean with a higher floor of the std, `[num_seeds, 3]`."""
    plain = maximizers.cross_entropy(num_samples=CEM_SAMPLES)
    floored = maximizers.cross_entropy(num_samples=CEM_SAMPLES, min_std=CEM_FLOOR)

    def of_seed(keys):
        regrets = jax.vmap(functools.partial(best_samples, plain))(keys[0])
        higher = jax.vmap(functools.partial(best_samples, floored))(keys[1])
        return {
            "mean": jnp.mean(regrets, axis=0),
            "median": jnp.median(regrets, axis=0),
            "floor": jnp.mean(higher, axis=0),
        }

    return jax.lax.map(of_seed, jax.random.split(key, (num_seeds, 2, num_states)))


def best_samples(maximizer: maximizers.Maximizer, key: jax.Array) -> jax.Array:
    """Regret of CEM's best sample so far after each of `CEM_ITERATIONS`.

    By the maximizer's own functions: the driver takes the mean of the elites too, which is better.
    """
    key_optimum, key_search = jax.random.split(key)
    optimum = jax.random.uniform(key_optimum, (NUM_DIMS,), minval=-CEM_OPTIMUM, maxval=CEM_OPTIMUM)
    objective = functools.partial(minus_squared_distance, optimum)
    center = jnp.zeros(NUM_DIMS)
    initial = maximizers.Candidates(center[None], objective(center)[None], 1, 0)
    state, _ = maximizer.init(jax.random.key(0), objective, initial)  # draws nothing

    def step(carry, key):
        state, best = carry
        state, candidates = maximizer.step(key, objective, state)
        best = jnp.maximum(best, jnp.max(candidates.values[:-1]))  # the last is the mean's
        return (state, best), best

    _, best = noise.scan_keys(step, (state, jnp.float32(-jnp.inf)), key_search, CEM_ITERATIONS[-1])
    return -best[np.asarray(CEM_ITERATIONS) - 1]
