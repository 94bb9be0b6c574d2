"""Pages, README tables and figures are made from the committed results, each between its own markers."""

import shutil
import subprocess
import sys

import pytest

from studies import reports
from studies.common.command_line import CONSOLE
from studies.common.provenance import BENCHMARKS


@pytest.mark.parametrize("page", reports.pages(), ids=lambda page: page.name)
def test_every_table_is_made_from_the_committed_results(page):
    text = page.read_text(encoding="utf-8")
    assert reports.updated(text, reports.pages()[page]) == text


def test_a_section_fills_its_own_markers_only():
    other = "<!-- results: begin -->\nkept\n<!-- results: end -->"
    text = f"a\n{other}\n<!-- argmax: begin -->\nold\n<!-- argmax: end -->\nz\n"
    assert reports.updated(text, {"argmax": "new"}) == text.replace("old", "new")


@pytest.mark.parametrize("text", ["no markers", "<!-- argmax: end --> before <!-- argmax: begin -->"])
def test_a_page_without_markers_is_refused(text):
    with pytest.raises(ValueError, match="argmax: begin"):
        reports.updated(text, {"argmax": "new"})


@pytest.mark.parametrize("name", ["certified", "built_in"])
def test_the_tables_and_figures_of_any_result(name, tmp_path):
    """As `python benchmarks/reports.py RESULT.json` shows them."""
    result = tmp_path / "mine.json"
    shutil.copy(reports.committed()[name], result)
    with CONSOLE.capture() as capture:
        reports.show([result])
    assert len(capture.get()) > 1000
    figures = {"certified": ["gap"]}.get(name, [])
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [f"mine_{figure}.png" for figure in figures]


@pytest.mark.parametrize("text", ['{"study": "another"}', "[]", "not JSON"])
def test_what_is_no_result_is_refused(text, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"expected|Expecting"):
        reports.show([path])


def test_the_command_says_what_it_cannot_read(tmp_path):
    path = tmp_path / "none.json"
    command = (sys.executable, BENCHMARKS / "reports.py", path)
    done = subprocess.run(command, capture_output=True, text=True, cwd=BENCHMARKS.parent)
    assert done.returncode == 2
    assert "none.json" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.deep
def test_every_committed_result_has_its_figures():
    for name, path in reports.committed().items():
        found = {figure.name for figure in path.parent.glob(f"{path.stem}_*.png")}
        expected = {
            f"{path.stem}_{figure}.png" for figure in reports.STUDIES[name].figures(reports.read_json(path))
        }
        assert expected == {file for file in found if not file.startswith(f"{path.stem}_tuning")}
