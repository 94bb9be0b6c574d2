"""Docstrings as pgjax writes them, turned into reStructuredText.

A docstring is plain text: paragraphs, equations, and sections such as `Args:` or `Cost:`. Only single backticks
are markup: a public name becomes a link, all else code. Everything else is escaped, so that `a*`, `|x|` and
`lambda_` stay what they are.
"""

from __future__ import annotations

import ast
import collections
import dataclasses
import importlib
import inspect
import re
import textwrap
from typing import Any

import flax.linen as nn

PACKAGES = (
    "pgjax",
    "pgjax.bounds",
    "pgjax.distributions",
    "pgjax.environments",
    "pgjax.games",
    "pgjax.losses",
    "pgjax.maximizers",
    "pgjax.problems",
    "pgjax.returns",
)
_TITLES = {
    "Args": "Parameters",
    "Args (fields)": "Fields",
    "Args, Raises": "Parameters, raises",
    "Args, Returns, Raises": "Parameters, returns, raises",
}
_NAMES = "|".join(
    (
        r"Args \(fields\)|Args(?:, Returns)?(?:, Raises)?|Fields|Returns|Raises",
        "Cost|Memory|Differentiable in|Reference|Deviation",
    )
)
_SECTION = re.compile(rf"^({_NAMES}):(?:\s+(.*))?$")
_ITEM = re.compile(r"^(\s+)((?:\w+(?:, )?)+|The others): (.*)$")
_CODE = re.compile(r"(``.+?``|`[^`]+`)")


def public_names() -> dict[str, str]:
    """Each public object's name as code would write it -> the one under which it is documented."""
    names: dict[str, str] = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        names[package] = package
        for name in module.__all__:
            value, top = getattr(module, name), getattr(importlib.import_module("pgjax"), name, None)
            names[f"{package}.{name}"] = f"pgjax.{name}" if top is value else f"{package}.{name}"
    return names


def to_rst(docstring: str, package: str, own_names: frozenset[str] = frozenset()) -> list[str]:
    """The docstring's lines in reStructuredText; `own_names`, such as a class's methods, are not linked."""
    sections = _split(docstring.expandtabs().splitlines())
    lines: list[str] = []
    for title, body in sections:
        if title is None:
            lines += _prose(body, package, own_names)
        else:
            lines += _field(title, body, package, own_names)
    return lines


def _split(lines: list[str]) -> list[tuple[str | None, list[str]]]:
    """Prose and sections in order: a section goes on to the next one, or to a blank line before prose."""
    parts: list[tuple[str | None, list[str]]] = [(None, [])]
    after_blank = False
    for line in lines:
        found = _SECTION.match(line)
        if found:
            parts.append((found[1], [found[2]] if found[2] else []))
        elif _in_section_unindented(parts[-1], line) and (after_blank or _starts_prose(parts[-1][1])):
            parts.append((None, [line]))
        else:
            parts[-1][1].append(line)
        after_blank = not line.strip()
    return parts


def _in_section_unindented(part: tuple[str | None, list[str]], line: str) -> bool:
    return part[0] is not None and bool(line) and not line.startswith(" ")


def _starts_prose(body: list[str]) -> bool:
    """Whether an unindented line after such a section's body is prose, not the body's next line."""
    return not body or any(line.startswith(" ") for line in body)


def _prose(lines: list[str], package: str, own_names: frozenset[str]) -> list[str]:
    rst: list[str] = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        rows = paragraph.splitlines()
        if not paragraph.strip():
            continue
        if all(row.startswith("    ") for row in rows):
            rst += [".. code-block:: python", "", *(f"   {row}" for row in rows), ""]
        elif _is_equation(rows):
            rst += [".. code-block:: none", "   :class: equation", "", *(f"   {row.strip()}" for row in rows), ""]
        else:
            rst += [_inline(" ".join(row.strip() for row in rows), package, own_names), ""]
    return rst


def _is_equation(rows: list[str]) -> bool:
    text = " ".join(rows).strip()
    return len(rows) <= 3 and bool(re.search(r" (=|in) ", text)) and text[-1] not in ".:" and "`" not in text


def _field(title: str, body: list[str], package: str, own_names: frozenset[str]) -> list[str]:
    items: list[tuple[str | None, str]] = []
    for line in body:
        found = _ITEM.match(line) if title in ("Args", "Args (fields)", "Fields") else None
        if found and len(found[1]) <= 4:
            items.append((found[2], found[3].strip()))
        elif items and line.strip():
            items[-1] = (items[-1][0], f"{items[-1][1]} {line.strip()}")
        elif line.strip():
            items.append((None, line.strip()))
    head = f":{_TITLES.get(title, title)}:"
    if not any(name for name, _ in items):
        return [f"{head} {_inline(' '.join(text for _, text in items), package, own_names, title)}", ""]
    lines = [head]
    for name, text in items:
        text = _inline(text, package, own_names, title)
        if name is None:
            lines += ["", f"   {text}", ""]
        else:
            shown = ", ".join(f"``{part}``" for part in name.split(", ")) if name != "The others" else name
            lines += [f"   * {shown}: {text}"]
    return [*lines, ""]


def _inline(text: str, package: str, own_names: frozenset[str], title: str = "") -> str:
    """One paragraph: code in backticks, names linked, the rest escaped."""
    parts = []
    for part in _CODE.split(text):
        if part.startswith("`") and len(part) > 2:
            parts.append(_link(part.strip("`"), package, own_names))
        elif title == "Raises":
            parts += [f"``{p}``" if p.endswith("Error") else _escape(p) for p in re.split(r"(\w+Error)", part)]
        else:
            parts.append(_escape(part))
    return _spaced("".join(parts))


def _spaced(text: str) -> str:
    """Inline markup needs a boundary: put an escaped space between it and a letter, digit or parenthesis."""
    pieces = re.split(r"(:py:obj:`[^`]+`|``[^`]+``)", text)
    for i in range(1, len(pieces), 2):
        if pieces[i - 1] and not re.search(r"[\s(\[{<\-/:'\"]$", pieces[i - 1]):
            pieces[i - 1] += "\\ "
        if pieces[i + 1] and not re.match(r"[\s.,:;!?\-)\]}/'\"\\]", pieces[i + 1]):
            pieces[i + 1] = "\\ " + pieces[i + 1]
    return "".join(pieces)


def _escape(text: str) -> str:
    text = re.sub(r"([\\*|`])", r"\\\1", text)
    text = re.sub(r"_(?!\w)", r"\\_", text)
    return re.sub(r"^([-+:.])", r"\\\1", text)


def _link(code: str, package: str, own_names: frozenset[str]) -> str:
    name = _find(code, package) if code not in own_names else None
    shown = code.replace("\\", "\\\\")
    return f":py:obj:`{shown} <{name}>`" if name else f"``{code}``"


_NAMES_OF: dict[str, str] = {}
_BY_LAST_PART: dict[str, list[str]] = collections.defaultdict(list)


def _find(code: str, package: str) -> str | None:
    """The documented name that a docstring of this package means, or None."""
    if not _NAMES_OF:
        _NAMES_OF.update(public_names())
        for name in sorted(set(_NAMES_OF.values())):
            _BY_LAST_PART[name.rsplit(".", 1)[-1]].append(name)
    if "." in code:
        return _NAMES_OF.get(code)
    near = _NAMES_OF.get(f"{package}.{code}") or _NAMES_OF.get(f"pgjax.{code}")
    if near in PACKAGES:
        return None
    choices = [name for name in _BY_LAST_PART.get(code, []) if name not in PACKAGES]
    return near or (choices[0] if len(choices) == 1 else None)


def process_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if not name.startswith("pgjax"):
        return
    # A property or method is named after its class, a class or function after its package.
    package = max((p for p in PACKAGES if name == p or name.startswith(f"{p}.")), key=len)
    owner = obj if inspect.isclass(obj) else _owner(name)
    own_names = frozenset(dir(owner)) if owner is not None else frozenset()
    lines[:] = to_rst("\n".join(lines), package, own_names)


def _owner(name: str) -> Any:
    """The class whose member has this name, or None."""
    module, _, _ = name.rpartition(".")
    parent, _, cls = module.rpartition(".")
    try:
        value = getattr(importlib.import_module(parent), cls)
    except (ImportError, AttributeError, ValueError):
        return None
    return value if inspect.isclass(value) else None


def process_signature(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None] | None:
    """Flax modules show their own fields with the defaults that the source gives; Flax's are left out."""
    if what != "class" or not isinstance(obj, type):
        return None
    if signature == "(*args, **kwargs)":  # of a metaclass
        _, *parameters = inspect.signature(obj.__init__).parameters.values()
        plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
        return str(inspect.Signature(plain)), None
    if not issubclass(obj, nn.Module):
        return None
    defaults: dict[str, str] = {}
    for cls in reversed(obj.__mro__):
        if cls.__module__.startswith("pgjax"):
            (node,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
            assert isinstance(node, ast.ClassDef)
            for statement in node.body:
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                    defaults[statement.target.id] = ast.unparse(statement.value) if statement.value else ""
    fields = [field.name for field in dataclasses.fields(obj) if field.name in defaults]
    return f"({', '.join(f'{f}={defaults[f]}' if defaults[f] else f for f in fields)})", None


def skip_member(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Fields, of named tuples and Flax modules, are told of in the class's docstring."""
    is_default = (
        callable(obj) and not inspect.isclass(obj) and not getattr(obj, "__module__", "").startswith("pgjax")
    )
    return True if type(obj).__name__ == "_tuplegetter" or is_default else None


def setup(app: Any) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", process_docstring)
    app.connect("autodoc-process-signature", process_signature)
    app.connect("autodoc-skip-member", skip_member)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
