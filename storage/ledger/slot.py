"""A slot of the ledger as its holder sees it, as it is read, and as it is counted.

`Slot` is a holder's right, `SlotRecord` one row as anybody reads it, `SlotCounts` the whole budget by what
became of it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row

from ..database.tables import slots


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A worker's right to one unit of the budget, good until its lease ends.

    Attributes:
        number: Place in the study's budget, from 0.
        token: The fence: every change names it, and a newer holder has another.
        attempt: Which try this is, from 1; drains are not counted.
        widths: Bound widths in the space's order, or None while nobody bound any.
        origin: Who proposed the widths.
        trial_id: Optuna's id of the bound trial.
    """

    number: int
    token: str
    attempt: int
    widths: Mapping[str, int] | None
    origin: str | None
    trial_id: int | None


@dataclass(frozen=True, kw_only=True)
class SlotRecord:
    """One row of the ledger as read. Times are seconds since the epoch by the database's clock.

    Attributes:
        number: Place in the study's budget, from 0.
        state: free, leased or done.
        outcome: Of a slot that is done: complete, pruned, infeasible (a measured limit was broken,
            nothing was trained), nan, out_of_memory, error or cancelled.
        widths: Bound widths in the space's order.
        origin: Who proposed them.
        value: The metric, of a slot that is complete.
        result: Whatever the training reported.
        trial_id: Optuna's id of the bound trial.
        worker: Name of the present or last holder.
        attempts: Claims, drains not counted.
        failures: Attempts that raised.
        started_at: First claim.
        finished_at: When it was done.
        lease_until: End of the present lease.
        hold: 'paused' while nobody may claim it.
    """

    number: int
    state: str
    outcome: str | None
    widths: Mapping[str, int] | None
    origin: str | None
    value: float | None
    result: Mapping[str, Any] | None
    trial_id: int | None
    worker: str | None
    attempts: int
    failures: int
    started_at: float | None
    finished_at: float | None
    lease_until: float | None
    hold: str | None = None


@dataclass(frozen=True, kw_only=True)
class SlotCounts:
    """How many slots are in which condition; they add up to the budget.

    Attributes:
        complete: Done, with a value.
        running: Leased, and the lease has not ended.
        failed: Done without a value: NaN, out of memory, or an error each time.
        pruned: Done, stopped early or before its training began, or cancelled.
        waiting: Free, or left behind by a holder whose lease has ended.
        paused: Those of the waiting ones that nobody may claim until they are continued.
    """

    complete: int
    running: int
    failed: int
    pruned: int
    waiting: int
    paused: int = 0

    @property
    def budget(self) -> int:
        """All slots of the study."""
        return self.complete + self.running + self.failed + self.pruned + self.waiting


def of_study(study_id: int) -> ColumnElement[bool]:
    """SQL: the slots of a study."""
    return slots.c.study_id == study_id


def widths_key(widths: Mapping[str, int]) -> str:
    """Canonical JSON: the same text for the same widths, in whatever order they come."""
    return json.dumps({name: int(width) for name, width in widths.items()}, sort_keys=True)


def dump_json(value: Mapping[str, Any] | None) -> str | None:
    """JSON text of a mapping, in its own order."""
    return None if value is None else json.dumps(dict(value))


def load_json(text: str | None) -> dict[str, Any] | None:
    """What `dump_json` wrote."""
    if text is None:
        return None
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def slot_from_row(row: Row[Any]) -> Slot:
    """A leased row of the slot table as its holder's `Slot`."""
    return Slot(
        number=row.number,
        token=row.token,
        attempt=row.attempts,
        widths=load_json(row.widths),
        origin=row.origin,
        trial_id=row.trial_id,
    )


def record_from_row(row: Row[Any]) -> SlotRecord:
    """A row of the slot table as a `SlotRecord`."""
    return SlotRecord(
        number=row.number,
        state=row.state,
        outcome=row.outcome,
        widths=load_json(row.widths),
        origin=row.origin,
        value=row.value,
        result=load_json(row.result),
        trial_id=row.trial_id,
        worker=row.worker,
        attempts=row.attempts,
        failures=row.failures,
        started_at=row.started_at,
        finished_at=row.finished_at,
        lease_until=row.lease_until,
        hold=row.hold,
    )


Direction = Literal["maximize", "minimize"]
StudyStatus = Literal["open", "paused", "cancelled"]


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """A study as the database keeps it.

    Attributes:
        id: Ours.
        name: Unique in the database, the same as in Optuna.
        spec: The spec as JSON.
        fingerprint: Hash of spec and objective code; with another one it is another study.
        optuna_study_id: Optuna's id.
        direction: Whether more or less of the metric is better.
        base: Folder of the spec, from which its references are found.
        created_at: Seconds since the epoch by the database's clock.
        costs: What was fitted of the candidates' costs, as JSON, so that no worker fits it again.
        status: Slots are claimed only while it is open. This and `priority` may change at any time:
            they are as they were when the row was read.
        priority: Workers that serve several studies serve the one with the greatest first.
    """

    id: int
    name: str
    spec: str
    fingerprint: str
    optuna_study_id: int
    direction: Direction
    base: str
    created_at: float
    costs: str | None = None
    status: StudyStatus = "open"
    priority: int = 0
