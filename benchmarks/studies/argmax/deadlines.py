"""Which maximizer to use within a deadline: the choice, and a sentence that says it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from studies.common.acting.tasks import ARM
from studies.common.figures import REGRET_FLOOR, median_regret, title_of, unique
from studies.common.tables import time_text

Row = Mapping[str, Any]

DEADLINES_S = (1e-4, 1e-3, 5e-3, 20e-3)
NUM_DIMS = 6
REQUIRED = ("problem", "num_dims", "method", "family", "setting", "batch_size")
REQUIRED_IF_MEASURED = ("cost", "time_per_call_s", "time_per_decision_s", "time_per_decision_p99_s")


class Choice(NamedTuple):
    """A method with its setting: the times of its slowest problem, and median regrets where it was judged."""

    method: str
    setting: str
    budget: int | None
    time_per_call_s: float
    time_per_call_p99_s: float
    regret_by_problem: dict[str, float]


def deadlines(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Recommend a maximizer for each batch size and deadline, over the problems in six dimensions.

    A row fits a deadline if its whole call, for all states of the batch, takes no longer (the median; the
    99th percentile is noted) and its actions lie in the box. A method, with its setting and budget, can be
    recommended if it fits on every problem where it has a row of this batch size; a skipped row does not fit.
    Where others were judged on a problem and it was not, its regret there counts as 1, a uniform action's:
    leaving out hard problems does not help. Of these methods, the one with the lowest mean over problems of
    log10(max(median regret, 1e-6)) is chosen, and the faster of equals; the regret to choose by is
    `choice_regret`, under keys that are not reported. Trained policies exist on some problems only, so they, and
    searches that start from them, are chosen apart, over those problems.

    Returns: one entry for each batch size and deadline, with the fields of `Choice` (None if nothing fits),
        `deadline_s`, `batch_size`, `policy` (a `Choice` as a dict, or None), `best_by_problem` (likewise, for
        each problem by itself, without policies) and `sentence`.
    Raises: ValueError: a row lacks a field.
    """
    rows = [row for row in checked_rows(result) if row["num_dims"] == NUM_DIMS]
    batch_sizes = sorted({row["batch_size"] for row in rows if is_judged(row)})
    return [
        _entry([row for row in rows if row["batch_size"] == batch_size], deadline_s, result)
        for batch_size in batch_sizes
        for deadline_s in DEADLINES_S
    ]


def checked_rows(result: Mapping[str, Any]) -> Sequence[Row]:
    """The result's rows, each known to have the fields that everything here relies on."""
    if not isinstance(result, Mapping) or not isinstance(result.get("rows"), list):
        raise ValueError("result: expected a mapping with a list of rows")
    for number, row in enumerate(result["rows"]):
        fields = REQUIRED if row.get("skipped") else REQUIRED + REQUIRED_IF_MEASURED
        if missing := [name for name in fields if row.get(name) is None]:
            raise ValueError(f"rows[{number}] ({row.get('method')}): expected {', '.join(missing)}, got none")
    return result["rows"]


def is_judged(row: Row) -> bool:
    """Whether a row was run and its regret is known."""
    return not row.get("skipped") and math.isfinite(median_regret(row))


def uses_policy(row: Row) -> bool:
    """Whether a row acts by a trained policy, or searches from its proposals."""
    return "policy" in row["family"]


def fits(row: Row, deadline_s: float) -> bool:
    """Whether a row was measured, within the deadline, with every action in the box."""
    return not row.get("skipped") and row["time_per_call_s"] <= deadline_s and not row.get("bound_violations")


def choose(rows: Sequence[Row], deadline_s: float) -> Choice | None:
    """The best method over the problems of these rows, which are all of one batch size."""
    problems = unique(row["problem"] for row in rows if is_judged(row))
    methods: dict[tuple[str, str, int | None], list[Row]] = {}
    for row in rows:
        methods.setdefault((row["method"], row["setting"], row.get("budget")), []).append(row)
    best: tuple[float, float] = (math.inf, math.inf)
    choice = None
    for key, own in methods.items():
        judged = {row["problem"]: row for row in own if is_judged(row)}
        if not judged or not all(fits(row, deadline_s) for row in own):
            continue
        time_s = max(row["time_per_call_s"] for row in own)
        for_choice = [judged[name]["choice_regret"] if name in judged else 1.0 for name in problems]
        score = sum(math.log10(max(regret, REGRET_FLOOR)) for regret in for_choice), time_s
        if score < best:
            p99_s = max(row["time_per_decision_p99_s"] * row["batch_size"] for row in own)
            regrets = {name: median_regret(row) for name, row in judged.items()}
            best, choice = score, Choice(*key, time_s, p99_s, regrets)
    return choice


def best_by_problem(rows: Sequence[Row], deadline_s: float) -> dict[str, Choice]:
    """The best of the rows within the deadline, on each problem by itself."""
    best: dict[str, Choice] = {}
    for problem in unique(row["problem"] for row in rows):
        choice = choose([row for row in rows if row["problem"] == problem], deadline_s)
        if choice is not None:
            best[problem] = choice
    return best


def _entry(rows: Sequence[Row], deadline_s: float, result: Mapping[str, Any]) -> dict[str, Any]:
    """Everything about one deadline, from the rows of one batch size."""
    searches = [row for row in rows if not uses_policy(row)]
    policies = [row for row in rows if uses_policy(row)]
    choice, policy = choose(searches, deadline_s), choose(policies, deadline_s)
    best = best_by_problem(searches, deadline_s)
    batch_size = rows[0]["batch_size"]
    sentence = (
        f"Within {time_text(deadline_s)} at batch {batch_size:,}: {_advice(choice, searches, best, result)}."
    )
    if policy is not None:
        time = time_text(policy.time_per_call_s)
        sentence += f" With a trained policy: {policy.method}, {_loss(policy, policies, result)} in {time}."
    elif policies:
        sentence += " With a trained policy: nothing fits."
    fields = dict.fromkeys(Choice._fields) if choice is None else choice._asdict()
    return fields | {
        "deadline_s": deadline_s,
        "batch_size": batch_size,
        "policy": None if policy is None else policy._asdict(),
        "best_by_problem": {problem: one._asdict() for problem, one in best.items()},
        "sentence": sentence,
    }


def _advice(choice: Choice | None, rows: Sequence[Row], best: Mapping[str, Choice], result: Row) -> str:
    """What to use, and what it loses; where nothing fits everywhere, what to use on the arm."""
    if choice is not None:
        median, p99 = time_text(choice.time_per_call_s), time_text(choice.time_per_call_p99_s)
        lost = _loss(choice, rows, result)
        time = f"{median} (99th percentile of at most 50: {p99})"
        return f"use {label(choice._asdict())}: {lost}; a call takes {time}"
    if ARM not in best:
        return "no search fits on every problem" if best else "no search fits"
    lost = regret_text(best[ARM].regret_by_problem[ARM])
    return (
        f"no search fits on every problem; on the arm alone use {label(best[ARM]._asdict())}: median regret {lost}"
    )


def _loss(choice: Choice, rows: Sequence[Row], result: Mapping[str, Any]) -> str:
    """Median regret on the arm, on the worst problem, and where it is not known."""
    regrets = choice.regret_by_problem
    worst = max(regrets, key=lambda problem: regrets[problem])
    parts = [f"{regret_text(regrets[ARM])} on the arm"] if ARM in regrets else []
    if worst != ARM:
        where = f"{title_of(worst, result)}, of {len(regrets)} problems"
        parts.append(f"at worst {regret_text(regrets[worst])} ({_by_key(choice, worst, rows)}{where})")
    elif len(regrets) > 1:
        parts.append(f"the worst of {len(regrets)} problems")
    missing = unique(row["problem"] for row in rows if is_judged(row) and row["problem"] not in regrets)
    if missing:
        parts.append(f"not known on {', '.join(title_of(problem, result) for problem in missing)}")
    return f"median regret {', '.join(parts)}"


def _by_key(choice: Choice, problem: str, rows: Sequence[Row]) -> str:
    """The range of the medians of single keys, where they differ."""
    row = next(row for row in rows if (row["method"], row["problem"]) == (choice.method, problem))
    low, high = (regret_text(extreme(row["normalized_regret_by_key"])) for extreme in (min, max))
    return "" if low == high else f"{low} to {high} by key; "


def label(choice: Row) -> str:
    """A method with its setting, as sentences and tables name it."""
    return f"{choice['method']} ({choice['setting']})"


def regret_text(regret: float) -> str:
    """A regret in two digits."""
    if regret < REGRET_FLOOR:
        return "below 1e-6"
    return f"{regret:.2g}" if regret >= 0.01 else f"{regret:.1e}".replace("e-0", "e-")
