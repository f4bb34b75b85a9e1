"""The models that a study's networks are set against: a constant, a linear one, boosted trees.

Entry points: `Reference`, `read_references`, `better_model`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...storage.database.database import Database
from ...storage.ledger.slot import StudyRow
from ...storage.study.reference import read_reference_figures
from ..goal import Goal

TITLES = {
    "constant": "constant prediction",
    "linear": "linear model",
    "trees": "boosted trees",
}
"""What reference models are called in tables, by their stored names."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a model other than a network reaches on the study's data.

    Attributes:
        name: "constant", "linear" or "trees".
        value: Validation metric, the mean over the folds that candidates are validated with.
        test: Test metric; None without a test split, or while nothing is confirmed.
    """

    name: str
    value: float
    test: float | None

    @property
    def title(self) -> str:
        """What people call it."""
        return TITLES[self.name]


def read_references(
    database: Database, row: StudyRow, confirmation: StudyRow | None = None
) -> list[Reference]:
    """Return the reference models of a study; none for a study of an earlier release.

    Args:
        database: Where it is.
        row: The study.
        confirmation: The study that confirms it: with it test figures are known.
    """
    confirmed = confirmation and read_reference_figures(database, confirmation)
    figures = confirmed or read_reference_figures(database, row) or {}
    return [
        Reference(name=name, value=value, test=figure.get("test") if confirmed else None)
        for name, figure in figures.items()
        if name in TITLES and (value := figure.get("value")) is not None
    ]


def better_model(references: Sequence[Reference], value: float, goal: Goal) -> Reference | None:
    """Return the best reference model where it is better than a network with this metric."""
    if not references:
        return None
    best = max(references, key=lambda reference: goal.sign * reference.value)
    return best if goal.sign * (best.value - value) > 0 else None
