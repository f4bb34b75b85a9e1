"""A spec without a spec file: `widthwise run --data FILE` and the flags that override a spec."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Two hidden layers are the usual choice for tabular data; the search finds how wide.
_MLP_WIDTHS = {
    "hidden1": {"low": 8, "high": 512, "step": 8},
    "hidden2": {"low": 8, "high": 512, "step": 8},
    "order": "non-increasing",
}
_CNN_WIDTHS = {
    "channels1": {"low": 4, "high": 64, "step": 4},
    "channels2": {"low": 4, "high": 128, "step": 4},
    "order": "non-decreasing",
}
_DEFAULT_TRIALS = 30


@dataclass(frozen=True, kw_only=True)
class DataRunOptions:
    """What `run --data` was told.

    Attributes:
        data: A file or a built-in set.
        target: The column to predict.
        task: None to recognise it from the target.
        metric: None for the task's own.
        family: "mlp" or "cnn".
        epochs: Of each trial.
    """

    data: str
    target: str | None
    task: str | None
    metric: str | None
    family: str
    epochs: int


def sections_from_data(options: DataRunOptions) -> dict[str, Any]:
    """The sections of the spec that a search of a data file amounts to."""
    proxy = {
        "data": options.data,
        "target": options.target,
        "task": options.task,
        "metric": options.metric,
        "epochs": options.epochs,
    }
    return {
        "study": {"name": _study_name_from(options.data), "trials": _DEFAULT_TRIALS},
        "model": {"family": options.family},
        "widths": deepcopy(_CNN_WIDTHS if options.family == "cnn" else _MLP_WIDTHS),
        "proxy": {key: value for key, value in proxy.items() if value is not None},
    }


def _study_name_from(data: str) -> str:
    """A study's name from a file's: its letters, digits, dots and dashes."""
    return re.sub(r"[^\w.-]+", "-", Path(data).stem).strip("-") or "data"


def override_sections(
    sections: Mapping[str, Any],
    *,
    name: str | None,
    trials: int | None,
    seed: int | None,
    limits: Mapping[str, str | None],
) -> dict[str, Any]:
    """The sections with the flags' values in place of the file's."""
    changed = dict(sections)
    flags = {"study": {"name": name, "trials": trials, "seed": seed}, "limits": limits}
    for section, values in flags.items():
        set_flags = {key: value for key, value in values.items() if value is not None}
        current = changed.get(section, {})
        # A section that is no table is left for the validation to say so.
        if set_flags and isinstance(current, dict):
            changed[section] = {**current, **set_flags}
    return changed
