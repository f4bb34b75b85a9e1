"""Shapes of inputs as people write them: `31`, `3x32x32`, `128:int64`.

Entry points: `parse_input_shape`, `InputShape`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..space.width import MAX_WIDTH

INPUT_TYPES = ("float32", "int64")
"""Types of an input's elements, torch's names for them."""


@dataclass(frozen=True, kw_only=True)
class InputShape:
    """One input of a model.

    Attributes:
        sizes: Of one sample; empty for a number.
        type_name: Of `INPUT_TYPES`.
    """

    sizes: tuple[int, ...]
    type_name: str = "float32"


def parse_input_shape(text: str) -> InputShape:
    """Parse the shape and type of one sample.

    Raises:
        ValueError: It is none; the sentence says what is expected.
    """
    shape, _, type_name = text.partition(":")
    sizes = re.split(r"[x×,]", shape) if shape else []
    is_shape = all(
        re.fullmatch(r"[1-9][0-9]{0,9}", size) and int(size) <= MAX_WIDTH for size in sizes
    )
    if not is_shape or (type_name or "float32") not in INPUT_TYPES:
        raise ValueError(
            f'found "{text[:60]}", expected the shape of one sample such as 31, 3x32x32 or '
            f"128:int64 (types: {', '.join(INPUT_TYPES)})"
        )
    return InputShape(sizes=tuple(map(int, sizes)), type_name=type_name or "float32")
