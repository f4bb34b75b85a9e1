"""What models other than a network reach on a study's data: a note of the study.

Entry points: `store_reference_figures`, `read_reference_figures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..database.database import Database
from ..ledger.slot import StudyRow
from .notes import read_note, store_note

REFERENCE_ATTRIBUTE = "widthwise:reference_models"

ReferenceFigures = Mapping[str, Mapping[str, Any]]
"""Name of a model to its `value` (validation metric), `test`, and `scores` on each fold."""


def store_reference_figures(database: Database, row: StudyRow, figures: ReferenceFigures) -> None:
    """Keep the figures, in place of those that were kept before."""
    stored = {name: dict(figure) for name, figure in figures.items()}
    store_note(database, row, REFERENCE_ATTRIBUTE, stored)


def read_reference_figures(database: Database, row: StudyRow) -> ReferenceFigures | None:
    """Return the figures; None where none were ever stored, as by earlier releases."""
    return read_note(database, row, REFERENCE_ATTRIBUTE)
