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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import argmax_cases
import argmax_settings
import command_line
import harness
import jax
import measure
import numpy as np
import report
import tyro
from rich.console import Console
from rich.progress import Progress

CONSOLE = Console(width=118)
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

    def check(self) -> None:
        """Raise ValueError, naming the option, for what cannot be run."""
        for name, given, known in (
            ("--families", self.families, argmax_settings.FAMILIES),
            ("--budgets", self.budgets, argmax_settings.BUDGETS),
            ("--problems", self.problems, argmax_cases.NAMES),
        ):
            if not given or set(given) - set(known):
                raise ValueError(f"{name}: expected some of {', '.join(map(str, known))}; got {given}")
        if self.training_steps < 1:
            raise ValueError(f"--training-steps: expected a positive number; got {self.training_steps}")
        command_line.check_output(self.output)
        if self.output.exists():
            try:
                rows = harness.read_json(self.output)["rows"]
                _ = [(row["family"], row["budget"], row["problem"]) for row in rows]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"--output: {self.output} holds something else ({error!r})") from error


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
        lost = measure.regret(case.task, best.action[None], scale)["normalized_regret"]["median"]
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


def run(options: Options) -> dict[str, Any]:
    """Try everything that the options ask for; the tries of before on the rest stay."""
    start = time.perf_counter()
    earlier = harness.read_json(options.output)["rows"] if options.output.exists() else []
    anew = (options.families, options.budgets, options.problems)
    fields = ("family", "budget", "problem")
    tries = [row for row in earlier if any(row[f] not in some for f, some in zip(fields, anew, strict=True))]
    with Progress(console=CONSOLE) as progress:
        for name in options.problems:
            tries += tries_on(name, options, progress)
    return {
        "machine": harness.machine_record(),
        "problems": sorted({row["problem"] for row in tries}),
        "num_states": NUM_STATES,
        "wall_time_s": time.perf_counter() - start,
        "choices": choose(tries),
        "rows": tries,
    }


def show(console: Console, result: Mapping[str, Any]) -> None:
    """Print the choice of each family at each budget."""
    table = report.new_table("chosen settings", ("family", "budget", "setting"))
    for family, choices in result["choices"].items():
        for budget, label in choices.items():
            table.add_row(family, f"{int(budget):,}", label)
    console.print(table)


def main() -> int:
    """Run from the command line."""
    return command_line.run_and_write(tyro.cli(Options), run, show, CONSOLE)


if __name__ == "__main__":
    sys.exit(main())
