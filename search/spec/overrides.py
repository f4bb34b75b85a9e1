"""Overrides: a spec with some keys changed, each named with its section: `proxy.learning_rate`.

Entry point: `with_overrides`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ..errors import SpecError
from .messages import error_messages
from .spec import Spec


def with_overrides(spec: Spec, overrides: Mapping[str, Any]) -> Spec:
    """Return a spec with keys changed, checked as any spec is.

    Args:
        spec: A valid spec.
        overrides: Keys with dots to their new values; None takes a key away.

    Raises:
        SpecError: There is no such key, or it cannot have that value.

    Example:
        `with_overrides(spec, {"proxy.epochs": 90, "proxy.halving": None})`
    """
    values = json.loads(spec.to_json())
    for key, value in overrides.items():
        *sections, name = key.split(".")
        table = values
        for section in sections:
            table = table.setdefault(section, {}) if isinstance(table, dict) else None
        if not isinstance(table, dict) or not sections:
            raise SpecError(f"{key}: there is no such key in a spec; expected SECTION.KEY")
        if value is None:
            table.pop(name, None)
        else:
            table[name] = value
    try:
        return Spec.model_validate_json(json.dumps(values), strict=False)
    except ValidationError as error:
        raise SpecError("\n".join(error_messages(error, Spec, "overrides"))) from error
