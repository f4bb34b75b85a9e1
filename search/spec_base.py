"""What the sections of a spec are made of: strictness, and references to the user's functions."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Section(BaseModel):
    """A section refuses keys it does not know, and guesses no types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _reference(value: object) -> object:
    """Turn a module-level function into `FILE.py:name`, which another process can load."""
    if not callable(value):
        return value
    name = getattr(value, "__qualname__", "")
    if not name.isidentifier():
        raise ValueError(
            f"found {name or value!r}, which worker processes cannot import; "
            "expected a function defined at the top level of a module"
        )
    return f"{Path(inspect.getfile(value)).resolve()}:{name}"


Reference = Annotated[str, BeforeValidator(_reference), Field(min_length=1)]
"""`FILE.py:name`, `package.module:name` or a word; a module-level function is turned into one."""
