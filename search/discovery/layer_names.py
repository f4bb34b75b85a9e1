"""Paths of layers for people: those of repeated blocks in one word.

    short_paths(["blocks.0.fc1", "blocks.1.fc1", "head"])       # ["blocks.0–1.fc1", "head"]

Entry point: `short_paths`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBER = re.compile(r"(?<![^.])[0-9]+(?![^.])")

WHOLE_MODEL = "(the model)"
"""What the model itself is called, whose path is empty."""


def short_paths(paths: Iterable[str]) -> list[str]:
    """Return dotted paths, in their order, those that differ in block numbers only as one.

    Numbers are joined where they are all of a row: 0, 1 and 2 are `0–2`, 0 and 2 are `0,2`. Paths
    with several numbers are joined by the first that differs.
    """
    joined = list(dict.fromkeys(paths))
    while (shorter := _join_once(joined)) != joined:
        joined = shorter
    return [path or WHOLE_MODEL for path in joined]


def _join_once(paths: list[str]) -> list[str]:
    """Return the paths with those joined that differ in the last number which tells some apart."""
    most = max((len(_NUMBER.findall(path)) for path in paths), default=0)
    for place in reversed(range(most)):
        members: dict[str, list[tuple[str, int]]] = {}
        for path in paths:
            numbers = list(_NUMBER.finditer(path))
            if place >= len(numbers):
                members.setdefault(path, []).append((path, -1))
                continue
            start, end = numbers[place].span()
            key = f"{path[:start]}\0{path[end:]}"
            members.setdefault(key, []).append((path, int(numbers[place][0])))
        if len(members) < len(paths):
            return [
                entries[0][0]
                if len(entries) == 1
                else key.replace("\0", _join_numbers([number for _, number in entries]))
                for key, entries in members.items()
            ]
    return paths


def _join_numbers(numbers: list[int]) -> str:
    ordered = sorted(numbers)
    if ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]}–{ordered[-1]}"
    return ",".join(map(str, ordered))
