"""The documentation's sources: every public name and page has a place, every Python block runs or says why not."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
NOT_EXECUTED = "# not executed here"
FENCE = re.compile(r"^```\{?([\w-]*)\}?[^\n]*\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


def exports(package):
    """Return `__all__` of a package, and what its names were imported from, by its source."""
    tree = ast.parse((ROOT / package.replace(".", "/") / "__init__.py").read_text(encoding="utf-8"))
    names: list[str] = []
    origins: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__":
            names = ast.literal_eval(node.value)
        elif isinstance(node, ast.ImportFrom):
            origins |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names, origins


def packages():
    """Return the package and all its subpackages."""
    return ["pgjax", *(f"pgjax.{path.parent.name}" for path in sorted((ROOT / "pgjax").glob("*/__init__.py")))]


def documented():
    """Return the names that the reference documents, in order."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((DOCS / "api").glob("*.md")))
    return re.findall(r"^\.\. auto(?:class|function|module|data|exception):: (\S+)", text, flags=re.MULTILINE)


@pytest.mark.parametrize("package", packages())
def test_every_public_name_is_in_the_reference(package):
    names, origins = exports(package)
    assert names, f"{package} has no __all__"
    top, top_origins = exports("pgjax")
    known = set(documented())
    for name in names:
        # What the top exports from this very package is documented there.
        same = name in top and top_origins.get(name) in (origins.get(name), f"{package}.{name}")
        expected = f"pgjax.{name}" if same else f"{package}.{name}"
        assert expected in known, f"{expected} is on no page of docs/api"


def test_the_reference_has_no_name_twice_and_none_that_is_not_public():
    names = documented()
    assert sorted(set(names)) == sorted(names)
    public = {f"{package}.{name}" for package in packages() for name in exports(package)[0]}
    assert set(names) <= public | set(packages())


def test_every_name_of_a_summary_is_documented_below_it():
    for path in (DOCS / "api").glob("*.md"):
        text = path.read_text(encoding="utf-8")
        for block in re.findall(r"^```\{eval-rst\}\n(\.\. autosummary::.*?)^```", text, re.DOTALL | re.MULTILINE):
            listed = re.findall(r"^   (\w+)$", block, flags=re.MULTILINE)
            shown = [name.rsplit(".", 1)[1] for name in re.findall(r"^\.\. auto\w+:: (\S+)", block, re.MULTILINE)]
            assert [name for name in shown if name != "autosummary"] == listed, path.name


def test_every_page_is_in_a_toctree():
    listed = {DOCS / "index.md"}
    for path in PAGES:
        for kind, body in FENCE.findall(path.read_text(encoding="utf-8")):
            if kind == "toctree":
                entries = [line for line in body.splitlines() if line and not line.startswith(":")]
                listed |= {(path.parent / f"{entry}.md").resolve() for entry in entries}
    assert {path.resolve() for path in PAGES} == {path.resolve() for path in listed}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_every_python_block_is_executed_or_says_that_it_is_not(path):
    text = path.read_text(encoding="utf-8")
    blocks = FENCE.findall(text)
    executed = "file_format: mystnb" in text
    assert executed or not any(kind == "code-cell" for kind, _ in blocks), (
        "code cells in a page that is not executed"
    )
    for kind, body in blocks:
        assert kind != "python" or body.startswith(NOT_EXECUTED), body
        if kind in ("code-cell", "python"):
            compile(body, str(path), "exec")
        assert kind != "code-cell" or ":tags:" not in body, "no cell is skipped, hidden or allowed to fail"


def test_the_build_executes_every_page_and_lets_nothing_pass():
    settings = ast.parse((DOCS / "conf.py").read_text(encoding="utf-8"))
    values = {
        ast.unparse(node.targets[0]): ast.literal_eval(node.value)
        for node in settings.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    assert values["nb_execution_mode"] == "force"
    assert values["nb_execution_raise_on_error"] is True
    assert values["nb_output_stderr"] == "warn"
    assert values["nitpicky"] is True


def test_pictures_and_links_to_files_exist():
    for path in PAGES:
        for kind, target in re.findall(
            r"^```\{(figure|literalinclude)\} (\S+)", path.read_text(encoding="utf-8"), re.M
        ):
            assert (path.parent / target).exists(), f"{path.name}: {kind} {target}"


def test_commands_in_the_pages_name_what_exists():
    for path in PAGES:
        for kind, body in FENCE.findall(path.read_text(encoding="utf-8")):
            for script in re.findall(r"[\w/]+\.py", body) if kind == "bash" else ():
                assert (ROOT / script).exists(), f"{path.name}: {script}"


def test_the_citation_is_that_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    (version,) = re.findall(
        r'^__version__ = "(.*)"', (ROOT / "pgjax/__init__.py").read_text("utf-8"), re.MULTILINE
    )
    fields = dict(re.findall(r"^([\w-]+): *(.*)$", citation, flags=re.MULTILINE))
    assert (fields["title"], fields["version"], fields["license"]) == ("pgjax", version, "MIT")
    assert "authors:\n  - name: The pgjax authors\n" in citation


def test_the_docs_extra_has_lower_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own, *others = project["optional-dependencies"]["docs"]
    assert own == "pgjax[benchmarks]"
    assert all(re.fullmatch(r"[\w-]+>=[\d.]+", requirement) for requirement in others)
