"""Plans: slots whose training is given when they are made, not suggested when they are claimed.

A planned slot has widths, seed and overrides from the beginning; it is claimed, held and settled as
any other. Planning is safe to repeat: the same training is the same slot, whoever plans it and how
often.

    ledger.add_planned([PlannedTrial(widths={"a": 8}, seed=7, origin="recommended")])    # 1
    ledger.add_planned([PlannedTrial(widths={"a": 8}, seed=7, origin="recommended")])    # 0

Entry points: `PlannedTrial`, `add_planned`.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, select, update

from ..database.tables import events as event_rows
from ..database.tables import slots, studies
from ..errors import BudgetRefused
from . import budget, events
from .slot import dump_json, load_json, of_study, plain_widths, planned_key

if TYPE_CHECKING:
    from ..database.database import Database
    from .slot import StudyRow

KEYS_AT_ONCE = 500
"""Keys that one query asks for: SQLite binds 32,766 values in a statement, older ones 999."""


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """A training that is to be done.

    Attributes:
        widths: By name, in the space's order.
        seed: Of the training, in [0, 2^63).
        origin: A label for people, such as "recommended"; no part of what makes the training.
        overrides: Keys of the study's spec, with dots (`proxy.learning_rate`), to other values.
    """

    widths: Mapping[str, int]
    seed: int
    origin: str
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What tells it from any other training of the study."""
        return planned_key(self.widths, self.seed, self.overrides)


def add_planned(
    database: "Database", study: "StudyRow", planned: Sequence[PlannedTrial], *, worker: str
) -> int:
    """Add a slot for each planned training that has none yet, all in one transaction.

    Args:
        database: Where the study is.
        study: Whose slots.
        planned: The trainings; one that is named twice is one slot.
        worker: Who plans, for people.

    Returns:
        How many slots were added; the budget has grown by as many.

    Raises:
        BudgetRefused: If the budget would exceed `budget.MAX_BUDGET`.
    """
    by_key = {trial.key: trial for trial in planned}
    idempotency_key = f"planned:{uuid.uuid4().hex}"

    def add_missing(connection: Connection) -> int:
        current = budget.lock_budget(connection, study.id)
        if (added := _added_before(connection, idempotency_key)) is not None:
            return added  # our commit arrived, its reply did not
        present = _present_keys(connection, study.id, list(by_key))
        missing = [trial for key, trial in by_key.items() if key not in present]
        if not missing:
            return 0
        total = current + len(missing)
        if total > budget.MAX_BUDGET:
            raise BudgetRefused(
                f"The study '{study.name}' has {current:,} trials and {len(missing):,} more are "
                f"planned; expected at most {budget.MAX_BUDGET:,} in all."
            )
        while budget.make_rows(connection, study.id):
            pass  # numbers ascend without a gap
        rows = [
            {
                "study_id": study.id,
                "number": number,
                "widths": dump_json(plain_widths(trial.widths)),
                "widths_key": trial.key,
                "origin": trial.origin,
                "seed": trial.seed,
                "overrides": dump_json(trial.overrides) if trial.overrides else None,
            }
            for number, trial in enumerate(missing, start=current)
        ]
        connection.execute(insert(slots), rows)
        connection.execute(update(studies).where(studies.c.id == study.id).values(budget=total))
        entry = events.NewEvent(
            kind=events.EventKind.EXTENDED,
            worker=worker,
            idempotency_key=idempotency_key,
            detail={"slots": len(missing), "planned": True},
        )
        events.append(connection, study.id, entry)
        return len(missing)

    return database.write(add_missing)


def _present_keys(connection: Connection, study_id: int, keys: Sequence[str]) -> set[str]:
    present: set[str] = set()
    for start in range(0, len(keys), KEYS_AT_ONCE):
        chunk = keys[start : start + KEYS_AT_ONCE]
        query = select(slots.c.widths_key).where(of_study(study_id), slots.c.widths_key.in_(chunk))
        present.update(key for key in connection.scalars(query) if key is not None)
    return present


def _added_before(connection: Connection, idempotency_key: str) -> int | None:
    """Return what an earlier attempt of this call added; None if none arrived."""
    query = select(event_rows.c.detail).where(event_rows.c.once == idempotency_key)
    detail = load_json(connection.execute(query).scalar_one_or_none())
    return None if detail is None else int(detail["slots"])
