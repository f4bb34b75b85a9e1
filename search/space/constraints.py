"""Constraints between widths: order, ties and divisibility.

Each constraint is a set of links between two widths at a time, and holds where every link holds.
So a space only needs to know which pairs of values a link allows.

    Order(("hidden1", "hidden2", "hidden3"), "non-increasing")
    Tie(("encoder", "decoder"))
    Divisible("d_model", by="heads")
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from ..errors import SpecError

OrderDirection = Literal["non-increasing", "non-decreasing"]


@final
@dataclass(frozen=True)
class Order:
    """Neighbouring widths never rise, or never fall, in the given order."""

    names: tuple[str, ...]
    """The widths in order, at least two."""
    direction: OrderDirection
    """``non-increasing``: each is at most the one before it; ``non-decreasing``: at least."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", _checked_names("order", self.names))
        if self.direction not in ("non-increasing", "non-decreasing"):
            raise SpecError(
                f"order is {self.direction!r}, expected 'non-increasing' or 'non-decreasing'"
            )

    def links(self) -> list[tuple[str, str]]:
        """The pairs of widths the constraint speaks of."""
        return list(pairwise(self.names))

    def holds(self, first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Where a link's two values agree with the constraint; the arrays broadcast."""
        if self.direction == "non-increasing":
            return np.greater_equal(first, second)
        return np.less_equal(first, second)

    def requirement(self, first: str, second: str) -> str:
        """What the constraint asks of a link, for a sentence."""
        bound_word = "most" if self.direction == "non-increasing" else "least"
        return f"{second} must be at {bound_word} {first}"

    def __str__(self) -> str:
        return f"order = {self.direction!r} over {', '.join(self.names)}"


@final
@dataclass(frozen=True)
class Tie:
    """All these widths are equal."""

    names: tuple[str, ...]
    """The widths that move together, at least two."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", _checked_names("tie", self.names))

    def links(self) -> list[tuple[str, str]]:
        """The pairs of widths the constraint speaks of."""
        return list(pairwise(self.names))

    def holds(self, first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Where a link's two values agree with the constraint; the arrays broadcast."""
        return np.equal(first, second)

    def requirement(self, first: str, second: str) -> str:
        """What the constraint asks of a link, for a sentence."""
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
        """The pairs of widths the constraint speaks of."""
        return [(self.name, self.by)]

    def holds(self, first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Where a link's two values agree with the constraint; the arrays broadcast."""
        return np.equal(np.remainder(first, second), 0)

    def requirement(self, first: str, second: str) -> str:
        """What the constraint asks of a link, for a sentence."""
        return f"{first} must be divisible by {second}"

    def __str__(self) -> str:
        return f"{self.name} divisible by {self.by}"


Constraint = Order | Tie | Divisible


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
