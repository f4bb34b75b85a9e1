"""The module that builds one network: `model.py`, and copies of the user's files that it needs.

The user's builder is copied as it was when the study trained it, with the modules beside it that it
imports, so that the folder stands by itself. A family is built by Widthwise, which must be there.

Entry points: `model_source`; `ModelSource`, and `MARK`, by which a file of ours is known.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...objectives.held_objects import is_held_reference
from ...objectives.user_code import source_fingerprint
from ..errors import SpecError
from ..spec.spec import Spec
from ..units import format_widths

MARK = "Written by Widthwise"
"""Stands in the first line of every `model.py` that is ours."""

SOURCE_FOLDER = "model_source"
"""Holds the copies of the user's files, beside `model.py`."""

_INSTALLED = {"site-packages", "dist-packages"}

_HEAD = """# The network {widths} of the study {study}. {mark} {version}.
# `build()` returns it with fresh weights, `build({{**WIDTHS, …}})` one of other widths.

"""

_FAMILY = """from widthwise.objectives.model.family_registry import FAMILIES

WIDTHS = {widths}
OPTIONS = {options}


def build(widths=WIDTHS):
    return FAMILIES[{family!r}].build(dict(widths), **OPTIONS)
"""

_COPIED = """import importlib.util
import sys
from pathlib import Path

WIDTHS = {widths}

_FOLDER = Path(__file__).resolve().parent / {folder!r}
_FILE = _FOLDER / {file!r}


def _builder():
    # Under a name of its own: the file may be called as a module of another library is.
    name = "widthwise_exported_" + _FILE.stem
    if name not in sys.modules:
        sys.path.append(str(_FILE.parent))
        sys.path.append(str(_FOLDER))
        spec = importlib.util.spec_from_file_location(name, _FILE)
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name].{attribute}


def build(widths=WIDTHS):
    return _builder()(dict(widths))
"""

_INSTALLED_MODULE = """import importlib

WIDTHS = {widths}


def build(widths=WIDTHS):
    return importlib.import_module({module!r}).{attribute}(dict(widths))
"""


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """What builds the network.

    Attributes:
        text: Of `model.py`.
        copies: Path below the folder to the file that is copied there.
        needs: What must be installed besides torch, for people; None for nothing that we know.
    """

    text: str
    copies: Mapping[Path, Path] = field(default_factory=dict)
    needs: str | None = None


def model_source(
    spec: Spec,
    folder: Path,
    widths: Mapping[str, int],
    *,
    family_options: Mapping[str, Any],
) -> ModelSource:
    """Return the module that builds a study's network.

    Args:
        spec: The study's.
        folder: That its references are relative to.
        widths: Of the network.
        family_options: What a family's builder is called with besides the widths.

    Raises:
        SpecError: Nothing that a file can name builds it.
        ImportFailure: The builder's file is not there.
    """
    head = _HEAD.format(
        study=spec.name,
        widths=format_widths(widths),
        mark=MARK,
        version=version("widthwise"),
    )
    model = spec.model
    if model.family is not None:
        text = _FAMILY.format(
            widths=repr(dict(widths)), family=model.family, options=repr(dict(family_options))
        )
        return ModelSource(text=head + text, needs="widthwise")
    if model.build is None:
        raise SpecError(
            f"{spec.name} names no builder in [model], so that nothing says how its network is "
            f"made: make it in your own training, with {format_widths(widths)}"
        )
    if is_held_reference(model.build):
        raise SpecError(
            f"the builder of {spec.name} is an object of the Python program that searched, which "
            "no file can name: put it into a file and give it as build = FILE.py:name, or take "
            "`.model()` of the result there"
        )
    source_fingerprint(model.build, folder)  # says what is missing, if anything is
    source, _, attribute = model.build.rpartition(":")
    file = _file_of(source, folder)
    if file is None:
        text = _INSTALLED_MODULE.format(
            widths=repr(dict(widths)), module=source, attribute=attribute
        )
        return ModelSource(text=head + text, needs=source.partition(".")[0])
    # A module within packages is copied from where its outermost one lies.
    depth = 0 if source.endswith(".py") else source.count(".")
    root = file.parents[depth + 1] if file.name == "__init__.py" else file.parents[depth]
    copies = {
        Path(SOURCE_FOLDER) / path.relative_to(root): path
        for path in sorted(local_sources(file, root))
    }
    text = _COPIED.format(
        widths=repr(dict(widths)),
        folder=SOURCE_FOLDER,
        file=file.relative_to(root).as_posix(),
        attribute=attribute,
    )
    return ModelSource(text=head + text, copies=copies)


def local_sources(file: Path, root: Path) -> set[Path]:
    """Return a Python file and all that it imports, directly or not, of the files below a folder.

    A package of which anything is imported comes as a whole.

    Args:
        file: Where to begin.
        root: The folder.
    """
    found: set[Path] = set()
    pending = [file]
    while pending:
        current = pending.pop()
        if current in found:
            continue
        found.add(current)
        for name in _imported_names(current, root):
            top = root / name.partition(".")[0]
            if top.with_suffix(".py").is_file():
                pending.append(top.with_suffix(".py"))
            elif top.is_dir():
                pending += [path for path in top.rglob("*.py") if path.is_file()]
    return found


def _imported_names(file: Path, root: Path) -> set[str]:
    """Return the modules that a file imports, as seen from a folder."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
        elif isinstance(node, ast.ImportFrom):
            package = file.parents[node.level - 1]
            if package == root:
                names |= {node.module} if node.module else {alias.name for alias in node.names}
            elif root in package.parents:
                names.add(package.relative_to(root).parts[0])
    return {name for name in names if name}


def _file_of(source: str, folder: Path) -> Path | None:
    """Return the file of a builder that is the user's own; None for an installed module's."""
    if source.endswith(".py"):
        return (folder / Path(source).expanduser()).resolve()
    spec = importlib.util.find_spec(source)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return None
    file = Path(spec.origin).resolve()
    return None if not _INSTALLED.isdisjoint(file.parts) else file
