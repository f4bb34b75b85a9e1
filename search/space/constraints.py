"""Constraints between widths: order, ties and divisibility.

Each constraint is a set of links between two widths at a time, and holds where every link holds.
So a space only needs to know which pairs of values a link allows.

    Order(("hidden1", "hidden2", "hidden3"), "non-increasing")
    Tie(("encoder", "decoder"))
    Divisible("d_model", by="heads")
    AbsentLast(("hidden2", "hidden3"))

A layer that is absent has the width 0. An order compares it as the number that it is: of widths
that never rise, all after an absent one are absent. Tied widths are absent together. What is absent
divides everything and is divided by everything.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, final

import numpy as np
import numpy.typing as npt

from ..errors import SpecError
from .width import Width


class OrderDirection(enum.StrEnum):
    """How neighbouring widths compare.

    Attributes:
        NON_INCREASING: Each is at most the one before it.
        NON_DECREASING: Each is at least the one before it.
    """

    NON_INCREASING = "non-increasing"
    NON_DECREASING = "non-decreasing"


@final
@dataclass(frozen=True)
class Order:
    """Neighbouring widths never rise, or never fall, in the given order."""

    names: tuple[str, ...]
    """The widths in order, at least two."""
    direction: OrderDirection
    """Which way; its text, "non-increasing" or "non-decreasing", will do."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", _checked_names("order", self.names))
        if self.direction not in tuple(OrderDirection):
            raise SpecError(
                f"order is {self.direction!r}, expected 'non-increasing' or 'non-decreasing'"
            )
        object.__setattr__(self, "direction", OrderDirection(self.direction))

    def links(self) -> list[tuple[str, str]]:
        """Return the pairs of widths that the constraint compares."""
        return list(pairwise(self.names))

    def holds(self, first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return where the two values of a link keep the constraint; the arrays broadcast."""
        if self.direction is OrderDirection.NON_INCREASING:
            return np.greater_equal(first, second)
        return np.less_equal(first, second)

    def requirement(self, first: str, second: str) -> str:
        """Return what the constraint requires of a link, for a sentence."""
        bound_word = "most" if self.direction is OrderDirection.NON_INCREASING else "least"
        return f"{second} must be at {bound_word} {first}"

    def __str__(self) -> str:
        return f"order = {str(self.direction)!r} over {', '.join(self.names)}"


@final
@dataclass(frozen=True)
class Tie:
    """All these widths are equal."""

    names: tuple[str, ...]
    """The widths that move together, at least two."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", _checked_names("tie", self.names))

    def links(self) -> list[tuple[str, str]]:
        """Return the pairs of widths that the constraint compares."""
        return list(pairwise(self.names))

    def holds(self, first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return where the two values of a link keep the constraint; the arrays broadcast."""
        return np.equal(first, second)

    def requirement(self, first: str, second: str) -> str:
        """Return what the constraint requires of a link, for a sentence."""
        return f"{second} must equal {first}"

    def __str__(self) -> str:
        return f"tie of {', '.join(self.names)}"


@final
@dataclass(frozen=True)
class Divisible:
    """One width is a whole multiple of another, as a model's width is of its number of heads."""

    name: str
    """The width that is divided."""
    by: str
    """The width that divides it without a remainder."""

    def __post_init__(self) -> None:
        _checked_names("divisible", (self.name, self.by))

    @property
    def names(self) -> tuple[str, ...]:
        """The two widths."""
        return (self.name, self.by)

    def links(self) -> list[tuple[str, str]]:
        """Return the pairs of widths that the constraint compares."""
        return [(self.name, self.by)]

    def holds(self, first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return where the two values of a link keep the constraint; the arrays broadcast."""
        # Nothing is divided by 0: an absent layer asks nothing of another.
        is_there = np.not_equal(second, 0)
        divisor = np.where(is_there, second, 1)
        return np.asarray(np.equal(np.remainder(first, divisor), 0) | ~is_there)

    def requirement(self, first: str, second: str) -> str:
        """Return what the constraint requires of a link, for a sentence."""
        return f"{first} must be divisible by {second}"

    def __str__(self) -> str:
        return f"{self.name} divisible by {self.by}"


@final
@dataclass(frozen=True)
class AbsentLast:
    """Of layers that are built alike and may be absent, the last ones are absent first.

    A network without its second of three layers and one without its third are the same where their
    values are: so it stands in the space once.
    """

    names: tuple[str, ...]
    """The widths in the order of their layers, at least two."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", _checked_names("absent last", self.names))

    def links(self) -> list[tuple[str, str]]:
        """Return the pairs of widths that the constraint compares."""
        return list(pairwise(self.names))

    def holds(self, first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return where the two values of a link keep the constraint; the arrays broadcast."""
        return np.asarray(np.not_equal(first, 0) | np.equal(second, 0))

    def requirement(self, first: str, second: str) -> str:
        """Return what the constraint requires of a link, for a sentence."""
        return f"{second} must be absent (0) where {first} is: that is the same network"

    def __str__(self) -> str:
        return f"absent last, of {', '.join(self.names)}"


Constraint = Order | Tie | Divisible | AbsentLast


def _checked_names(kind: str, names: Any) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise SpecError(f"{kind} names {names!r}, expected a list of width names")
    if len(set(names)) < len(names):
        raise SpecError(f"{kind} names a width twice in {', '.join(names)}; name each once")
    if len(names) < 2:
        raise SpecError(
            f"{kind} names {', '.join(names) or 'no width'}, expected at least two widths"
        )
    return tuple(names)


def check_names(widths: Sequence[Width], constraints: Sequence[Constraint]) -> None:
    """Raise SpecError if there is no width, two have one name, or a constraint names none."""
    names = [width.name for width in widths]
    if not names:
        raise SpecError("the space has no widths; give at least one")
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"width {name!r} is declared {names.count(name)} times; rename one")
    if all(width.optional for width in widths):
        raise SpecError(
            f"{', '.join(names)} {'is' if len(names) == 1 else 'are all'} optional, so that no "
            "layer might be left; take optional = true from one width"
        )
    for constraint in constraints:
        for name in constraint.names:
            if name not in names:
                raise SpecError(f"{constraint}: {describe_unknown_name(name, names)}")


def check_exact_names(given_names: Iterable[str], names: Sequence[str]) -> None:
    """Raise SpecError unless the names found are exactly the widths' names, in any order."""
    given_names = list(given_names)
    for name in given_names:
        if name not in names:
            raise SpecError(describe_unknown_name(name, names))
    for name in names:
        if name not in given_names:
            raise SpecError(f"width {name!r} has no value; give one for each of {', '.join(names)}")


def describe_unknown_name(name: str, names: Sequence[str]) -> str:
    """Return the sentence for a name that is no width's."""
    close_matches = get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {close_matches[0]!r}?" if close_matches else ""
    return f"there is no width {name!r} among {', '.join(names)}{hint}"
