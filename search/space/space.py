"""The space: a finite lattice of widths, with order, tie and divisibility constraints.

A candidate is one width vector on the lattice. Everywhere below, candidates are int64 rows
[n, d] with one column per width in declared order; `as_mapping` and `as_row` go between rows and
the mappings that builders and storage take.

    space = Space(
        [Width.range("a", 16, 512, step=16), Width.range("b", 16, 512, step=16)],
        [Order(("a", "b"), "non-increasing")],
    )
    space.size                      # 528, of 32 × 32 without the order
    space.enumerate()               # all of them, lexicographic
    space.sample(1000, rng)         # uniform, however large the space is
    space.encode(candidates)        # positions in [0, 1] for a surrogate
    space.snap([100.0, 90.0])       # the nearest candidate

Counting, drawing and nearest points are exact at any size; see `decision_diagram` for how.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution

from ..errors import SpaceTooLarge, SpecError
from ..units import as_int
from .constraints import (
    AbsentLast,
    Constraint,
    Divisible,
    Order,
    Tie,
    check_exact_names,
    check_names,
)
from .decision_diagram import IntArray
from .variables import Variables, WidthCost, describe_conflict
from .width import ABSENT, MAX_WIDTH, Scale, Width, log_sizes

__all__ = [
    "MAX_ENUMERATED",
    "AbsentLast",
    "Constraint",
    "Divisible",
    "Order",
    "Scale",
    "Space",
    "Tie",
    "Width",
]

MAX_ENUMERATED = 2**20
"""Most candidates `Space.enumerate` lists: 8 MB a width, and a second of work."""

ABSENCE_DISTANCE = 1e6
"""Squared distance between an absent layer and one that is there, in `Space.snap`.

It is far more than any two widths that are there have, so that a layer is absent only where the
target is 0 or nothing else is left."""

SNAP_TOLERANCE = 1e-9
"""Relative slack of `Space.snap_down`, so that 0.29 × 100 = 28.99… still admits 29."""

CandidateLike = Mapping[str, int] | Sequence[int] | IntArray
TargetLike = Mapping[str, float] | Sequence[float] | npt.NDArray[np.float64]


@final
@dataclass(frozen=True)
class Space:
    """The candidates of some widths under constraints; never empty."""

    widths: tuple[Width, ...]
    """The searched widths, in the order builders receive them."""
    constraints: tuple[Constraint, ...] = ()
    """What holds between them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        object.__setattr__(self, "constraints", tuple(self.constraints))
        check_names(self.widths, self.constraints)
        if self.constraints and self._variables.is_empty:
            raise SpecError(describe_conflict(self.widths, self.constraints))
        for name in self.optional_names:
            self._check_may_be_absent(name)

    def __getstate__(self) -> dict[str, Any]:
        # What is computed from these two is cheaper to compute again than to send.
        return {"widths": self.widths, "constraints": self.constraints}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The widths' names, in declared order."""
        return tuple(width.name for width in self.widths)

    @cached_property
    def optional_names(self) -> tuple[str, ...]:
        """The names of the widths that may be 0, in declared order."""
        return tuple(width.name for width in self.widths if width.optional)

    @property
    def dimensions(self) -> int:
        """The number of widths."""
        return len(self.widths)

    @property
    def size(self) -> int:
        """The number of candidates, exact however large."""
        return self._variables.lattice.count

    def as_row(self, candidate: CandidateLike) -> IntArray:
        """Return the candidate as a row [d]; it need not be in the space.

        Raises:
            SpecError: a name is missing or unknown, or a value is no integer.
        """
        values = []
        for name, value in zip(self.names, self._in_declared_order(candidate), strict=True):
            if (number := as_int(value)) is None or abs(number) > MAX_WIDTH:
                raise SpecError(
                    f"width {name!r} is {value!r}, expected an integer of at most {MAX_WIDTH:,}"
                )
            values.append(number)
        return np.array(values, dtype=np.int64)

    def as_mapping(self, row: npt.ArrayLike) -> dict[str, int]:
        """Return the row [d] as name → Python int, in declared order."""
        return dict(zip(self.names, np.asarray(row).tolist(), strict=True))

    def contains(self, candidate: CandidateLike) -> bool:
        """Return whether the candidate is on the lattice and meets every constraint."""
        return self.explain(candidate) is None

    def contains_rows(self, candidates: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return which of the candidates [n, d] are in the space; [n]."""
        rows = np.asarray(candidates)
        columns = dict(zip(self.names, rows.T, strict=True))
        is_inside = np.ones(len(rows), dtype=np.bool_)
        for width in self.widths:
            is_inside &= np.isin(columns[width.name], width.values)
        for constraint in self.constraints:
            for first, second in constraint.links():
                is_inside &= constraint.holds(columns[first], columns[second])
        return is_inside

    def explain(self, candidate: CandidateLike) -> str | None:
        """Return why the candidate is not in the space, in one sentence; None if it is."""
        try:
            values_by_name = self.as_mapping(self.as_row(candidate))
        except SpecError as error:
            return str(error)
        for width in self.widths:
            if (reason := width.explain(values_by_name[width.name])) is not None:
                return reason
        for constraint in self.constraints:
            for first, second in constraint.links():
                if not constraint.holds(values_by_name[first], values_by_name[second]):
                    return (
                        f"{first} is {values_by_name[first]} and {second} is "
                        f"{values_by_name[second]}, but {constraint.requirement(first, second)}"
                    )
        return None

    def enumerate(self) -> IntArray:
        """Return every candidate once, in lexicographic order; [size, d].

        Raises:
            SpaceTooLarge: there are more than `MAX_ENUMERATED` candidates.
        """
        if self.size > MAX_ENUMERATED:
            raise SpaceTooLarge(
                f"the space has {self.size:,} candidates, more than the {MAX_ENUMERATED:,} that "
                "can be listed; draw a sample, or use larger steps"
            )
        return self._variables.to_rows(self._variables.lattice.points())

    def sample(self, count: int, rng: np.random.Generator) -> IntArray:
        """Return independent uniform candidates, with replacement; [count, d]."""
        return self._variables.to_rows(self._variables.lattice.sample(count, rng))

    def neighbours(self, candidate: CandidateLike) -> IntArray:
        """Return the next candidates down and up along each width, tied ones together; [m, d].

        The other widths are held; values that a constraint forbids are stepped over.

        Raises:
            SpecError: the candidate itself is not in the space.
        """
        if (reason := self.explain(candidate)) is not None:
            raise SpecError(reason)
        point = self._variables.to_point(self.as_row(candidate))
        return self._variables.to_rows(self._variables.lattice.neighbours(point))

    def encode(self, candidates: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return what a surrogate sees of candidates; [n, d + optional widths], or without n.

        Each width's position between low (0) and high (1) on its scale; after these, for each
        optional width, 1 where the layer is absent and 0 where it is there.
        """
        rows = np.asarray(candidates)
        positions = [width.encode(rows[..., column]) for column, width in enumerate(self.widths)]
        absences = [
            np.asarray(rows[..., column] == ABSENT, dtype=np.float64)
            for column, width in enumerate(self.widths)
            if width.optional
        ]
        return np.stack([*positions, *absences], axis=-1)

    def smallest(self) -> IntArray:
        """Return the candidate with the least sum of log2, absent layers an octave below 1; [d]."""
        return self._min_cost_row(lambda _column, values: log_sizes(values))

    def largest(self) -> IntArray:
        """Return the candidate with the greatest sum of log2; [d]."""
        return self._min_cost_row(lambda _column, values: -log_sizes(values))

    def snap(self, target: TargetLike) -> IntArray:
        """Return the candidate nearest to positive numbers, by distance of encodings; [d].

        A layer is absent where its target is 0, or where the constraints leave nothing else. Which
        of several equally near ones it is never changes.

        Raises:
            SpecError: a name is missing or unknown, or a number is not positive.
        """
        numbers = self._positive_numbers(target)

        def cost(column: int, values: IntArray) -> npt.NDArray[np.float64]:
            width, number = self.widths[column], numbers[column]
            distance = (width.encode(values) - width.encode(number)) ** 2
            agrees = (values == ABSENT) == (number == ABSENT)
            return np.where(agrees, distance, ABSENCE_DISTANCE)

        return self._min_cost_row(cost)

    def snap_down(self, target: TargetLike) -> IntArray | None:
        """Return the candidate with the greatest sum of log2 and no width above the target.

        Returns:
            The row [d], or None where there is none.

        Raises:
            SpecError: a name is missing or unknown, or a number is not positive.
        """
        bounds = self._positive_numbers(target) * (1 + SNAP_TOLERANCE)

        def cost(column: int, values: IntArray) -> npt.NDArray[np.float64]:
            return np.where(values <= bounds[column], -log_sizes(values), np.inf)

        point = self._variables.min_cost_point(cost)
        return None if point is None else self._variables.to_rows(point)

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return Optuna's description of each width by itself; it cannot state the constraints."""
        return {width.name: width.distribution() for width in self.widths}

    @cached_property
    def _variables(self) -> Variables:
        return Variables(self.widths, self.constraints)

    def _min_cost_row(self, cost: WidthCost) -> IntArray:
        point = self._variables.min_cost_point(cost)
        assert point is not None, "finite costs on a space that is never empty"
        return self._variables.to_rows(point)

    def _positive_numbers(self, target: TargetLike) -> npt.NDArray[np.float64]:
        numbers = np.array(self._in_declared_order(target), dtype=np.float64)
        for width, number in zip(self.widths, numbers.tolist(), strict=True):
            if not (0 < number < np.inf or (width.optional and number == ABSENT)):
                raise SpecError(f"width {width.name!r} is {number}, expected a positive number")
        return numbers

    def _check_may_be_absent(self, name: str) -> None:
        """Raise SpecError if the constraints leave no candidate without an optional layer."""
        column = self.names.index(name)
        if (
            self._variables.min_cost_point(
                lambda other, values: (
                    np.where(values == ABSENT, 0.0, np.inf)
                    if other == column
                    else np.zeros(len(values))
                )
            )
            is not None
        ):
            return
        rules = [str(constraint) for constraint in self.constraints if name in constraint.names]
        raise SpecError(
            f"width {name!r} is optional, but no candidate without it meets "
            f"{' and '.join(f'({rule})' for rule in rules)}; make the widths beside it optional, "
            "too, or take optional = true away"
        )

    def _in_declared_order(
        self, numbers: Mapping[str, Any] | Sequence[Any] | npt.NDArray[Any]
    ) -> list[Any]:
        """Return the numbers in declared order; a mapping's names must be exactly the widths'."""
        if isinstance(numbers, Mapping):
            check_exact_names(numbers, self.names)
            return [numbers[name] for name in self.names]
        if len(numbers) != self.dimensions:
            raise SpecError(
                f"{len(numbers)} values given for {self.dimensions} widths "
                f"({', '.join(self.names)}); give one for each"
            )
        return list(numbers)
