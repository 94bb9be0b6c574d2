"""Settings of every maximizer: published and default ones, and candidates for tuning to choose from.

A budget counts forward evaluations; a call with gradient counts as three.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import optax

from pgjax import maximizers
from pgjax.maximizers import Maximizer

TUNED = Path(__file__).parents[2] / "results" / "argmax_tuning_cpu.json"
GRADIENT_COST = 3
BUDGETS = (32, 128, 512, 4096, 32_768)
NUM_CANDIDATES = 4  # settings that tuning tries for each family and budget, where it has as many
SEARCH_SHARE = 0.3  # of the budget, for the starts of local searches
CHUNK = 1024
Kind: TypeAlias = Literal["published", "default", "tuned", "by budget"]


class Setting(NamedTuple):
    """One way to run one maximizer.

    Fields: label (without the budget); family; maximizer; num_steps; num_proposals, samples of the policy that
    it starts from (0: the box's center, or the case's warm start); budget, of evaluations, that it was made for
    (None: fixed); kind: published, default (pgjax's), tuned, or by budget where that leaves no choice.
    """

    label: str
    family: str
    maximizer: Maximizer
    num_steps: int
    num_proposals: int = 0
    budget: int | None = None
    kind: Kind = "default"

    @property
    def name(self) -> str:
        """The label with the budget, one of its kind."""
        return self.label if self.budget is None else f"{self.label} @ {self.budget}"


_PUBLISHED = (  # QT-Opt, PETS and a longer run; TD-MPC2, without and with its proposals; CQN; Hansen's default
    Setting("CEM 2x64/6", "CEM", maximizers.cross_entropy(), 2),
    Setting("CEM 5x400/64", "CEM", maximizers.cross_entropy(num_samples=400, num_elites=64), 5),
    Setting("CEM 10x400/40", "CEM", maximizers.cross_entropy(num_samples=400, num_elites=40), 10),
    Setting("MPPI 6x512/64", "MPPI", maximizers.mppi(), 6),
    Setting("MPPI 6x512/64 + policy 24", "MPPI + policy", maximizers.mppi(), 6, 24),
    Setting("zoom 3x5", "coordinate zoom", maximizers.coordinate_zoom(), 3),
    Setting("CMA-ES 30 steps", "CMA-ES", maximizers.cma_es(), 30),
)
FIXED = (
    *(setting._replace(kind="published") for setting in _PUBLISHED),
    Setting("grid 3^N", "grid", maximizers.grid(num_points=3), 1),
    Setting("uniform 1024", "uniform search", maximizers.random_search(sequence="uniform"), 1),
    Setting("Sobol 1024", "Sobol search", maximizers.random_search(), 1),
    Setting("CMA-ES 32x30", "CMA-ES", maximizers.cma_es(num_samples=32), 30),
    Setting("Adam 8x30", "Adam", maximizers.gradient_ascent(), 30),
    Setting("L-BFGS 8x30", "L-BFGS", maximizers.lbfgs(), 30),
    Setting("Newton 8x10", "Newton", maximizers.newton(), 10),
    Setting(
        "CEM 2x64, L-BFGS 8x5",
        "CEM, L-BFGS",
        maximizers.lbfgs(search=maximizers.cross_entropy(num_elites=8), num_search_steps=2),
        5,
    ),
    Setting("policy, best of 4", "policy, best of N", maximizers.best_of_n(), 1, 4),
    Setting("policy, best of 16", "policy, best of N", maximizers.best_of_n(), 1, 16),
    Setting("policy, best of 64", "policy, best of N", maximizers.best_of_n(), 1, 64),
)


def candidates(family: str, budget: int, num_dims: int) -> list[Setting]:
    """At most NUM_CANDIDATES settings of a family that cost about the budget; none where it is too small."""
    found = list(FAMILIES[family](budget, num_dims))
    kind: Kind = "tuned" if len(found) > 1 else "by budget"
    return [setting._replace(family=family, budget=budget, kind=kind) for setting in found]


def _grid(budget: int, num_dims: int) -> Iterator[Setting]:
    num_points = math.floor(budget ** (1 / num_dims) + 1e-9)
    if num_points >= 2:
        maximizer = maximizers.grid(num_points=num_points)
        yield Setting("grid", "", maximizer, math.ceil(num_points**num_dims / 16_384))


def _random(sequence: str) -> Callable[[int, int], Iterator[Setting]]:
    def settings(budget: int, num_dims: int) -> Iterator[Setting]:
        del num_dims
        size = min(budget, CHUNK)
        label = {"sobol": "Sobol", "uniform": "uniform"}[sequence]
        yield Setting(label, "", maximizers.random_search(num_samples=size, sequence=sequence), budget // size)

    return settings


def _cem(budget: int, num_dims: int) -> Iterator[Setting]:
    del num_dims
    for num_steps, share in ((2, 0.1), (4, 0.1), (8, 0.05), (16, 0.1)):
        size = budget // num_steps - 1
        if size >= 3:
            elites = max(2, round(share * size))
            yield Setting(
                f"CEM {num_steps} steps, {share:.0%} elites",
                "",
                maximizers.cross_entropy(num_samples=size, num_elites=elites),
                num_steps,
            )


def _mppi(budget: int, num_dims: int) -> Iterator[Setting]:
    del num_dims
    for num_steps, temperature in ((3, 3.0), (6, 3.0), (12, 3.0), (6, 30.0)):
        size = budget // num_steps - 1
        if size >= 4:
            maximizer = maximizers.mppi(
                num_samples=size,
                num_elites=max(2, size // 8),
                initial_std=0.5,
                min_std=1e-3,
                temperature=temperature,
            )
            yield Setting(f"MPPI {num_steps} steps, temperature {temperature:g}", "", maximizer, num_steps)


def _cma(budget: int, num_dims: int) -> Iterator[Setting]:
    default = 4 + math.floor(3 * math.log(num_dims))
    for size, sigma in ((None, 0.3), (16, 0.6), (32, 0.6), (64, 0.6)):
        num_steps = budget // ((size or default) + 1)
        if num_steps >= 1:
            maximizer = maximizers.cma_es(num_samples=size, initial_sigma=sigma)
            yield Setting(f"CMA-ES {size or 'default'} samples, sigma {sigma}", "", maximizer, num_steps)


def _zoom(budget: int, num_dims: int) -> Iterator[Setting]:
    for num_levels, num_bins in ((3, 5), (5, 3), (4, 4), (2, 9)):
        num_steps = budget // (num_bins * num_dims)
        if num_steps >= 1:
            maximizer = maximizers.coordinate_zoom(num_bins=num_bins, num_levels=num_levels)
            yield Setting(f"zoom {num_levels} levels, {num_bins} bins", "", maximizer, num_steps)


def _starts(budget: int) -> dict:
    """The settings of a Sobol search for starts within its share of the budget."""
    total = max(1, math.floor(SEARCH_SHARE * budget))
    size = min(total, 64 if total <= 4096 else CHUNK)
    return {
        "search": maximizers.random_search(num_samples=size),
        "num_search_steps": total // size,
    }


def _starts_text(num_starts: int) -> str:
    return "1 start" if num_starts == 1 else f"{num_starts} starts"


def _steps_left(budget: int, num_starts: int, gradients_per_step: int = 1, share: float = SEARCH_SHARE) -> int:
    return math.floor((1 - share) * budget / (GRADIENT_COST * gradients_per_step * num_starts))


def _adam(budget: int, num_dims: int) -> Iterator[Setting]:
    del num_dims
    for num_starts, rate in ((1, 0.05), (4, 0.05), (16, 0.05), (4, 0.15)):
        num_steps = _steps_left(budget, num_starts)
        if num_steps >= 2 and SEARCH_SHARE * budget >= num_starts:
            maximizer = maximizers.gradient_ascent(
                num_starts=num_starts, optimizer=optax.adam(rate), **_starts(budget)
            )
            yield Setting(f"Adam {_starts_text(num_starts)}, rate {rate}", "", maximizer, num_steps)


def _lbfgs(budget: int, num_dims: int) -> Iterator[Setting]:
    del num_dims
    for num_starts in (1, 4, 16, 64):
        num_steps = _steps_left(budget, num_starts)
        if num_steps >= 2 and SEARCH_SHARE * budget >= num_starts:
            maximizer = maximizers.lbfgs(num_starts=num_starts, **_starts(budget))
            yield Setting(f"L-BFGS {_starts_text(num_starts)}", "", maximizer, num_steps)


def _newton(budget: int, num_dims: int) -> Iterator[Setting]:
    for num_starts in (1, 2, 4, 16):
        num_steps = _steps_left(budget, num_starts, 1 + num_dims)
        if num_steps >= 2 and SEARCH_SHARE * budget >= num_starts:
            maximizer = maximizers.newton(num_starts=num_starts, **_starts(budget))
            yield Setting(f"Newton {_starts_text(num_starts)}", "", maximizer, num_steps)


def _hybrid(budget: int, num_dims: int) -> Iterator[Setting]:
    """CEM with half of the budget, then L-BFGS from the best it found."""
    del num_dims
    for cem_steps, num_starts in ((2, 1), (2, 8), (4, 1), (4, 8)):
        size = budget // (2 * cem_steps) - 1
        num_steps = _steps_left(budget, num_starts, share=0.5)
        if size >= num_starts + 2 and num_steps >= 2:
            cem = maximizers.cross_entropy(num_samples=size, num_elites=max(num_starts, round(0.1 * size), 2))
            maximizer = maximizers.lbfgs(num_starts=num_starts, search=cem, num_search_steps=cem_steps)
            yield Setting(f"CEM {cem_steps} steps, L-BFGS {_starts_text(num_starts)}", "", maximizer, num_steps)


def _best_of_n(budget: int, num_dims: int) -> Iterator[Setting]:
    del num_dims
    yield Setting("policy, best of N", "", maximizers.best_of_n(), 1, budget)


def _policy_lbfgs(budget: int, num_dims: int) -> Iterator[Setting]:
    """L-BFGS from the best of the policy's samples."""
    del num_dims
    for num_starts in (1, 4, 16, 64):
        num_proposals = max(num_starts, math.floor(SEARCH_SHARE * budget))
        num_steps = (budget - num_proposals) // (GRADIENT_COST * num_starts)
        if num_steps >= 2:
            maximizer = maximizers.lbfgs(num_starts=num_starts, search=None)
            yield Setting(f"policy, L-BFGS {_starts_text(num_starts)}", "", maximizer, num_steps, num_proposals)


FAMILIES: dict[str, Callable[[int, int], Iterator[Setting]]] = {
    "grid": _grid,
    "uniform search": _random("uniform"),
    "Sobol search": _random("sobol"),
    "CEM": _cem,
    "MPPI": _mppi,
    "CMA-ES": _cma,
    "coordinate zoom": _zoom,
    "Adam": _adam,
    "L-BFGS": _lbfgs,
    "Newton": _newton,
    "CEM, L-BFGS": _hybrid,
    "policy, best of N": _best_of_n,
    "policy, L-BFGS": _policy_lbfgs,
}
