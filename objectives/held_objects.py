"""Objects of this program in place of references: functions, arrays and loaders without a file.

A spec names the user's code and data by references. What was made in a notebook or within another
function has none; it is held here under one of its own, `python:NAME@HASH`, the hash being that of
its content. So another study, or the same one on another day, knows whether it is the same.

    reference = hold(build, "build")          # "python:build@3f2a91c0de12"
    held(reference)                           # build
    release(reference)                        # as often as it was held

A worker started anew holds nothing: it gets what can be pickled through a file (`write_held`),
which a variable of its environment names.

Entry points: `hold`, `release`, `held`, `is_held_reference`, `held_hash`; `write_held`, `pickled`.
"""

import os
import pickle
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .content_hash import content_hash
from .errors import ImportFailure

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
        ImportFailure: It is not in this program.
    """
    path = os.environ.get(FILE_VARIABLE)
    if reference not in _objects and path is not None and Path(path).is_file():
        _objects.update(pickle.loads(Path(path).read_bytes()))  # noqa: S301 - our own program's
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
    return None if b"__main__" in content or b"__mp_main__" in content else content
