"""Which of a constructor's whole numbers is which width, found by building with other ones.

A number belongs to a group where two and three times the number give a model whose every parameter
and buffer has the shape that discovery says for two and three times that group's size and no other
change. Only shapes are compared; nothing is allocated.

Entry points: `match_integers`, `choose_matches`, `solve_sizes`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

from ..groups import DepthGroup, Discovery, Expression
from .construction import Integer

Shapes = Mapping[str, tuple[int, ...]]

_FACTORS = (2, 3)
"""What a number is multiplied by: a multiple keeps whatever divided it."""

_MOST_OTHERS = 6
"""Integers that are tried in pairs."""


@final
@dataclass(frozen=True)
class Built:
    """What is seen of a model that was built with other numbers.

    Attributes:
        shapes: Of every parameter and buffer, by qualified name.
        attributes: The values of the attributes that discovery has expressions for, as far as the
            model has them, by layer and name.
    """

    shapes: Shapes
    attributes: Mapping[tuple[str, str], Any]


@final
@dataclass(frozen=True)
class Match:
    """Whole numbers of one call that move groups, and nothing else.

    Attributes:
        groups: Names of the groups, or of one depth; their sizes move in proportion.
        integers: What moves them: one number, or two that must move together.
        agrees: Whether the attributes of the layers move as the flow of the data has it; where not,
            the same size comes about in another way, such as larger heads in place of more.
        is_union: Whether the group was several by the flow of the data.
    """

    groups: tuple[str, ...]
    integers: tuple[Integer, ...]
    agrees: bool = True
    is_union: bool = False

    def values(self, size: int, today: int) -> dict[Integer, int]:
        """Return the numbers for another size of the first group, given today's."""
        return {integer: integer.value * size // today for integer in self.integers}

    def step(self, today: int) -> int:
        """Return what the first group's size must be a multiple of for whole numbers."""
        return math.lcm(*(today // math.gcd(today, i.value) for i in self.integers))


def match_integers(
    integers: Sequence[Integer],
    discovery: Discovery,
    build: Callable[[Mapping[Integer, int]], Built | None],
) -> list[Match]:
    """Return which integers move groups or a depth and nothing else, in the order given.

    Two that move nothing alone, such as the heads of queries and those of keys, may together.

    Args:
        integers: Those that have no factor in common with a group's size are not tried.
        discovery: Of today's model.
        build: Returns what is built with other numbers, None where nothing can be.
    """
    alone = [
        integer
        for integer in integers
        if any(math.gcd(size, integer.value) > 1 for size in discovery.sizes.values())
    ]
    matches, others = [], []
    for integer in alone:
        match = _match((integer,), discovery, build)
        if match is not None:
            matches.append(match)
        elif _has_part(integer, discovery, build):
            others.append(integer)
    for pair in itertools.combinations(others[:_MOST_OTHERS], 2):
        if pair[0].call == pair[1].call:
            match = _match(pair, discovery, build)
            if match is not None:
                matches.append(match)
    return matches


def choose_matches(
    matches: Sequence[Match], discovery: Discovery, *, merging: bool
) -> dict[str, Match]:
    """Return a match for each group that has one, by the name of its first group.

    All are of one call, where one call has them all.

    Args:
        matches: In the order of preference.
        discovery: With the groups that are to be covered.
        merging: Whether groups that only move together may be one: those of a configuration that
            the model is saved with.
    """
    by_call: dict[str, dict[str, Match]] = {"function": {}, "root": {}}
    anyhow: dict[str, Match] = {}
    for match in sorted(matches, key=lambda match: (len(match.groups), not match.agrees)):
        one = match.agrees and len(match.groups) == 1
        one |= merging and match.integers[0].is_saved
        for own in (by_call[match.integers[0].call], anyhow):
            covered = {name for other in own.values() for name in other.groups}
            if one and covered.isdisjoint(match.groups):
                own[match.groups[0]] = match
    for own in by_call.values():
        covered = {name for match in own.values() for name in match.groups}
        if {group.name for group in discovery.groups} <= covered:
            return own
    return anyhow


def solve_sizes(discovery: Discovery, shapes: Shapes) -> dict[str, int] | None:
    """Return the sizes of all groups and depths that give a model's shapes, None for none.

    Args:
        discovery: Of today's model.
        shapes: Of every parameter and buffer of another one, by qualified name.
    """
    known: dict[str, int] = {
        depth.name: number for depth in discovery.depths if (number := _count(depth, shapes))
    }
    names = {group.name for group in discovery.groups}
    equations = [
        (expression, size)
        for name, dims in [*discovery.parameters.items(), *discovery.buffers.items()]
        if name in shapes and len(dims) == len(shapes[name])
        for expression, size in zip(dims, shapes[name], strict=True)
        if not expression.is_constant
    ]
    progress = True
    while progress and not names <= known.keys():
        progress = False
        for expression, size in equations:
            unknown = expression.groups - known.keys()
            if len(unknown) == 1:
                (name,) = unknown
                value = _solve(expression, name, known, size)
                if value is not None:
                    known[name] = value
                    progress = True
    if not names <= known.keys() or discovery.shapes(known) != dict(shapes):
        return None
    return known


def _match(
    integers: tuple[Integer, ...],
    discovery: Discovery,
    build: Callable[[Mapping[Integer, int]], Built | None],
) -> Match | None:
    """Return what integers move together, None where that is no group or more than groups."""
    today, moved, agrees = discovery.sizes, set[tuple[str, ...]](), True
    for factor in _FACTORS:
        built = build({integer: integer.value * factor for integer in integers})
        sizes = None if built is None else solve_sizes(discovery, built.shapes)
        if built is None or sizes is None:
            return None
        moved.add(tuple(name for name in today if sizes[name] != today[name]))
        agrees &= built.attributes == attribute_values(discovery, sizes)
        (names,) = moved if len(moved) == 1 else ((),)
        if not names or any(sizes[name] != factor * today[name] for name in names):
            return None
    depths = {depth.name for depth in discovery.depths}
    if len(names) > 1 and not depths.isdisjoint(names):
        return None
    return Match(names, integers, agrees)


def _has_part(
    integer: Integer,
    discovery: Discovery,
    build: Callable[[Mapping[Integer, int]], Built | None],
) -> bool:
    """Return whether an integer alone breaks the model, or moves a size that a group moves."""
    built = build({integer: integer.value * _FACTORS[0]})
    if built is None:
        return True
    today = discovery.shapes({})
    return any(
        new != old
        for name, dims in discovery.parameters.items()
        if name in built.shapes and len(built.shapes[name]) == len(dims)
        for expression, new, old in zip(dims, built.shapes[name], today[name], strict=True)
        if not expression.is_constant
    )


def attribute_values(
    discovery: Discovery, sizes: Mapping[str, int]
) -> dict[tuple[str, str], int | tuple[int, ...]]:
    """Return the attributes that carry a size, by layer and name, for sizes of all groups."""
    return {
        key: tuple(item.value(sizes) for item in value)
        if isinstance(value, tuple)
        else value.value(sizes)
        for key, value in discovery.attributes.items()
        if not any(
            key[0] == block or key[0].startswith(f"{block}.")
            for depth in discovery.depths
            for block in depth.blocks[sizes[depth.name] :]
        )
    }


def _solve(expression: Expression, name: str, known: Mapping[str, int], size: int) -> int | None:
    """Return the one size that gives an expression its value, where it stands in it linearly."""
    slope, rest = Fraction(0), Fraction(0)
    for term in expression.terms:
        factor = Fraction(term.coefficient, term.divisor)
        for group in term.groups:
            factor *= 1 if group == name else known[group]
        if term.groups.count(name) > 1:
            return None
        if name in term.groups:
            slope += factor
        else:
            rest += factor
    if slope == 0:
        return None
    value = (size - rest) / slope
    return int(value) if value.denominator == 1 and value > 0 else None


def _count(depth: DepthGroup, shapes: Shapes) -> int:
    """Return how many blocks of a list have a parameter or buffer."""
    return len(set(_positions(depth, shapes)))


def _positions(depth: DepthGroup, shapes: Shapes) -> Iterator[str]:
    prefix = f"{depth.path}."
    for name in shapes:
        if name.startswith(prefix):
            yield name.removeprefix(prefix).partition(".")[0]
