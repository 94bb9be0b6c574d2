"""The package's face: exported names, layers, and documentation that runs."""

import ast
import importlib
import inspect
import pkgutil
import re
import typing
from pathlib import Path

import pytest

import pgjax

ROOT = Path(__file__).parent.parent
# Design: imports go down this list only. Modules of one line may import one another within a package.
LAYERS = (
    ("types", "checks"),
    ("materialize", "small_matrices"),
    ("noise",),
    ("distributions",),
    ("box_qp",),
    ("networks",),
    ("critics",),
    ("policies",),
    ("environments",),
    ("returns",),
    ("losses",),
    ("problems",),
    ("bounds",),
    ("maximizers",),
    ("games",),
)
MODULES = [
    pgjax,
    *(
        importlib.import_module(f"pgjax.{name}")
        for name in (
            "bounds",
            "critics",
            "distributions",
            "environments",
            "games",
            "losses",
            "maximizers",
            "networks",
            "problems",
            "returns",
        )
    ),
]

SINGLE_FILES = [importlib.import_module(f"pgjax.{path.stem}") for path in (ROOT / "pgjax").glob("[!_]*.py")]


def layer_of(module):
    return next(i for i, names in enumerate(LAYERS) if module.split(".")[1] in names)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_all_names_are_exported_and_nothing_else(module):
    public = {
        name for name, value in vars(module).items() if not name.startswith("_") and not inspect.ismodule(value)
    }
    modules = {name for name in module.__all__ if inspect.ismodule(getattr(module, name))}
    assert sorted(module.__all__) == sorted(public | modules)


@pytest.mark.parametrize("module", SINGLE_FILES, ids=lambda m: m.__name__)
def test_all_names_of_a_file_are_those_that_it_defines(module):
    assert sorted(module.__all__) == sorted(public_names(ast.parse(inspect.getsource(module))))


def public_names(tree):
    """The names without underscore that a file defines."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
        names = (getattr(target, "name", getattr(target, "id", "_")) for target in targets)
        yield from (name for name in names if not name.startswith("_"))


@pytest.mark.parametrize("module", [*MODULES, *SINGLE_FILES], ids=lambda m: m.__name__)
def test_every_exported_name_is_documented(module):
    for name in module.__all__:
        value = getattr(module, name)
        is_type_alias = typing.get_origin(value) is not None
        assert is_type_alias or inspect.getdoc(value), f"{module.__name__}.{name}"


def test_imports_go_down_the_layers_only():
    for path in (ROOT / "pgjax").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if name == "pgjax":
            continue
        for imported in imports_of(path):
            same_package = name.split(".")[1] == imported.split(".")[1]
            assert same_package or layer_of(imported) < layer_of(name), f"{name} imports {imported}"


def imports_of(path):
    """The pgjax modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "pgjax":
            yield from (f"pgjax.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pgjax."):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("pgjax."))


def test_the_library_never_imports_the_benchmarks():
    names = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    for path in (ROOT / "pgjax").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                imported = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
                assert not {name.split(".")[0] for name in imported} & names or "pgjax" in imported[0]


def test_every_module_imports_alone_and_has_a_docstring():
    for info in pkgutil.walk_packages(pgjax.__path__, "pgjax."):
        assert importlib.util.find_spec(info.name) is not None
        assert ast.get_docstring(ast.parse(Path(importlib.util.find_spec(info.name).origin).read_text())), (
            info.name
        )


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


def test_the_readmes_examples_run_and_print_what_the_readme_says(capsys):
    expected = "".join(blocks("text"))
    exec(compile("".join(blocks("python")), "README.md", "exec"), {})
    assert numbers_rounded(capsys.readouterr().out) == numbers_rounded(expected)


def numbers_rounded(text):
    """The text with its numbers to two digits: the last ones differ between machines."""
    return re.sub(r"-?\d+\.\d+(e-?\d+)?", lambda m: f"{float(m[0]):.1e}", text).split()


def test_the_readmes_commands_name_what_exists():
    commands = "\n".join(blocks("bash"))
    for path in re.findall(r"[\w/]+\.(?:py|json)", commands):
        assert (ROOT / path).exists(), path
