"""Choose each maximizer's settings for each budget: `python benchmarks/argmax_tuning.py`.

Every family gets the same number of tries at each budget, on problems and states of their own split. The choice
has the lowest mean, over the problems, of the logarithm of the median normalized regret. Writes a JSON with every
try; `argmax.py` reads the choices from it.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import sys
import time
from pathlib import Path
from typing import Any

import argmax_cases
import argmax_settings
import harness
import jax
import measure
import numpy as np
import tyro
from rich.progress import Progress

NUM_STATES = 64
REGRET_FLOOR = 1e-6  # below, differences are rounding


@dataclasses.dataclass(frozen=True)
class Options:
    """Tune every maximizer at every budget."""

    families: tuple[str, ...] = tuple(argmax_settings.FAMILIES)
    """Families to tune; the others keep what the output has."""
    budgets: tuple[int, ...] = argmax_settings.BUDGETS
    """Evaluations a decision, a gradient counting three."""
    problems: tuple[str, ...] = argmax_cases.TUNED_ON
    """Problems to tune on; the tries on others stay as they are."""
    training_steps: int = 2000
    """Of the policy from which some methods start."""
    output: Path = argmax_settings.TUNED
    """The JSON to write, or to bring up to date."""


def tries_on(name: str, options: Options, progress: Progress) -> list[dict[str, Any]]:
    """The median normalized regret of every candidate on one problem."""
    case = argmax_cases.make_case(name, "tune", NUM_STATES, options.training_steps)
    scale = measure.regret_scale(case.task)
    found = [
        setting
        for family in options.families
        for budget in options.budgets
        for setting in argmax_settings.candidates(family, budget, case.task.box.num_dims)
        if len(argmax_settings.candidates(family, budget, case.task.box.num_dims)) > 1
        if not setting.num_proposals or case.policy is not None
    ]
    bar = progress.add_task(name, total=len(found))

    def one_try(setting: argmax_settings.Setting) -> dict[str, Any]:
        way = argmax_cases.way_of(case, setting)
        best = jax.jit(way.act)(way.params, jax.random.key(30), case.task.states)
        lost = measure.regret(case.task, best.action, scale)["normalized_regret"]["median"]
        progress.advance(bar)
        about = {"problem": name, "family": setting.family, "budget": setting.budget, "label": setting.label}
        return about | {"median_normalized_regret": lost}

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:  # nothing is timed
        tries = list(threads.map(one_try, found))
    jax.clear_caches()
    return tries


def choose(tries: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Family -> budget -> the label of the best setting."""
    scores: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in tries:
        of_label = scores.setdefault((row["family"], row["budget"]), {}).setdefault(row["label"], [])
        of_label.append(float(np.log(max(row["median_normalized_regret"], REGRET_FLOOR))))
    choices: dict[str, dict[str, str]] = {}
    for (family, budget), of_labels in scores.items():
        best = min(of_labels, key=lambda label: float(np.mean(of_labels[label])))
        choices.setdefault(family, {})[str(budget)] = best
    return choices


def main() -> int:
    """Run from the command line."""
    options = tyro.cli(Options)
    start = time.perf_counter()
    earlier = harness.read_json(options.output)["tries"] if options.output.exists() else []
    anew = (options.families, options.budgets, options.problems)
    fields = ("family", "budget", "problem")
    tries = [row for row in earlier if any(row[f] not in some for f, some in zip(fields, anew, strict=True))]
    with Progress() as progress:
        for name in options.problems:
            tries += tries_on(name, options, progress)
    harness.write_json(
        options.output,
        {
            "machine": harness.machine_record(),
            "problems": argmax_cases.TUNED_ON,
            "num_states": NUM_STATES,
            "wall_time_s": time.perf_counter() - start,
            "choices": choose(tries),
            "tries": tries,
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
