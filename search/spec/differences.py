"""What two specs say differently, key by key, where it matters to a study's results.

Entry points: `differing_keys`, and `describe_differences`, the same in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .messages import format_value
from .spec import Spec

KEYS_WITHOUT_EFFECT = (
    ("study", "name"),
    ("study", "trials"),
    ("study", "trackers"),
    ("proxy", "device"),
    ("proxy", "data_on"),
    ("proxy", "engine"),
    ("proxy", "at_once"),
)
"""Keys of a spec that change no result."""

_MAX_LISTED = 12


def differing_keys(spec: Spec, stored: Spec) -> dict[str, tuple[Any, Any]]:
    """Return what a spec says otherwise than a stored one: both values by key, None for none.

    A stored spec is complete: the metric that the task implies is written into it, and numbers
    stand where a limit was a share. What the new one leaves open there is no difference.
    """
    new, old = _flatten(spec), _flatten(stored)
    left_open = {f"limits.{name}" for name in spec.limits.relative_bounds}
    if spec.proxy.metric is None:
        left_open.add("proxy.metric")
    left_open |= {".".join(path) for path in KEYS_WITHOUT_EFFECT}
    return {
        key: (new.get(key), old.get(key))
        for key in dict.fromkeys([*new, *old])
        if key not in left_open and new.get(key) != old.get(key)
    }


def describe_differences(differences: Mapping[str, tuple[Any, Any]]) -> str:
    """Return each key with both values: `proxy.epochs is 30 here and 20 there; …`."""
    parts = [
        f"{key} is {_describe(here)} here and {_describe(there)} there"
        for key, (here, there) in differences.items()
    ]
    remainder = len(parts) - _MAX_LISTED
    more = [f"{remainder} more"] if remainder > 0 else []
    return "; ".join([*parts[:_MAX_LISTED], *more])


def _describe(value: Any) -> str:
    return "not set" if value is None else format_value(value)


def _flatten(spec: Spec) -> dict[str, Any]:
    return dict(_leaves(spec.model_dump(mode="json", exclude_none=True), ""))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, nested in value.items():
            yield from _leaves(nested, f"{path}.{key}" if path else key)
    elif value != []:
        yield path, value
