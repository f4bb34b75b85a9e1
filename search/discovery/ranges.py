"""Ranges to search the widths of a model in: from a quarter of today's size to double.

A step is a multiple of what the width must be a multiple of, and of 8, as kernels like it, where
today's size is one, too. So today's model is always a candidate.

    {"low": 64, "high": 512, "step": 16}       # of 256

Entry points: `search_ranges`, `depth_ranges`; `with_ranges`, which completes the sections of a
spec, and `load_complete_spec`, which reads a spec file so.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import lcm
from pathlib import Path
from typing import Any

from ...objectives.discovery.groups import Discovery
from ..errors import SpecError
from ..space.width import MAX_WIDTH
from ..spec.sections import ModelSection
from ..spec.spec import Spec, parse_spec, read_toml
from .builder import discovered

_GOOD_FACTORS = (8, 4, 2, 1)
"""Factors of a step that are tried, the best first: 8 fills the tiles of matrix kernels."""

_LEAST_STEPS = 4
"""Steps in today's size at least, where it can be: a quarter of it is then a candidate."""

_MOST_VALUES = 64
"""Values of a range at most, where steps that divide today's size allow it."""


def search_range(size: int, multiple_of: int) -> dict[str, int]:
    """Return the range that a width is searched in, as the spec writes it.

    Args:
        size: Today's.
        multiple_of: What the width must be a multiple of; it divides the size.
    """
    steps = [lcm(multiple_of, factor) for factor in _GOOD_FACTORS]
    fitting = [step for step in steps if size % step == 0 and size // step >= _LEAST_STEPS]
    step = fitting[0] if fitting else multiple_of
    # 2 × size - size / 4 are seven quarters.
    while 7 * size > 4 * _MOST_VALUES * step and size % (2 * step) == 0:
        step *= 2
    low = max(step, -(-size // (4 * step)) * step)
    return {"low": low, "high": max(size, min(2 * size, MAX_WIDTH // step * step)), "step": step}


def search_ranges(discovery: Discovery) -> dict[str, dict[str, int]]:
    """Return the range of each width, by its name."""
    return {group.name: search_range(group.size, group.multiple_of) for group in discovery.groups}


def depth_ranges(discovery: Discovery) -> dict[str, dict[str, int]]:
    """Return the range of each number of blocks, by its name."""
    return {
        depth.name: {"low": max(1, depth.size // 4), "high": 2 * depth.size}
        for depth in discovery.depths
    }


def with_ranges(sections: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a spec's sections with `[widths]` put in, where a model is discovered without them.

    Args:
        sections: As in the file; what is wrong with them is left for the spec to say.
        folder: Folder that references are relative to.

    Raises:
        SpecError: `[model]` is wrong, says nothing of inputs, or the model has no width to search.
        ObjectiveError: The model cannot be loaded, built, called or analysed.
    """
    model = sections.get("model")
    if sections.get("widths") or not isinstance(model, Mapping) or not model.get("discover"):
        return dict(sections)
    try:
        section = ModelSection.model_validate(dict(model))
    except ValueError:
        return dict(sections)
    discovery = discovered(section, folder).discovery
    require_widths(discovery, str(model["discover"]))
    return {**sections, "widths": search_ranges(discovery)}


def load_complete_spec(path: Path) -> Spec:
    """Read and validate a `.toml` spec, which may leave the widths of a discovered model out.

    Raises:
        SpecError: The file cannot be read, is no TOML, or is no valid spec.
        ObjectiveError: The model cannot be loaded, built, called or analysed.
    """
    return parse_spec(with_ranges(read_toml(path), path.resolve().parent), source=str(path))


def require_widths(discovery: Discovery, reference: str) -> None:
    """Check that there is a width to search.

    Raises:
        SpecError: All layers of the model are fixed.
    """
    if discovery.groups:
        return
    reasons = "; ".join(
        f"{layer.module or 'the model'}: {layer.reason}" for layer in discovery.fixed[:3]
    )
    more = len(discovery.fixed) - 3
    raise SpecError(
        f"{reference} has no width to search ({reasons or 'it has no layer with parameters'}"
        f"{f'; and {more} more layers' if more > 0 else ''}); `widthwise discover` lists all "
        "layers; write a build(widths) of your own where these sizes may change"
    )
