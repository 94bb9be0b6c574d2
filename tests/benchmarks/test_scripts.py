"""Every script as a user starts it: options refused by name, Ctrl-C, kill -9, NaN; few lines; imports in order."""

import ast
import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from studies import reports
from studies.common import results
from studies.common.provenance import BENCHMARKS
from studies.common.study import Study
from tests.benchmarks.runs import run_study

STUDIES = reports.STUDIES
BAD = {
    "sampling_vs_argmax": {
        "--problem": ["seven_joint_arm"],
        "--batch-sizes": ["0"],
        "--methods": ["CEM"],
        "--seed": ["-1"],
    },
    "argmax": {
        "--problem": ["seven_joint_arm"],
        "--batch-sizes": ["0"],
        "--budgets": ["33"],
        "--methods": ["annealing"],
    },
    "argmax_tuning": {
        "--families": ["annealing"],
        "--budgets": ["33"],
        "--problems": ["seven_joint_arm"],
        "--training-steps": ["0"],
    },
    "certified": {
        "--critics": ["relu_2x33_late"],
        "--critics ": [],
        "--half-widths": ["1.5"],
        "--half-widths ": [],
        "--num-random": ["-1"],
        "--state": ["64"],
        "--time-limit-s": ["0"],
        "--gap": ["-1"],
        "--boxes-per-step": ["1"],
    },
    "built_in": {
        "--steps": ["0"],
        "--hidden-sizes": ["0"],
        "--hidden-sizes ": [],
        "--batch-sizes": ["8", "0"],
        "--seed": ["-1"],
    },
    "claims": {"--claim": ["z"], "--num-seeds": ["1"], "--seed": ["-1"]},
}
CASES = [(name, option.strip(), values) for name, options in BAD.items() for option, values in options.items()]


@pytest.mark.parametrize(("name", "option", "values"), CASES)
def test_bad_options_are_refused_by_name_before_anything_runs(name, option, values, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run_study(that_must_not_run(STUDIES[name]), option, *values) == 2
    assert option in capsys.readouterr().err
    assert set(tmp_path.rglob("*")) <= {tmp_path / "results"}


@pytest.mark.parametrize("name", STUDIES)
def test_an_output_that_cannot_be_written_is_refused(name, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    for output in ("result.txt", tmp_path / "file" / "result.json", tmp_path):
        assert run_study(that_must_not_run(STUDIES[name]), "--output", output) == 2
        assert "--output" in capsys.readouterr().err


def that_must_not_run(study):
    """The study, failing the test when it starts to measure."""
    return study._replace(run=lambda *_: pytest.fail("it ran"))


@dataclasses.dataclass(frozen=True)
class Options:
    """Of a study of four rows."""

    output: Path = Path("results/small.json")
    """The JSON to write."""
    seed: int = 3
    """Of the rows."""

    def check(self):
        """Nothing can be wrong."""


def study_of(rows, end=None):
    """A study that measures these rows, and then ends with an exception."""

    def run(options, results, console):
        for row in rows:
            results.add(row)
        if end is not None:
            raise end

    return Study("small", Options, run, lambda console, result: console.print(Table()), lambda result: "")


def test_ctrl_c_keeps_what_was_measured_and_leaves_earlier_results_whole(tmp_path, capsys):
    output = tmp_path / "result.json"
    output.write_text("earlier")
    assert run_study(study_of([], KeyboardInterrupt()), "--output", output) == 130
    assert list(tmp_path.iterdir()) == [output]
    assert run_study(study_of([{"x": 1.0}, {"x": 2.0}], KeyboardInterrupt()), "--output", output) == 130
    assert output.read_text() == "earlier"
    partial = tmp_path / "result.partial.json"
    assert [(row["x"], row["seed"]) for row in results.read_json(partial)["rows"]] == [(1.0, 3), (2.0, 3)]
    assert "2 rows are in" in capsys.readouterr().out


def test_what_a_killed_run_left_is_not_written_over(tmp_path):
    output = tmp_path / "result.json"
    run_study(study_of([{"x": 1.0}], KeyboardInterrupt()), "--output", output)
    assert run_study(study_of([{"x": 2.0}]), "--output", output) == 0
    assert [row["x"] for row in results.read_json(output)["rows"]] == [2.0]
    (kept,) = (path for path in tmp_path.iterdir() if path != output)
    assert kept.name.endswith(".partial.json")
    assert [row["x"] for row in results.read_json(kept)["rows"]] == [1.0]


def test_a_row_with_a_nan_is_refused_and_the_run_ends_with_status_1(tmp_path, capsys):
    output = tmp_path / "result.json"
    rows = [{"x": 1.0}, {"x": {"y": [0.0, float("nan")]}}, {"x": float("inf")}]
    assert run_study(study_of(rows), "--output", output) == 1
    result = results.read_json(output)
    assert [row["x"] for row in result["rows"]] == [1.0, float("inf")]
    assert result["refused"][0]["nan_at"] == ["rows['x']['y'][1]"]
    assert "rows['x']['y'][1]" in capsys.readouterr().out


def test_a_run_without_rows_ends_with_status_1(tmp_path):
    assert run_study(study_of([]), "--output", tmp_path / "result.json") == 1
    assert list(tmp_path.iterdir()) == []


def test_kill_9_loses_the_row_that_was_being_measured_alone(tmp_path):
    """A process of its own that adds a row whenever the file has the one before."""
    output = tmp_path / "result.json"
    program = f"""
import sys, time
sys.path[:0] = [{str(BENCHMARKS)!r}, {str(BENCHMARKS.parent)!r}]
from pathlib import Path
from tests.benchmarks.test_scripts import Options
from studies.common.results import Results
results = Results(Path({str(output)!r}), "small", Options())
for number in range(5):
    results.add({{"x": number}})
print("ready", flush=True)
time.sleep(600)
"""
    with subprocess.Popen((sys.executable, "-c", program), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    rows = results.read_json(results.partial_of(output))["rows"]
    assert [row["x"] for row in rows] == [0, 1, 2, 3, 4]
    assert not output.exists()


def test_scripts_are_few_and_short():
    """What a person runs: options, run, show. New studies add one script each."""
    entries = [path for path in BENCHMARKS.iterdir() if not path.name.startswith(("__pycache__", "."))]
    assert len(entries) <= 14
    scripts = {path.stem for path in entries if path.suffix == ".py"}
    assert {path.name for path in entries} == {f"{name}.py" for name in scripts} | {"studies", "results"}
    assert scripts == {*STUDIES, "fit_critics", "reports"}
    for path in entries:
        if path.suffix == ".py":
            assert path.read_text().count("\n") < 60, path.name


def module_of(path):
    return ".".join(path.relative_to(BENCHMARKS).with_suffix("").parts).removesuffix(".__init__")


def layer_of(module):
    """Common knows nothing of policies, acting does; a study uses both, the reports all studies."""
    parts = module.split(".")
    if parts[0] != "studies" or parts == ["studies"]:
        return "script"
    if parts[1:2] == ["common"]:
        return "acting" if parts[2:3] == ["acting"] else "common"
    return "reports" if parts[1] == "reports" else parts[1]


def imports_of(path):
    """Modules that a file imports, by their whole names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sorted(BENCHMARKS.rglob("*.py")), ids=module_of)
def test_imports_go_one_way_and_none_finds_another_by_a_bare_name(path):
    own = layer_of(module_of(path))
    siblings = {file.stem for file in BENCHMARKS.rglob("*.py")} - {"pgjax"}
    for name in imports_of(path):
        first = name.split(".")[0]
        if first == "studies":
            other = layer_of(name)
            allowed = {
                "common": {"common"},
                "acting": {"common", "acting"},
                "script": {"script", "common", "acting", "reports", other},
                "reports": {"common", "acting", other},
            }.get(own, {"common", "acting", own})
            assert other in allowed, f"{path.name} imports {name}"
        else:
            assert first not in siblings or first in sys.stdlib_module_names, f"{path.name} imports {name}"
            assert own != "common" or first != "pgjax", f"{path.name} is of common and imports {name}"
