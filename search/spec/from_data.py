"""A spec without a spec file: `widthwise run --data FILE` and the flags that override a spec."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields
from pathlib import Path
from typing import Any

from ...objectives.data.load import read_source
from ...objectives.data.read_options import ReadOptions
from ...objectives.errors import ObjectiveError
from ...objectives.model.family_registry import FAMILIES

_DEFAULT_TRIALS = 30
_MAX_COUNTED_BYTES = 2**20  # larger files are not read twice
_MIN_HIGH = 64


def sections_from_data(data: str, *, family: str, **proxy: object) -> dict[str, Any]:
    """Return the sections of the spec that a search of a data file amounts to.

    Args:
        data: A file or a built-in set.
        family: Name of a built-in family.
        **proxy: Other keys of the section `[proxy]`, such as target; None leaves one out.

    Hidden layers are searched up to as many neurons as the data has rows: with those a network can
    give each of the rows any target (Huang and Babri, 1998, doi 10.1109/72.655045), and wider ones
    of a few rows cost minutes to learn them by heart.
    """
    return {
        "study": {"name": _study_name_from(data), "trials": _DEFAULT_TRIALS},
        "model": {"family": family},
        "widths": default_widths(family, _count_few_rows(data, proxy)),
        "proxy": {
            "data": data,
            **{key: value for key, value in proxy.items() if value is not None},
        },
    }


def default_widths(family: str, rows: int | None) -> dict[str, Any]:
    """Return the widths that a family is searched with; the spec's check refuses an unknown one.

    Args:
        family: Its name.
        rows: Of a small table; None bounds nothing.
    """
    described = FAMILIES.get(family, FAMILIES["mlp"])
    widths = deepcopy(dict(described.default_widths))
    if rows is not None and not described.requires_images:
        highest = max(_MIN_HIGH, 2 ** (rows.bit_length() - 1))
        for entry in widths.values():
            if isinstance(entry, dict):
                entry["high"] = min(entry["high"], highest)
    return widths


def _count_few_rows(data: str, proxy: Mapping[str, object]) -> int | None:
    """Return how many rows a small table has; None for anything else.

    What is wrong with the data is said when it is loaded.
    """
    path = Path(data).expanduser()
    try:
        if ":" in data or (path.exists() and path.stat().st_size > _MAX_COUNTED_BYTES):
            return None
        given: dict[str, Any] = {
            field.name: proxy[field.name]
            for field in fields(ReadOptions)
            if proxy.get(field.name) is not None
        }
        target = proxy.get("target")
        raw = read_source(
            data,
            base=Path.cwd(),
            target=None if target is None else str(target),
            options=ReadOptions(**given),
        )
    except (ObjectiveError, OSError, ValueError, TypeError):
        return None
    return len(raw.inputs)


def _study_name_from(data: str) -> str:
    """Return a study's name from a file's: its letters, digits, dots and dashes."""
    return re.sub(r"[^\w.-]+", "-", Path(data).stem).strip("-") or "data"


def override_sections(
    sections: Mapping[str, Any],
    *,
    name: str | None,
    trials: int | str | None,
    goal: str | None = None,
    target: float | None = None,
    seed: int | None,
    device: str | None,
    limits: Mapping[str, str | None],
) -> dict[str, Any]:
    """Return the sections with the flags' values in place of the file's."""
    changed = dict(sections)
    flags = {
        "study": {"name": name, "trials": trials, "goal": goal, "target": target, "seed": seed},
        "limits": limits,
        "proxy": {"device": device},
    }
    for section, values in flags.items():
        set_flags = {key: value for key, value in values.items() if value is not None}
        current = changed.get(section, {})
        # A section that is no table is left for the validation to say so.
        if set_flags and isinstance(current, dict):
            changed[section] = {**current, **set_flags}
    return changed
