"""Messages about a wrong spec: pydantic's findings as sentences a person can act on.

`error_messages` gives one line for each finding: `FILE: key: what was found; what was expected`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ValidationError

from ..printable import escape_controls

_EXPECTED_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a text in quotes",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "finite_number": "a finite number",
    "string_too_short": "a text that is not empty",
}
_BOUNDS = {
    "greater_than_equal": ("≥", "ge"),
    "greater_than": (">", "gt"),
    "less_than_equal": ("≤", "le"),
    "less_than": ("<", "lt"),
    "too_short": ("at least this many entries:", "min_length"),
    "string_too_long": ("at most this many letters:", "max_length"),
}


def error_messages(error: ValidationError, model: type[BaseModel], source: str) -> list[str]:
    """Return one line for each finding of `error`, in the order of the file's sections.

    Args:
        error: What pydantic found.
        model: The model that was validated, for the keys that it knows.
        source: The file's name, which opens each line.
    """
    lines = []
    for details in error.errors(include_url=False):
        path = [str(part) for part in details["loc"] if _is_key(part)]
        key = ".".join(path) or "the file"
        lines.append(escape_controls(f"{source}: {key}: {_message(details, path, model)}"))
    return list(dict.fromkeys(lines))


def _is_key(part: str | int) -> bool:
    """Return whether a step of the path is a key (pydantic adds the names of its schemas)."""
    return isinstance(part, int) or not part.startswith(("literal[", "list[", "function-", "str"))


def _message(details: Any, path: list[str], model: type[BaseModel]) -> str:
    kind, context, value = details["type"], details.get("ctx", {}), details["input"]
    if kind == "missing":
        return "is missing; expected a value here"
    if kind == "extra_forbidden":
        known_keys = _known_keys(model, path[:-1])
        close_matches = difflib.get_close_matches(path[-1], known_keys, n=1)
        hint = (
            f"did you mean {close_matches[0]}?"
            if close_matches
            else f"expected one of {', '.join(known_keys)}"
        )
        return f"unknown key; {hint}"
    if kind in ("literal_error", "enum"):
        return f"found {format_value(value)}, expected {context['expected']}"
    if kind in _BOUNDS:
        comparison, context_key = _BOUNDS[kind]
        return f"found {format_value(value)}, expected {comparison} {context[context_key]}"
    if kind == "value_error":
        return str(context["error"])
    if kind in _EXPECTED_TYPES:
        return f"found {format_value(value)}, expected {_EXPECTED_TYPES[kind]}"
    return f"found {format_value(value)}: {details['msg']}"


def _known_keys(model: type[BaseModel], path: Iterable[str]) -> list[str]:
    """Return the keys that the section at `path` knows."""
    current: Any = model
    for part in path:
        annotation = (
            current.model_fields[part].annotation
            if _has_key(current, part)
            else _extra_annotation(current)
        )
        current = next(
            (nested for nested in _nested_annotations(annotation) if _is_model(nested)), None
        )
    return list(current.model_fields) if _is_model(current) else []


def _nested_annotations(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and all that its brackets hold."""
    yield annotation
    for argument in get_args(annotation):
        yield from _nested_annotations(argument)


def _extra_annotation(model: Any) -> Any:
    """Return the type under keys of the user's own choice, if a section allows any."""
    if not _is_model(model) or model.model_config.get("extra") != "allow":
        return None
    return get_type_hints(model)["__pydantic_extra__"]


def _has_key(model: Any, key: str) -> bool:
    return _is_model(model) and key in model.model_fields


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def format_value(value: object) -> str:
    """Return a value for a message, cut off where it is long; of a huge number its length."""
    if isinstance(value, int) and abs(value) >= 10**40:
        # Python itself refuses to write one of more than 4,300 digits.
        digits = int(value.bit_length() * 0.30103) + 1
        return f"a whole number of some {digits:,} digits"
    try:
        text = f'"{value}"' if isinstance(value, str) else repr(value)
    except ValueError:  # such a number within
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "…"
