"""Everything that is made from results: figures, the documentation's tables, the README's.

The only module that knows all studies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from studies.argmax import report as argmax_report
from studies.argmax import tuning
from studies.argmax.study import STUDY as ARGMAX
from studies.built_in.study import STUDY as BUILT_IN
from studies.certified import study as certified
from studies.claims.study import STUDY as CLAIMS
from studies.common.command_line import CONSOLE, write_figures
from studies.common.provenance import BENCHMARKS, ROOT, changes_since, code_of, commits_of, has_history
from studies.common.results import read_json
from studies.common.study import Study
from studies.common.tables import markdown_table
from studies.sampling_vs_argmax.report import short_markdown
from studies.sampling_vs_argmax.study import STUDY as SAMPLING_VS_ARGMAX

STUDIES = {s.name: s for s in (SAMPLING_VS_ARGMAX, ARGMAX, tuning.STUDY, certified.STUDY, BUILT_IN, CLAIMS)}
RESULTS = BENCHMARKS / "results"
README = ROOT / "README.md"


def study_of(result: Mapping[str, Any]) -> Study:
    """The study that a result is of.

    Raises: ValueError: it names none.
    """
    name = result.get("study") if isinstance(result, Mapping) else None
    if name not in STUDIES:
        raise ValueError(f"expected the result of a study, of {', '.join(STUDIES)}; got one of {name!r}")
    return STUDIES[name]


def committed(results: Path = RESULTS) -> dict[str, Path]:
    """Study -> its committed result, measured on a CPU."""
    return {name: path for name in STUDIES if (path := results / f"{name}_cpu.json").exists()}


def pages(results: Path = RESULTS) -> dict[Path, dict[str, str]]:
    """File -> marker -> what stands between the markers: a page a study, and the README's two tables."""
    read = {name: read_json(path) for name, path in committed(results).items()}
    found = {
        ROOT / "docs" / "results" / f"{name}.md": {name: STUDIES[name].markdown(result)}
        for name, result in read.items()
        if name != tuning.STUDY.name
    }
    of_argmax = found[ROOT / "docs" / "results" / "argmax.md"]
    of_argmax[tuning.STUDY.name] = tuning.STUDY.markdown(read[tuning.STUDY.name])
    found[README] = {
        "results": short_markdown(read["sampling_vs_argmax"]),
        "maximizers": maximizers_markdown(read["argmax"], read["certified"]),
    }
    return found


def maximizers_markdown(argmax: Mapping[str, Any], proofs: Mapping[str, Any]) -> str:
    """For the README: which maximizer when."""
    rows = [*argmax_report.advice_rows(argmax), *certified.advice_rows(proofs)]
    return markdown_table(("when", "search: median regret on the arm / on the worst problem"), rows)


def updated(text: str, sections: Mapping[str, str]) -> str:
    """The text with every section between its own markers.

    Raises: ValueError: a marker is missing, or an end stands before its beginning.
    """
    for name, section in sections.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        head, found_begin, rest = text.partition(begin)
        _, found_end, tail = rest.partition(end)
        if not (found_begin and found_end):
            raise ValueError(f"expected the markers {begin} and {end}")
        text = f"{head}{begin}\n{section}\n{end}{tail}"
    return text


def remake() -> None:
    """All figures, pages and README tables from the committed results; says which results are of older code."""
    for name, path in committed().items():
        result = read_json(path)
        written = write_figures(STUDIES[name], result, path)
        history = history_of(name, result, max_changes=3) if has_history() else "no git history to compare with"
        CONSOLE.print(f"{path.name}: {len(written)} figures; {history or 'of the code as it is'}")
    for page, sections in pages().items():
        text = updated(page.read_text(encoding="utf-8"), sections)
        temporary = page.with_name(f".{page.name}.tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(page)


def history_of(name: str, result: Mapping[str, Any], max_changes: int | None = None) -> str:
    """For each commit that made rows of a result, the later ones that changed the code behind them, newest first.

    Empty where there are none. Names at most max_changes of them; all by default.
    """
    texts = []
    for commit, count in commits_of(result).items():
        changes = changes_since(commit, code_of(name))
        if changes:
            named = "; ".join(f"{change.commit} {change.subject}" for change in changes[:max_changes])
            texts.append(
                f"{count} rows are of {commit[:7]}, {len(changes)} commits changed its code since: {named}"
            )
    return "; ".join(texts)


def show(paths: Iterable[Path]) -> None:
    """Print the tables of results and write the figures beside them."""
    for path in paths:
        result = read_json(path)
        study = study_of(result)
        study.show(CONSOLE, result)
        CONSOLE.print(f"wrote {', '.join(map(str, write_figures(study, result, path)))}")
