"""The package's face: exported names, their documentation, and layers."""

import ast
import functools
import importlib
import inspect
import pkgutil
import re
import typing
from pathlib import Path

import pytest

import pgjax

ROOT = Path(__file__).parents[2]
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
        assert ast.get_docstring(ast.parse(Path(str(importlib.import_module(info.name).__file__)).read_text())), (
            info.name
        )


class Met(ast.NodeVisitor):
    """What of pgjax a file of tests names, outside the tests and cases that are marked deep."""

    def __init__(self, path):
        self.known, self.objects = {}, []
        self.visit(ast.parse(path.read_text()))

    def visit_Import(self, node):
        self.known |= {alias.name: pgjax for alias in node.names if alias.name == "pgjax"}

    def visit_ImportFrom(self, node):
        if (node.module or "").split(".")[0] == "pgjax":
            module = importlib.import_module(str(node.module))
            self.known |= {alias.asname or alias.name: getattr(module, alias.name) for alias in node.names}

    def visit_FunctionDef(self, node):
        if "pytest.mark.deep" not in map(ast.unparse, node.decorator_list):
            self.generic_visit(node)

    def visit_Call(self, node):
        if ast.unparse(node.func) != "deep":
            self.generic_visit(node)

    def visit_Name(self, node):
        self.objects.append(self.known.get(node.id))

    def visit_Attribute(self, node):
        owner, *names = ast.unparse(node).split(".")
        value = self.known.get(owner)
        for name in names:
            value = getattr(value, name, None)
            self.objects.append(value)
        self.generic_visit(node)


def classes_met_with(value):
    """The names in what functions and methods return, in fields and in bases: classes met without being named."""
    written, functions = [], [inspect.unwrap(value) if callable(value) else value]
    if inspect.isclass(value):
        written = [*vars(value).get("__annotations__", {}).values(), *(base.__name__ for base in value.__mro__)]
        functions = list(vars(value).values())
    for function in filter(inspect.isfunction, functions):
        ways = (function, *typing.get_overloads(function))
        written += [inspect.signature(way).return_annotation for way in ways]
    return re.findall(r"\w+", str(written))


@functools.cache
def met_by_the_default_run():
    """What the library's tests name, by id: not all of it can be hashed."""
    return {id(value): value for path in Path(__file__).parent.rglob("*.py") for value in Met(path).objects}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_every_public_name_is_met_by_the_default_run(module):
    met = met_by_the_default_run()
    public = {name: getattr(module, name) for name in module.__all__}
    returned = {name for value in met.values() for name in classes_met_with(value)}
    returned |= {name for held in public if held in returned for name in classes_met_with(public[held])}
    assert not [name for name, value in public.items() if id(value) not in met and name not in returned]
