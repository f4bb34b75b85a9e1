"""The module that builds one network: `model.py`, and copies of the user's files that it needs.

The user's builder is copied as it was when the study trained it, with the modules beside it that it
imports, so that the folder stands by itself. A family is built by Widthwise, which must be there.

Entry points: `model_source`; `DiscoveredModel`; `ModelSource`, and `MARK`, by which a file of ours
is known.
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
from ...objectives.training.step import TensorSpec
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
# `build()` returns it with fresh weights.

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

_FOLDER = Path(__file__).resolve().parent / {folder!r}
_FILE = _FOLDER / {file!r}


def _module():
    # Under a name of its own: the file may be called as a module of another library is.
    name = "widthwise_exported_" + _FILE.stem
    if name not in sys.modules:
        sys.path += [str(_FILE.parent), str(_FOLDER)]
        spec = importlib.util.spec_from_file_location(name, _FILE)
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


"""

_IMPORTED = """import importlib


def _module():
    return importlib.import_module({module!r})


"""

_BUILDER = """WIDTHS = {widths}


def build(widths=WIDTHS):
    return _module().{attribute}(dict(widths))
"""

_CALL = """globals().update(vars(_module()))
WIDTHS = {widths}


def build():
    return {call}
"""

_RESIZED = """import torch
from widthwise.objectives.discovery.resizing.resizable import find_resizable
from widthwise.objectives.training.step import TensorSpec

WIDTHS = {widths}
INPUTS = {inputs}
OPTIONS = {options}


def build(widths=WIDTHS):
    return find_resizable(_module().{attribute}, INPUTS, **OPTIONS).build(widths)
"""


@dataclass(frozen=True, kw_only=True)
class DiscoveredModel:
    """A model that exists, and how it gets these widths.

    Attributes:
        reference: Of the function that makes it.
        call: The constructor's or the configuration's call in the words of its file; None where its
            layers are replaced instead.
        inputs: What it is called with: specs of positional or of keyword arguments.
        options: Which layers are searched: keywords of `find_resizable`.
    """

    reference: str
    call: str | None
    inputs: Any
    options: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """What builds the network.

    Attributes:
        text: Of `model.py`.
        copies: Path below the folder to the file that is copied there.
        needs: Packages that must be installed besides torch, as far as we know.
    """

    text: str
    copies: Mapping[Path, Path] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


def model_source(
    spec: Spec,
    folder: Path,
    widths: Mapping[str, int],
    *,
    family_options: Mapping[str, Any],
    discovered: DiscoveredModel | None = None,
) -> ModelSource:
    """Return the module that builds a study's network.

    Args:
        spec: The study's.
        folder: That its references are relative to.
        widths: Of the network.
        family_options: What a family's builder is called with besides the widths.
        discovered: The model whose widths were discovered, where it is one.

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
    model, sizes = spec.model, repr(dict(widths))
    if model.family is not None:
        text = _FAMILY.format(widths=sizes, family=model.family, options=repr(dict(family_options)))
        return ModelSource(text=head + text, needs=("widthwise",))
    reference = model.build if discovered is None else discovered.reference
    if reference is None:
        raise SpecError(
            f"{spec.name} names no builder in [model], so that nothing says how its network is "
            f"made: make it in your own training, with {format_widths(widths)}"
        )
    if is_held_reference(reference):
        raise SpecError(
            f"the builder of {spec.name} is an object of the Python program that searched, which "
            "no file can name: put it into a file and give it as build = FILE.py:name, or take "
            "`.model()` of the result there"
        )
    source_fingerprint(reference, folder)  # says what is missing, if anything is
    module, _, attribute = reference.rpartition(":")
    loader, copies = _loader(module, folder)
    needs = () if copies else (module.partition(".")[0],)
    if discovered is None:
        text = _BUILDER.format(widths=sizes, attribute=attribute)
    elif discovered.call is not None:
        text = _CALL.format(widths=sizes, call=discovered.call)
    else:
        needs = (*needs, "widthwise")
        text = _RESIZED.format(
            widths=sizes,
            attribute=attribute,
            inputs=_specs_source(discovered.inputs),
            options=repr(dict(discovered.options)),
        )
    return ModelSource(text=head + loader + text, copies=copies, needs=needs)


def _loader(module: str, folder: Path) -> tuple[str, dict[Path, Path]]:
    """Return the code that loads a module of the user's, and the copies of files that it needs."""
    file = _file_of(module, folder)
    if file is None:
        return _IMPORTED.format(module=module), {}
    # A module within packages is copied from where its outermost one lies.
    depth = 0 if module.endswith(".py") else module.count(".")
    root = file.parents[depth + 1] if file.name == "__init__.py" else file.parents[depth]
    copies = {
        Path(SOURCE_FOLDER) / path.relative_to(root): path
        for path in sorted(local_sources(file, root))
    }
    return _COPIED.format(folder=SOURCE_FOLDER, file=file.relative_to(root).as_posix()), copies


def _specs_source(value: Any) -> str:
    """Return an expression for what a model is called with."""
    if isinstance(value, TensorSpec):
        whole = ", whole=True" if value.whole else ""
        return f"TensorSpec(shape={tuple(value.shape)!r}, dtype={value.dtype}{whole})"
    if isinstance(value, Mapping):
        items = (f"{key!r}: {_specs_source(item)}" for key, item in value.items())
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_specs_source, value)) + "]"
    if isinstance(value, tuple):
        return "(" + "".join(f"{_specs_source(item)}, " for item in value).rstrip() + ")"
    return repr(value)


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
