"""The projection: Optuna's trials, which follow the ledger and can be made anew from it.

`open_many` makes the trials of slots and binds them, in one transaction; `close_many` tells Optuna
how slots ended, after the ledger's commit point. `repair` closes what other workers left behind. So
samplers and dashboards read Optuna's tables, and nothing is lost when those lag behind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import ColumnElement, Connection, Row, bindparam, select, update

from ..database.database import Database
from ..database.tables import LATE, STOPPED, slots
from ..database.url import shown
from ..errors import StudyNotFound
from ..ledger import events
from ..ledger.fence import Fence, holds
from ..ledger.slot import Slot, StudyRow, load, of_study
from . import trial_rows

SLOT_ATTRIBUTE = "slot"
"""User attribute of a trial: the number of its slot."""

_OPENING = "open its trial"
_STATES = {"complete": TrialState.COMPLETE, **dict.fromkeys(STOPPED, TrialState.PRUNED)}
_ENDED = (
    slots.c.number,
    slots.c.token,
    slots.c.trial_id,
    slots.c.outcome,
    slots.c.value,
    slots.c.result,
)


@dataclass(frozen=True, kw_only=True)
class Opening:
    """The trial to be made of one slot.

    Attributes:
        slot: The slot, as claimed, its widths bound.
        constraints: Name to violation: 0 or less is feasible.
        attributes: User attributes of the trial.
    """

    slot: Slot
    constraints: Mapping[str, float]
    attributes: Mapping[str, Any]


@final
class Projection:
    """Optuna's side of one study."""

    def __init__(self, database: Database, study: StudyRow) -> None:
        self._database = database
        self._study = study
        self._fence = Fence(database, study)
        self._orphans_failed = False
        database.optuna_storage()  # its tables are there, and of a version that we know

    def open_many(
        self, openings: Sequence[Opening], *, distributions: Mapping[str, BaseDistribution]
    ) -> list[int | None]:
        """Make the running trials of slots whose widths are bound, all in one transaction.

        Each is bound to its slot; a slot that has a trial keeps it.

        Args:
            openings: Slot, constraints and attributes of each.
            distributions: Of every width.

        Returns:
            Optuna's id of each trial, None for a slot that another holder has.

        Raises:
            StudyNotFound: If somebody deleted Optuna's study.
        """
        templates = {one.slot.number: _template(one, distributions) for one in openings}
        batch = [one.slot for one in openings]

        def work(connection: Connection) -> list[int | None]:
            rows = self._fence.look(connection, batch)
            lost = [slot for slot in batch if not holds(rows[slot.number], slot)]
            self._fence.refuse(connection, lost, action=_OPENING)
            gone = {slot.number for slot in lost}
            ids = {row.number: row.trial_id for row in rows.values() if row.number not in gone}
            missing = [number for number, trial_id in ids.items() if trial_id is None]
            ids |= self._make(connection, {number: templates[number] for number in missing})
            return [ids.get(slot.number) for slot in batch]

        return self._database.write(work)

    def close_many(self, numbers: Sequence[int]) -> int:
        """Tell Optuna how done slots ended, all in one transaction.

        Of a slot's result, `curve` becomes the intermediate values (one per epoch) and `attributes`
        the trial's user attributes. A trial that is finished, or gone, stays as it is.

        Args:
            numbers: Of the slots. Those that are not done, or were told already, are left alone.

        Returns:
            How many were told now.
        """
        if not numbers:
            return 0
        return self._write_close(slots.c.number.in_(numbers), "projected")

    def repair(self) -> int:
        """Close the trials of all done slots that Optuna was not told of, and fail orphans.

        An orphan is a running trial that names a slot which is bound to another trial. None comes
        about by what is done here, so they are looked for only the first time.

        Returns:
            How many trials were put right.
        """
        query = select(slots.c.number).where(of_study(self._study.id), LATE)
        late = self._database.read(lambda connection: connection.scalars(query).all())
        repaired = 0
        if late:
            repaired += self._write_close(slots.c.number.in_(late), "repaired")
        if not self._orphans_failed:
            repaired += self._database.write(self._fail_orphans)
            self._orphans_failed = True
        return repaired

    def _make(self, connection: Connection, templates: Mapping[int, FrozenTrial]) -> dict[int, int]:
        """Make the trials of slots, and bind them; returns their ids by the slots' numbers."""
        if not templates:
            return {}
        made = trial_rows.insert_trials(
            connection, self._study.optuna_study_id, list(templates.values())
        )
        if made is None:
            raise self._deleted()
        statement = (
            update(slots)
            .where(of_study(self._study.id), slots.c.number == bindparam("slot_number"))
            .values(trial_id=bindparam("made"))
        )
        ids = dict(zip(templates, made, strict=True))
        rows = [{"slot_number": number, "made": trial_id} for number, trial_id in ids.items()]
        connection.execute(statement, rows)
        return ids

    def _write_close(self, wanted: ColumnElement[bool], kind: events.Kind) -> int:
        return self._database.write(
            lambda connection: self._close(connection, wanted, kind), durable=False
        )

    def _close(self, connection: Connection, wanted: ColumnElement[bool], kind: events.Kind) -> int:
        """Project the wanted ones of those done slots that nobody has projected."""
        late = select(*_ENDED).where(of_study(self._study.id), LATE, wanted)
        rows = connection.execute(late.order_by(slots.c.number).with_for_update()).all()
        if not rows:
            return 0
        trial_rows.end_trials(connection, [_end(row) for row in rows if row.trial_id is not None])
        numbers = [row.number for row in rows]
        connection.execute(
            update(slots)
            .where(of_study(self._study.id), slots.c.number.in_(numbers))
            .values(projected=True)
        )
        entries = [events.Entry(kind=kind, number=row.number, token=row.token) for row in rows]
        events.append_all(connection, self._study.id, entries)
        return len(rows)

    def _fail_orphans(self, connection: Connection) -> int:
        named = trial_rows.running(connection, self._study.optuna_study_id, SLOT_ATTRIBUTE)
        query = select(slots.c.number, slots.c.trial_id).where(
            of_study(self._study.id),
            slots.c.number.in_(named.values()),
            slots.c.trial_id.is_not(None),
        )
        bound = {row.number: row.trial_id for row in connection.execute(query)}
        orphans = {
            trial_id: number
            for trial_id, number in named.items()
            if bound.get(number, trial_id) != trial_id
        }
        trial_rows.end_trials(connection, [_failed(trial_id) for trial_id in orphans])
        entries = [
            events.Entry(kind="repaired", number=number, detail={"orphan": trial_id})
            for trial_id, number in orphans.items()
        ]
        events.append_all(connection, self._study.id, entries)
        return len(orphans)

    def _deleted(self) -> StudyNotFound:
        return StudyNotFound(
            f"Optuna's side of the study '{self._study.name}' is gone from "
            f"{shown(self._database.url)}: somebody deleted it; start a study of another name."
        )


def _template(opening: Opening, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    assert opening.slot.widths is not None, "widths are bound before their trial is made"
    return create_trial(
        state=TrialState.RUNNING,
        params=dict(opening.slot.widths),
        distributions=dict(distributions),
        constraints=dict(opening.constraints),
        user_attrs={**opening.attributes, SLOT_ATTRIBUTE: opening.slot.number},
    )


def _end(row: Row[*tuple[Any, ...]]) -> trial_rows.End:
    result = load(row.result) or {}
    return trial_rows.End(
        trial_id=row.trial_id,
        state=_STATES.get(row.outcome, TrialState.FAIL),
        value=row.value,
        curve=result.get("curve") or (),
        attributes=result.get("attributes") or {},
    )


def _failed(trial_id: int) -> trial_rows.End:
    return trial_rows.End(
        trial_id=trial_id, state=TrialState.FAIL, value=None, curve=(), attributes={}
    )
