"""Objects of this program in place of references: functions, arrays and loaders without a file.

A spec names the user's code and data by references. What was made in a notebook or within another
function has none; it is held here under one of its own, `python:NAME@HASH`, the hash being that of
its content. So another study, or the same one on another day, knows whether it is the same.

    reference = hold(build, "build")          # "python:build@3f2a91c0de12"
    held(reference)                           # build
    release(reference)                        # as often as it was held

A worker started anew holds nothing: it gets what can be pickled through a file (`pickled`), which a
variable of its environment names. In front stands where this program finds its modules, as the
worker begins without the folder of its script.

Entry points: `hold`, `release`, `held`, `is_held_reference`, `held_hash`; `pickled`; `extend_path`,
in the worker.
"""

import json
import os
import pickle
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .content_hash import content_hash
from .errors import ImportFailure, describe_error
from .interrupt import raise_if_interrupt

FILE_VARIABLE = "WIDTHWISE_HELD_OBJECTS"
"""Names the file of what the program that started this one holds."""

_PREFIX = "python:"
_HASH_LENGTH = 16

_objects: dict[str, Any] = {}
_holders: dict[str, int] = {}


def hold(value: object, name: str, content: object = None) -> str:
    """Hold an object; return the reference that names it.

    Args:
        value: Anything.
        name: For people.
        content: What is hashed; None for the object itself.
    """
    word = re.sub(r"\W+", "_", name).strip("_") or "object"
    digest = content_hash(value if content is None else content)
    reference = f"{_PREFIX}{word}@{digest[:_HASH_LENGTH]}"
    _objects[reference] = value
    _holders[reference] = _holders.get(reference, 0) + 1
    return reference


def release(references: Iterable[str]) -> None:
    """Let go of objects; one that others hold as well stays."""
    for reference in references:
        _holders[reference] = _holders.get(reference, 0) - 1
        if _holders[reference] <= 0:
            _holders.pop(reference)
            _objects.pop(reference, None)


def is_held_reference(reference: str) -> bool:
    """Return whether a reference names an object of a program."""
    return reference.startswith(_PREFIX) and "@" in reference


def held_hash(reference: str) -> str:
    """Return the hash in a reference."""
    return reference.rpartition("@")[2]


def held(reference: str) -> Any:
    """Return the object that a reference names.

    Raises:
        ImportFailure: It is not in this program, or cannot be loaded here.
    """
    if reference not in _objects:
        _load_objects()
    if reference not in _objects:
        name = reference.removeprefix(_PREFIX).rpartition("@")[0]
        raise ImportFailure(
            f"'{name}' was an object of the program that called widthwise.search, and is not in "
            "this one: call it there again with the same name and storage, or put it into a file "
            "and name it as FILE.py:name."
        )
    return _objects[reference]


def pickled(references: Iterable[str]) -> bytes | None:
    """Return held objects as another process can load them; None where it could not.

    What is defined in `__main__` is found under that name in no other process.
    """
    try:
        content = pickle.dumps({reference: held(reference) for reference in references})
    except Exception:  # whatever an object's own code raises, or a lambda that has no name
        return None
    if b"__main__" in content or b"__mp_main__" in content:
        return None
    folders = [str(Path(entry).absolute()) for entry in sys.path]
    return json.dumps(folders).encode() + b"\n" + content


def extend_path() -> None:
    """Look for modules where the program that started this one does, after all other places."""
    if (path := _file()) is None:
        return
    with path.open("rb") as file:
        folders = json.loads(file.readline())
    sys.path.extend(folder for folder in folders if folder not in sys.path)


def _load_objects() -> None:
    if (path := _file()) is None:
        return
    extend_path()
    try:
        with path.open("rb") as file:
            file.readline()
            _objects.update(pickle.load(file))  # noqa: S301 - our own program's
    except BaseException as error:  # whatever an import, or an object's own code, raises
        raise_if_interrupt(error)
        raise ImportFailure(
            "what was given to widthwise.search cannot be loaded in a worker of its own: "
            f"{describe_error(error)}; define it in a module that can be imported, or take "
            "workers = 1."
        ) from error


def _file() -> Path | None:
    name = os.environ.get(FILE_VARIABLE)
    return Path(name) if name is not None and Path(name).is_file() else None
