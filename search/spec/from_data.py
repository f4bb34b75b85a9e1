"""A spec without a spec file: `widthwise run --data FILE` and the flags that override a spec."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from ...objectives.model.family_registry import FAMILIES

_DEFAULT_TRIALS = 30


def sections_from_data(data: str, *, family: str, **proxy: object) -> dict[str, Any]:
    """Return the sections of the spec that a search of a data file amounts to.

    Args:
        data: A file or a built-in set.
        family: Name of a built-in family.
        **proxy: Other keys of the section `[proxy]`, such as target; None leaves one out.
    """
    return {
        "study": {"name": _study_name_from(data), "trials": _DEFAULT_TRIALS},
        "model": {"family": family},
        "widths": _default_widths(family),
        "proxy": {
            "data": data,
            **{key: value for key, value in proxy.items() if value is not None},
        },
    }


def _default_widths(family: str) -> dict[str, Any]:
    """Return the widths that a family is searched with; the spec's check refuses an unknown one."""
    return deepcopy(dict(FAMILIES.get(family, FAMILIES["mlp"]).default_widths))


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
