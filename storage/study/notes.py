"""Notes: facts about a study that are kept beside it, as user attributes of its Optuna study.

Dashboards show them, too. Entry points: `store_note`, `read_note`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..database.database import Database
from ..database.optuna_storage import join_transaction
from ..ledger.slot import StudyRow


def store_note(database: Database, row: StudyRow, name: str, note: Mapping[str, Any]) -> None:
    """Keep a note, in place of the one of that name that was kept before.

    Args:
        database: Where the study is.
        row: The study.
        name: With the prefix `widthwise:`.
        note: JSON values.
    """
    storage = database.optuna_storage()
    database.write(
        lambda connection: join_transaction(storage, connection).set_study_user_attr(
            row.optuna_study_id, name, dict(note)
        )
    )


def read_note(database: Database, row: StudyRow, name: str) -> Mapping[str, Any] | None:
    """Return the note of that name; None where none was ever stored."""
    storage = database.optuna_storage()
    attributes = database.read(
        lambda connection: join_transaction(storage, connection).get_study_user_attrs(
            row.optuna_study_id
        )
    )
    note: Mapping[str, Any] | None = attributes.get(name)
    return note
