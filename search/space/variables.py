"""The free variables of a space: its widths with the ties put in.

Tied widths share one variable, whose values are those that all of them have; every other width is
a variable of its own. The remaining constraints become tables of allowed pairs of values, and the
`Lattice` of those counts, lists and draws the points. Also here: the sentences for constraints
that name no width, or that contradict one another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import numpy as np
import numpy.typing as npt

from ..errors import SpaceTooLarge
from .constraints import Constraint, Tie
from .decision_diagram import MAX_WORK_STEPS, IntArray, Relation
from .lattice import Lattice, connected_components
from .width import Width

WidthCost = Callable[[int, IntArray], npt.NDArray[np.float64]]
"""Given a width's column and some of its values, what each would cost; [values] → [values]."""


@final
class Variables:
    """Variables, their values and their lattice, for some widths under constraints."""

    def __init__(self, widths: Sequence[Width], constraints: Sequence[Constraint]) -> None:
        """Put the ties in and work out which pairs of values the other constraints allow."""
        columns = {width.name: column for column, width in enumerate(widths)}
        ties = [
            (columns[first], columns[second])
            for constraint in constraints
            if isinstance(constraint, Tie)
            for first, second in constraint.links()
        ]
        self.member_columns = connected_components(len(widths), ties)
        self.values: list[IntArray] = [
            np.array(
                sorted(set.intersection(*(set(widths[column].values) for column in members))),
                dtype=np.int64,
            )
            for members in self.member_columns
        ]
        self._variable_by_column = {
            column: variable
            for variable, members in enumerate(self.member_columns)
            for column in members
        }
        self.lattice = Lattice(
            [len(values) for values in self.values],
            [
                self._relation(columns[first], columns[second], constraint)
                for constraint in constraints
                for first, second in constraint.links()
                # Equal widths are in any order and divide each other.
                if self._variable_by_column[columns[first]]
                != self._variable_by_column[columns[second]]
            ],
        )

    @property
    def is_empty(self) -> bool:
        """Whether no candidate meets the constraints."""
        return self.lattice.is_empty

    def to_rows(self, points: IntArray) -> IntArray:
        """Return points of value indices, [n, variables] or [variables], as rows [n, d] or [d]."""
        rows = np.empty((*points.shape[:-1], len(self._variable_by_column)), dtype=np.int64)
        for variable, members in enumerate(self.member_columns):
            rows[..., members] = self.values[variable][points[..., variable, None]]
        return rows

    def to_point(self, row: IntArray) -> IntArray:
        """Return the value indices [variables] of a width row [d] that is in the space."""
        return np.array(
            [
                np.searchsorted(values, row[members[0]])
                for members, values in zip(self.member_columns, self.values, strict=True)
            ],
            dtype=np.int64,
        )

    def min_cost_point(self, cost: WidthCost) -> IntArray | None:
        """Return the point [variables] with the least sum of costs; None if all are infinite."""
        return self.lattice.min_cost_point(
            [
                np.sum([cost(column, values) for column in members], axis=0)
                for members, values in zip(self.member_columns, self.values, strict=True)
            ]
        )

    def _relation(self, first: int, second: int, constraint: Constraint) -> Relation:
        a, b = self._variable_by_column[first], self._variable_by_column[second]
        pairs = len(self.values[a]) * len(self.values[b])
        if pairs > MAX_WORK_STEPS:
            raise SpaceTooLarge(
                f"{constraint} compares {pairs:,} pairs of values, more than {MAX_WORK_STEPS:,}; "
                "use larger steps"
            )
        return Relation(
            first=a,
            second=b,
            allowed=constraint.holds(self.values[a][:, None], self.values[b][None, :]),
        )


def describe_conflict(widths: Sequence[Width], constraints: Sequence[Constraint]) -> str:
    """Return the sentence that names constraints which no candidate can meet together."""

    def is_infeasible(subset: Sequence[Constraint]) -> bool:
        return Variables(widths, subset).is_empty

    conflicting = list(constraints)
    for constraint in constraints:
        remaining = [other for other in conflicting if other is not constraint]
        if is_infeasible(remaining):
            conflicting = remaining
    conflicting_names = {name for constraint in conflicting for name in constraint.names}
    values = " and ".join(
        f"{width.name} is {width.format_values()}"
        for width in widths
        if width.name in conflicting_names
    )
    rules = " together with ".join(f"({constraint})" for constraint in conflicting)
    return f"no candidate meets {rules}, where {values}; widen a width or drop a constraint"
