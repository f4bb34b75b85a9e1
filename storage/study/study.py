"""Studies: each a row with its spec and fingerprint, and the Optuna study that mirrors it.

`create_study` makes the row, Optuna's study and the budget's slots in one transaction: all of them
exist or none, however many processes create the study and wherever one of them dies. `load_study`,
`find_study`, `list_studies` and `list_follow_ups` read.
"""

import uuid

from optuna.exceptions import DuplicatedStudyError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from sqlalchemy import Connection, insert, select

from ..database.database import Database
from ..database.dialect import advisory_lock, database_now
from ..database.optuna_storage import join_transaction
from ..database.tables import events as event_rows
from ..database.tables import studies
from ..database.url import format_url
from ..errors import StudyMismatch, StudyNotFound
from ..ledger import budget as budget_slots
from ..ledger import events
from ..ledger.slot import Direction, StudyRow

STUDY_CREATION_LOCK_KEY = 0x77696474687773
"""Of the advisory lock under which studies are created: "widthws" in ASCII."""

FINGERPRINT_ATTRIBUTE = "widthwise:fingerprint"
METRIC_NAMES_ATTRIBUTE = "study:metric_names"  # the one that Optuna's Study.set_metric_names writes
MAX_LISTED_NAMES = 20


def create_study(
    database: Database,
    *,
    name: str,
    spec: str,
    fingerprint: str,
    direction: Direction,
    metric: str,
    base: str,
    budget: int,
    costs: str | None = None,
    parent: StudyRow | None = None,
    kind: str | None = None,
) -> tuple[StudyRow, bool]:
    """Create a study with its budget, or return the existing one of that name.

    Args:
        database: Where it is stored.
        name: Of the study.
        spec: As JSON.
        fingerprint: Hash of spec and objective code.
        direction: Of the metric.
        metric: The metric's name, shown by the dashboard.
        base: Folder of the spec.
        budget: Slots of a new study; one that exists keeps its own.
        costs: The fitted cost models as JSON.
        parent: The study that this one follows up, from which it has its priority; None for none.
        kind: In which way, with a parent.

    Returns:
        The study, and whether this call created it.

    Raises:
        StudyMismatch: If a study of that name has another fingerprint, or is a plain Optuna study.
    """
    storage = database.optuna_storage()
    request = uuid.uuid4().hex

    def create_or_find(connection: Connection) -> tuple[StudyRow, bool]:
        advisory_lock(connection, STUDY_CREATION_LOCK_KEY)
        existing = _find_by_name(connection, name)
        if existing is not None:
            _check_kinship(existing, parent, kind, database)
            _check_fingerprint(existing, fingerprint, database)
            return existing, _created_by_request(connection, request)
        optuna_study_id = _create_optuna_study(
            join_transaction(storage, connection), name, fingerprint, direction, metric
        )
        values = {
            "name": name,
            "spec": spec,
            "fingerprint": fingerprint,
            "optuna_study_id": optuna_study_id,
            "direction": direction,
            "base": base,
            "costs": costs,
            "budget": budget,
            "parent_id": None if parent is None else parent.id,
            "kind": kind,
            "priority": 0 if parent is None else parent.priority,
        }
        row = connection.execute(
            insert(studies).values(**values, created_at=database_now()).returning(*studies.c)
        ).one()
        budget_slots.make_rows(connection, row.id)
        entry = events.NewEvent(
            kind=events.EventKind.CREATED,
            idempotency_key=f"created:{request}",
            detail={"budget": budget},
        )
        events.append(connection, row.id, entry)
        return StudyRow.from_row(row), True

    try:
        return database.write(create_or_find)
    except DuplicatedStudyError:
        raise _not_a_widthwise_study(name, database) from None


def find_study(database: Database, name: str) -> StudyRow | None:
    """Return the study of that name, None if there is none."""
    return database.read(lambda connection: _find_by_name(connection, name))


def load_study(database: Database, name: str) -> StudyRow:
    """Return the study of that name.

    Raises:
        StudyNotFound: If there is none.
    """
    study = find_study(database, name)
    if study is not None:
        return study
    names = [row.name for row in reversed(list_studies(database))]
    remainder = (
        f" and {len(names) - MAX_LISTED_NAMES} more" if len(names) > MAX_LISTED_NAMES else ""
    )
    listing = f"{', '.join(names[:MAX_LISTED_NAMES])}{remainder}"
    available = f"there are, newest first: {listing}" if names else "there is none yet"
    raise StudyNotFound(
        f"There is no study '{name}' in {format_url(database.url)} ({available}); "
        "check the name and --storage."
    )


def list_studies(database: Database) -> list[StudyRow]:
    """Return every study in the database, oldest first."""
    query = select(studies).order_by(studies.c.created_at, studies.c.id)
    rows = database.read(lambda connection: connection.execute(query).all())
    return [StudyRow.from_row(row) for row in rows]


def list_follow_ups(database: Database, parent: StudyRow) -> list[StudyRow]:
    """Return the studies that follow one up, oldest first."""
    query = select(studies).where(studies.c.parent_id == parent.id).order_by(studies.c.id)
    rows = database.read(lambda connection: connection.execute(query).all())
    return [StudyRow.from_row(row) for row in rows]


def _create_optuna_study(
    storage: RDBStorage, name: str, fingerprint: str, direction: Direction, metric: str
) -> int:
    study_id = storage.create_new_study([StudyDirection[direction.upper()]], name)
    storage.set_study_user_attr(study_id, FINGERPRINT_ATTRIBUTE, fingerprint)
    storage.set_study_system_attr(study_id, METRIC_NAMES_ATTRIBUTE, [metric])
    return study_id


def _find_by_name(connection: Connection, name: str) -> StudyRow | None:
    row = connection.execute(select(studies).where(studies.c.name == name)).one_or_none()
    return None if row is None else StudyRow.from_row(row)


def _created_by_request(connection: Connection, request: str) -> bool:
    """Return whether an earlier attempt of this call made the study, its reply lost."""
    query = select(event_rows.c.id).where(event_rows.c.once == f"created:{request}")
    return connection.execute(query).first() is not None


def _check_kinship(
    existing: StudyRow, parent: StudyRow | None, kind: str | None, database: Database
) -> None:
    if (existing.parent_id, existing.kind) == (None if parent is None else parent.id, kind):
        return
    if existing.kind is not None:
        raise StudyMismatch(
            f"The study '{existing.name}' in {format_url(database.url)} is the {existing.kind} of "
            "another study, not one of its own; give this one another name."
        )
    raise StudyMismatch(
        f"There is a study '{existing.name}' of its own in {format_url(database.url)}, where the "
        f"{kind} of the study '{parent.name if parent else ''}' would stand; give that study "
        "another name by starting it anew."
    )


def _check_fingerprint(existing: StudyRow, fingerprint: str, database: Database) -> None:
    if existing.fingerprint != fingerprint:
        raise StudyMismatch(
            f"The study '{existing.name}' in {format_url(database.url)} was started with another "
            f"spec or objective code (fingerprint {existing.fingerprint[:12]} there, "
            f"{fingerprint[:12]} here); give this one another name, or restore what that one was "
            "started with."
        )


def _not_a_widthwise_study(name: str, database: Database) -> StudyMismatch:
    return StudyMismatch(
        f"'{name}' in {format_url(database.url)} is an Optuna study that Widthwise did not create, "
        "so it has no ledger; give the new study another name."
    )
