"""Whole numbers in the arguments of a constructor: where they stand, and arguments with others.

A number stands directly among the arguments, in a list, tuple or dictionary, or in an attribute of
a configuration object; its path says where: `("d_model",)`, `("hidden", 0)`,
`("config", "n_embd")`.

    find_integers({"d_model": 64, "hidden": [32]})   # {("d_model",): 64, ("hidden", 0): 32}
    replaced({"d_model": 64}, {("d_model",): 96})    # {"d_model": 96}

Entry points: `find_integers`, `replaced`, `source`.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

Path = tuple[str | int, ...]
"""Keys, positions and names of attributes that lead to a number, from the argument's name on."""

_DEEPEST = 4  # an argument, a configuration, one nested in it, a list in that


def find_integers(arguments: Mapping[str, Any]) -> dict[Path, int]:
    """Return the whole numbers above 1 in the arguments, by path; nothing else is a size."""
    return dict(_integers(arguments, ()))


def replaced(arguments: Mapping[str, Any], values: Mapping[Path, int]) -> dict[str, Any]:
    """Return arguments with other numbers at some paths; what they hold otherwise is not touched.

    Args:
        arguments: By name.
        values: By path; a path that leads nowhere adds the argument.
    """
    changed = dict(arguments)
    for path, value in values.items():
        name = str(path[0])
        changed[name] = _replace(changed.get(name), path[1:], value)
    return changed


def is_in_object(path: Path, arguments: Mapping[str, Any]) -> bool:
    """Return whether a path leads through an object, such as a configuration."""
    value: Any = arguments
    for key in path[:-1]:
        value = _child(value, key)
        if not isinstance(value, Mapping | list | tuple):
            return True
    return False


def source(value: Any) -> str | None:
    """Return Python that makes a value, or None where there is none to be written down.

    Classes and functions are named as they are; a configuration of Hugging Face and a dataclass are
    written with what differs from their defaults.
    """
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return repr(value)
    if isinstance(value, list | tuple | set):
        return _sequence_source(value)
    if isinstance(value, Mapping):
        items = {repr(key): source(item) for key, item in value.items()}
        if any(item is None for item in items.values()):
            return None
        return "{" + ", ".join(f"{key}: {item}" for key, item in items.items()) + "}"
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        name: str = value.__qualname__
        return name if name.replace(".", "").isidentifier() else None
    if hasattr(value, "to_diff_dict") and hasattr(value, "to_dict"):
        return call_source(type(value).__qualname__, _own_settings(value))
    if dataclasses.is_dataclass(value):
        return call_source(type(value).__qualname__, _own_fields(value))
    return None


def call_source(name: str, arguments: Mapping[str, Any]) -> str | None:
    """Return "name(key=value, …)", or None where an argument cannot be written down."""
    written = {key: source(value) for key, value in arguments.items()}
    if any(text is None for text in written.values()):
        return None
    return f"{name}({', '.join(f'{key}={text}' for key, text in written.items())})"


def _sequence_source(value: list[Any] | tuple[Any, ...] | set[Any]) -> str | None:
    items = [source(item) for item in value]
    if any(item is None for item in items):
        return None
    text = ", ".join(map(str, items))
    if isinstance(value, list):
        return f"[{text}]"
    if isinstance(value, set):
        return f"{{{text}}}" if items else "set()"
    return f"({text},)" if len(items) == 1 else f"({text})"


_WRITTEN_BY_ITSELF = {"transformers_version", "model_type", "architectures", "dtype"}
"""Settings of a Hugging Face configuration that its constructor sets, or is not given."""


def _own_settings(config: Any) -> dict[str, Any]:
    """Return the settings of a Hugging Face configuration that are not its type's defaults."""
    defaults: Mapping[str, Any] = type(config)().to_dict()
    own = {
        key: value
        for key, value in config.to_dict().items()
        if key not in _WRITTEN_BY_ITSELF
        and not key.startswith("_")
        and (key not in defaults or defaults[key] != value)
    }
    labels = own.get("id2label", {})
    if list(labels.values()) == [f"LABEL_{number}" for number in range(len(labels))] and labels:
        own = {key: value for key, value in own.items() if key not in ("id2label", "label2id")}
        own["num_labels"] = len(labels)
    return own


def _own_fields(value: Any) -> dict[str, Any]:
    """Return a dataclass's fields that are not at their defaults."""
    own = {}
    for field in dataclasses.fields(value):
        if field.init:
            now = getattr(value, field.name)
            if field.default is dataclasses.MISSING or now != field.default:
                own[field.name] = now
    return own


def _integers(value: Any, path: Path) -> Iterator[tuple[Path, int]]:
    if isinstance(value, int) and not isinstance(value, bool):
        if value > 1 and path:
            yield path, int(value)
        return
    if len(path) > _DEEPEST or isinstance(value, str | bytes | type | Tensor | nn.Module):
        return
    for key, item in _children(value):
        yield from _integers(item, (*path, key))


def _children(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, Mapping):
        yield from ((key, item) for key, item in value.items() if isinstance(key, str | int))
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
    elif not callable(value) and hasattr(value, "__dict__"):
        yield from ((key, item) for key, item in vars(value).items() if not key.startswith("_"))


def _child(value: Any, key: str | int) -> Any:
    if isinstance(value, Mapping | list | tuple):
        return value[key]  # type: ignore[index]
    return getattr(value, str(key))


def _replace(value: Any, path: Path, new: int) -> Any:
    """Return a copy of a value with another number at a path."""
    if not path:
        return new
    key, rest = path[0], path[1:]
    item = _replace(_child(value, key), rest, new)
    if isinstance(value, Mapping):
        changed = copy.copy(value)
        changed[key] = item  # type: ignore[index]
        return changed
    if isinstance(value, list | tuple):
        items = [item if position == key else old for position, old in enumerate(value)]
        if hasattr(value, "_fields"):
            return type(value)(*items)
        return type(value)(items)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{str(key): item})
    duplicate = copy.deepcopy(value)
    setattr(duplicate, str(key), item)
    return duplicate
