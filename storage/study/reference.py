"""What models other than a network reach on a study's data: kept beside the study, in Optuna's.

A user attribute of the Optuna study, so that dashboards show it, too.

Entry points: `store_reference_figures`, `read_reference_figures`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..database.database import Database
from ..database.optuna_storage import join_transaction
from ..ledger.slot import StudyRow

REFERENCE_ATTRIBUTE = "widthwise:reference_models"

ReferenceFigures = Mapping[str, Mapping[str, float | None]]
"""Name of a model to its `value` (validation metric) and `test`."""


def store_reference_figures(database: Database, row: StudyRow, figures: ReferenceFigures) -> None:
    """Keep the figures, in place of those that were kept before."""
    storage = database.optuna_storage()
    stored = {name: dict(figure) for name, figure in figures.items()}
    database.write(
        lambda connection: join_transaction(storage, connection).set_study_user_attr(
            row.optuna_study_id, REFERENCE_ATTRIBUTE, stored
        )
    )


def read_reference_figures(database: Database, row: StudyRow) -> ReferenceFigures | None:
    """Return the figures; None where none were ever stored, as by earlier releases."""
    storage = database.optuna_storage()
    attributes = database.read(
        lambda connection: join_transaction(storage, connection).get_study_user_attrs(
            row.optuna_study_id
        )
    )
    figures: ReferenceFigures | None = attributes.get(REFERENCE_ATTRIBUTE)
    return figures
