"""Which code made a result: files found by their imports, commits since, and the committed results."""

import subprocess

import pytest

from studies import reports
from studies.common import provenance, results


def test_the_code_of_a_script_is_its_study_what_it_imports_and_the_library():
    code = provenance.code_of("certified")
    assert code[-1] == "pgjax"
    assert {"benchmarks/certified.py", "benchmarks/studies/certified/search.py"} <= set(code)
    assert "benchmarks/studies/common/results.py" in code
    assert not any("claims" in path or "argmax" in path for path in code)
    assert "benchmarks/studies/common/acting/regret.py" in provenance.code_of("built_in")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with three commits: the code, the code changed, something else; returns their hashes."""
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run((*git, "init", "--quiet"), cwd=tmp_path, check=True)
    commits = []
    for file, text in (("code.py", "1"), ("code.py", "2"), ("other.py", "3")):
        (tmp_path / file).write_text(text)
        subprocess.run((*git, "add", "."), cwd=tmp_path, check=True)
        subprocess.run((*git, "commit", "--quiet", "-m", f"{file} is {text}"), cwd=tmp_path, check=True)
        commits.append(provenance.git("rev-parse", "HEAD"))
    return commits


def test_commits_after_a_result_that_changed_its_files_are_listed(repository):
    first, second, third = repository
    (change,) = provenance.changes_since(first, ["code.py"])
    assert (change.subject, change.files) == ("code.py is 2", ("code.py",))
    assert second.startswith(change.commit)
    assert provenance.changes_since(second, ["code.py"]) == []
    assert len(provenance.changes_since(first, ["code.py", "other.py"])) == 2
    assert provenance.changes_since(third, ["code.py", "other.py"]) == []


def test_a_commit_that_is_not_in_the_history_is_refused(repository):
    with pytest.raises(ValueError, match="history of HEAD"):
        provenance.changes_since("0" * 40, ["code.py"])


def test_rows_are_counted_by_the_commit_that_made_them():
    runs = [{"git_commit": "a"}, {"git_commit": "b"}]
    tables = {"rows": [{"run": 0}, {"run": 1}, {"run": 1}], "peers": [{"run": 0}], "list": [1.0]}
    assert provenance.commits_of({"runs": runs} | tables) == {"a": 2, "b": 2}


@pytest.mark.parametrize("name", reports.STUDIES)
def test_committed_results_are_of_the_code_as_it_is(name):
    """Expected to fail where a result is older than its code, and to list the commits since."""
    if not provenance.has_history():
        pytest.skip("no git history")
    path = reports.committed()[name]
    if history := reports.history_of(name, results.read_json(path)):
        pytest.xfail(f"{path.name}: {history}")


@pytest.mark.parametrize("name", reports.STUDIES)
def test_every_row_of_a_committed_result_says_its_run_and_is_made_of_numbers(name):
    result = results.read_json(reports.committed()[name])
    assert result["study"] == name
    assert "refused" not in result
    assert list(results.nan_places(result)) == []
    tables = [part for key, part in result.items() if key not in ("runs", "refused") and results.is_table(part)]
    assert sum(map(len, tables)) == sum(provenance.commits_of(result).values()) > 0
    for run in result["runs"]:
        assert {"git_commit", "git_dirty", "versions", "device_kind", "settings", "seed"} <= set(run)
    for row in (row for table in tables for row in table):
        assert isinstance(row["seed"], int)
