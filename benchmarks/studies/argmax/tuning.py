"""Choose each maximizer's settings for each budget.

Every family gets the same number of tries at each budget, on problems and states of their own split. The choice
has the lowest mean, over the problems, of the logarithm of the median normalized regret.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from studies.argmax.settings import BUDGETS, FAMILIES, TUNED, Setting, candidates
from studies.argmax.ways import way_of
from studies.common.acting.cases import NAMES, TUNED_ON, make_case
from studies.common.acting.regret import regret, regret_scale
from studies.common.command_line import check_output
from studies.common.figures import REGRET_FLOOR
from studies.common.results import Results, read_json
from studies.common.study import Study
from studies.common.tables import as_markdown, new_table

NUM_STATES = 64
SEED = 30  # of the searches' noise


@dataclasses.dataclass(frozen=True)
class Options:
    """Tune every maximizer at every budget."""

    families: tuple[str, ...] = tuple(FAMILIES)
    """Families to tune; the others keep what the output has."""
    budgets: tuple[int, ...] = BUDGETS
    """Evaluations a decision, a gradient counting three."""
    problems: tuple[str, ...] = TUNED_ON
    """Problems to tune on; the tries on others stay as they are."""
    training_steps: int = 2000
    """Of the policy from which some methods start."""
    output: Path = TUNED
    """The JSON to write, or to bring up to date."""
    update: bool = True
    """Keep the tries in the output on other families, budgets and problems."""

    def check(self) -> None:
        """Raise ValueError, naming the option, for what cannot be run."""
        for name, given, known in (
            ("--families", self.families, FAMILIES),
            ("--budgets", self.budgets, BUDGETS),
            ("--problems", self.problems, NAMES),
        ):
            if not given or set(given) - set(known):
                raise ValueError(f"{name}: expected some of {', '.join(map(str, known))}; got {given}")
        if self.training_steps < 1:
            raise ValueError(f"--training-steps: expected a positive number; got {self.training_steps}")
        check_output(self.output)
        if self.update and (earlier := Results.earlier(self.output)):
            try:
                rows = read_json(earlier)["rows"]
                _ = [(row["family"], row["budget"], row["problem"]) for row in rows]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"--output: {earlier} holds something else ({error!r})") from error


def tries_on(name: str, options: Options, progress: Progress) -> Iterator[dict[str, Any]]:
    """The median normalized regret of every candidate on one problem."""
    case = make_case(name, "tune", NUM_STATES, options.training_steps)
    scale = regret_scale(case.task)
    found = [
        setting
        for family in options.families
        for budget in options.budgets
        for setting in candidates(family, budget, case.task.box.num_dims)
        if len(candidates(family, budget, case.task.box.num_dims)) > 1
        if not setting.num_proposals or case.policy is not None
    ]
    bar = progress.add_task(name, total=len(found))

    def one_try(setting: Setting) -> dict[str, Any]:
        way = way_of(case, setting)
        best = jax.jit(way.act)(way.params, jax.random.key(SEED), case.task.states)
        lost = regret(case.task, best.action[None], scale)["normalized_regret"]["median"]
        progress.advance(bar)
        about = {"problem": name, "family": setting.family, "budget": setting.budget, "label": setting.label}
        return about | {"seed": SEED, "median_normalized_regret": lost}

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:  # nothing is timed
        yield from threads.map(one_try, found)
    jax.clear_caches()


def choose(tries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
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


def run(options: Options, results: Results, console: Console) -> None:
    """Try everything that the options ask for; the tries of before on the rest stay."""

    def is_anew(row: Mapping[str, Any]) -> bool:
        asked = ((row["family"], options.families), (row["budget"], options.budgets))
        return row["problem"] == name and all(value in values for value, values in asked)

    with Progress(console=console) as progress:
        for name in options.problems:
            results.replace(is_anew, ())
            for row in tries_on(name, options, progress):
                results.add(row)
            results.put("choices", choose(results.table()))
    results.put("num_states", NUM_STATES)


def table(result: Mapping[str, Any]) -> Table:
    """The choice of each family at each budget."""
    shown = new_table("chosen settings", ("family", "budget", "setting"))
    for family, choices in result["choices"].items():
        for budget, label in choices.items():
            shown.add_row(family, f"{int(budget):,}", label)
    return shown


def show(console: Console, result: Mapping[str, Any]) -> None:
    """Print the table."""
    console.print(table(result))


def markdown(result: Mapping[str, Any]) -> str:
    """The table for the documentation."""
    return as_markdown(table(result))


STUDY = Study("argmax_tuning", Options, run, show, markdown)
