"""What a person gives to `widthwise.search`, as the sections of a spec.

Functions of modules become references that any process can load. Everything else (closures, what a
notebook defines, arrays, loaders) is held in this program under a reference of its own, see
`objectives.held_objects`.

Entry point: `Arguments`, whose `sections` they are.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from ...objectives.errors import describe_type, did_you_mean
from ...objectives.held_objects import hold, release
from ...objectives.model.family_registry import FAMILIES
from ..errors import SpecError
from ..space.constraints import AbsentLast, Divisible, Order, Tie
from ..space.limits import Limits
from ..space.space import Space
from ..space.width import ABSENT, Width
from ..spec.from_data import default_widths
from ..spec.proxy_section import ProxySection
from ..spec.sections import ModelSection, StudySection

_SOURCE = "widthwise.search"

_KEY_SECTIONS: Mapping[str, str] = {
    **dict.fromkeys(ProxySection.model_fields, "proxy"),
    **dict.fromkeys(ModelSection.model_fields, "model"),
    **dict.fromkeys(StudySection.model_fields, "study"),
}
"""The section of each key of a spec that a keyword may set."""

_RENAMED = {"good_enough": ("study", "target"), "target": ("proxy", "target")}
"""Keywords that are called otherwise in a spec: there are two targets."""

FUNCTION_KEYS = ("build", "costs", "loss", "metric", "train")
"""Keywords that may be functions."""


@final
class GivenData:
    """Data that was given as it is, in the place of a function that returns it."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __call__(self) -> object:
        """Return it."""
        return self.value


@final
class Arguments:
    """The keywords of a search as sections of a spec, and what is held for them.

    Attributes:
        sections: As `parse_spec` takes them.
        held: References of the objects that only this program knows; `release` lets go of them.
    """

    def __init__(
        self, *, widths: Any, data: Any, limits: Any, name: str | None, **keys: Any
    ) -> None:
        """Turn keywords into sections.

        Args:
            widths: `Space`, mapping, or None for those of the family.
            data: Whatever can be trained on.
            limits: `Limits`, mapping or None.
            name: Of the study; None for the builder's.
            **keys: Of the sections study, model and proxy; None leaves one out.

        Raises:
            SpecError: A keyword is none of a search, or has a value that means nothing.
        """
        self.held: list[str] = []
        self.sections: dict[str, dict[str, Any]] = {"study": {}, "model": {}, "proxy": {}}
        given = {key: value for key, value in keys.items() if value is not None}
        try:
            if not {"build", "family", "train"} & given.keys():
                given["family"] = "mlp"
            target = given.pop("target", None) if _is_table(data) else None
            if data is not None or "train" not in given:
                self._set_data(data, target)
            for key, value in given.items():
                self._set(key, value)
            self.sections["study"]["name"] = name or _default_name(given)
            self.sections["widths"] = self._widths(widths, given.get("family"), data)
            if limits is not None:
                self.sections["limits"] = _limits(limits)
            references = self.sections["proxy"].pop("references", None)
            if references is not None:
                self.sections["references"] = references
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let go of what is held."""
        release(self.held)
        self.held = []

    def _set(self, key: str, value: Any) -> None:
        section, name = _RENAMED.get(key, (_KEY_SECTIONS.get(key, ""), key))
        if key == "references":
            section = "proxy"  # taken out again: it is a section of its own
        if not section:
            hint = did_you_mean(key, [*_KEY_SECTIONS, *_RENAMED, "references"])
            raise SpecError(
                f"{_SOURCE}: there is no keyword '{key}'{': ' + hint if hint else '.'} It takes "
                "those of its signature and the keys of [study], [model] and [proxy] in a spec"
            )
        if key in FUNCTION_KEYS and not isinstance(value, str):
            value = self._reference(key, value)
        elif isinstance(value, Mapping) and key == "references":
            value = {
                each: self._reference(each, item) if callable(item) else _plain(item)
                for each, item in value.items()
            }
        self.sections[section][name] = _plain(value)

    def _set_data(self, data: Any, target: Any) -> None:
        if isinstance(data, str | Path):
            self.sections["proxy"]["data"] = str(data)
            return
        if target is not None:
            data = _split_target(data, str(target))
        if callable(data) and not _has_rows(data):
            self.sections["proxy"]["data"] = self._reference("data", data)
            return
        if data is None or isinstance(data, int | float | bool):
            raise SpecError(
                f"{_SOURCE}: data is {describe_type(data)}, expected (x, y), pairs of training, "
                "validation and test, a table with target=, a loader, a function, a file or a name"
            )
        self.sections["proxy"]["data"] = self._hold(GivenData(data), "data", data)

    def _reference(self, key: str, value: Any) -> str:
        if not callable(value):
            raise SpecError(
                f"{_SOURCE}: {key} is {describe_type(value)}, expected a function, or its "
                "reference as FILE.py:name"
            )
        name = getattr(value, "__name__", type(value).__name__)
        return importable_reference(value) or self._hold(value, str(name))

    def _hold(self, value: object, name: str, content: object = None) -> str:
        reference = hold(value, name, content)
        self.held.append(reference)
        return reference

    def _widths(self, widths: Any, family: Any, data: Any) -> dict[str, Any]:
        if widths is None:
            if family not in FAMILIES:
                raise SpecError(
                    f"{_SOURCE}: widths are missing, expected a mapping such as "
                    '{"hidden": range(8, 257, 8)}, or a widthwise.Space'
                )
            return default_widths(str(family), _row_count(data))
        if isinstance(widths, Space):
            return _space_section(widths)
        if isinstance(widths, Sequence) and all(isinstance(each, Width) for each in widths):
            return {each.name: _width_entry(each) for each in widths}
        if not isinstance(widths, Mapping):
            raise SpecError(
                f"{_SOURCE}: widths is {describe_type(widths)}, expected a mapping from names to "
                "ranges, choices or widthwise.Width, or a widthwise.Space"
            )
        return {str(name): _width_entry(entry) for name, entry in widths.items()}


def importable_reference(function: Callable[..., Any]) -> str | None:
    """Return the reference by which any process can load a function; None where there is none."""
    name, module_name = getattr(function, "__qualname__", ""), getattr(function, "__module__", None)
    module = sys.modules.get(module_name or "")
    if module is None or module_name == "__main__" or not name.isidentifier():
        return None
    if getattr(module, name, None) is not function:
        return None
    if "." in module.__name__:
        # Its neighbours are imported by way of the package.
        try:
            spec = importlib.util.find_spec(module.__name__)
        except (ImportError, ValueError):
            return None
        return None if spec is None else f"{module.__name__}:{name}"
    try:
        path = Path(inspect.getfile(module)).resolve()
    except TypeError:
        return None
    return f"{path}:{name}" if path.suffix == ".py" and path.is_file() else None


def _default_name(given: Mapping[str, Any]) -> str:
    source = given.get("build") or given.get("train") or given.get("family")
    if isinstance(source, str):
        return source.rpartition(":")[2]
    found = str(getattr(source, "__name__", type(source).__name__))
    return found if found.isidentifier() else "search"


def _limits(limits: Any) -> dict[str, Any]:
    if isinstance(limits, Limits):
        return dict(limits.as_dict())
    if isinstance(limits, Mapping):
        return {str(name): _plain(bound) for name, bound in limits.items() if bound is not None}
    raise SpecError(
        f"{_SOURCE}: limits is {describe_type(limits)}, expected a mapping such as "
        '{"flops": "2M"}, or widthwise.Limits'
    )


def _width_entry(entry: Any) -> Any:
    """Return a width as `[widths]` has it; what is none is left for the spec's check to refuse."""
    if isinstance(entry, Width):
        present = [value for value in entry.values if value != ABSENT]
        optional = {"optional": True} if entry.optional else {}
        steps = {int(step) for step in np.diff(present)}
        if len(steps) == 1:
            ends = {"low": entry.low, "high": entry.high, "step": steps.pop()}
            return {**ends, "scale": entry.scale, **optional}
        return {"choices": present, "scale": entry.scale, **optional}
    if isinstance(entry, range):
        if len(entry) > 1 and entry.step > 0:
            return {"low": entry.start, "high": entry[-1], "step": entry.step}
        return list(entry)
    return _plain(entry)


def _space_section(space: Space) -> dict[str, Any]:
    section: dict[str, Any] = {width.name: _width_entry(width) for width in space.widths}
    orders: list[dict[str, Any]] = []
    ties: list[list[str]] = []
    divisible: dict[str, list[str]] = {}
    absent_last: list[list[str]] = []
    for constraint in space.constraints:
        if isinstance(constraint, Order):
            orders.append(
                {"direction": str(constraint.direction), "widths": list(constraint.names)}
            )
        elif isinstance(constraint, Tie):
            ties.append(list(constraint.names))
        elif isinstance(constraint, AbsentLast):
            absent_last.append(list(constraint.names))
        else:
            assert isinstance(constraint, Divisible)
            divisible.setdefault(constraint.name, []).append(constraint.by)
    named = {
        "order": orders,
        "tie": ties,
        "divisible": divisible,
        "absent_last": absent_last,
    }
    return section | {key: value for key, value in named.items() if value}


def _plain(value: Any) -> Any:
    """Return a value as TOML could hold it: numpy's numbers and arrays as Python's own."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def _is_table(data: Any) -> bool:
    """Return whether data are tables, of which `target` names a column."""
    parts = data if isinstance(data, tuple | list) else [data]
    return bool(len(parts)) and all(hasattr(part, "columns") for part in parts)


def _split_target(data: Any, target: str) -> Any:
    """Return tables as pairs of inputs and the column to predict."""
    parts = list(data) if isinstance(data, tuple | list) else [data]
    for part in parts:
        if target not in part.columns:
            columns = [str(column) for column in part.columns]
            hint = did_you_mean(target, columns) or f"its columns are {', '.join(columns[:10])}"
            raise SpecError(f"{_SOURCE}: target is '{target}', no column of the table; {hint}")
    pairs = [(part.drop(columns=[target]), part[target]) for part in parts]
    return tuple(pairs) if isinstance(data, tuple | list) else pairs[0]


def _has_rows(data: Any) -> bool:
    """Return whether something that can be called is a data set all the same."""
    return hasattr(data, "__getitem__") or hasattr(data, "__iter__")


def _row_count(data: Any) -> int | None:
    """Return how many rows a table or arrays in memory have; None where that is not known."""
    first = data
    while isinstance(first, tuple | list) and len(first) and not np.isscalar(first[0]):
        first = first[0]
    shape = getattr(first, "shape", None)
    return int(shape[0]) if shape else None
