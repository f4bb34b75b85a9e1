"""A study that learns nothing is ended, once, by whichever worker finds it out.

Its status becomes CANCELLED, as by a person: nothing is claimed any more, and what is in training
stops at its next epoch. The event of kind UNTRAINED in the same transaction says why. Its
idempotency key is the study's, so that of several workers one ends the study, and a study that a
person opens again is not ended a second time.

    stop_untrained(database, study, "three of ...", worker="a")
    LedgerReader(database, study).untrained_reason()    # "three of ..." until it is opened again
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from ..database.database import Database
from ..database.tables import studies
from ..ledger import events
from ..ledger.slot import StudyRow, StudyStatus
from ..projection.projection import Projection


def stop_untrained(
    database: Database,
    study: StudyRow,
    reason: str,
    *,
    worker: str,
    figures: Mapping[str, Any] | None = None,
) -> None:
    """End a study that is open and was never ended so; leave any other as it is.

    Args:
        database: Where it is.
        study: The study.
        reason: A sentence for people.
        worker: Who found it out.
        figures: What it was found out by, as JSON can write it.
    """
    this_study = studies.c.id == study.id
    entry = events.NewEvent(
        kind=events.EventKind.UNTRAINED,
        worker=worker,
        idempotency_key=events.untrained_key(study),
        detail={"reason": reason, **(figures or {})},
    )

    def end(connection: Connection) -> None:
        query = select(studies.c.status).where(this_study).with_for_update(key_share=True)
        is_open = connection.execute(query).scalar_one() == StudyStatus.OPEN
        if is_open and events.append(connection, study.id, entry):
            ended = update(studies).where(this_study).values(status=StudyStatus.CANCELLED)
            connection.execute(ended)

    database.write(end)
    Projection(database, study).repair()


def was_stopped_untrained(database: Database, study: StudyRow) -> bool:
    """Return whether the study was ever ended because it learned nothing."""
    key = events.untrained_key(study)
    return database.read(lambda connection: events.find(connection, key)) is not None
