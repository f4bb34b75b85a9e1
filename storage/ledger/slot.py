"""The ledger's data: a slot, how it can end, and the study that it belongs to.

`Slot` is a holder's claim, `SlotRecord` one row as anybody reads it, `SlotCounts` a study's slots
by condition and `StudyRow` the study. `SlotState`, `TrialOutcome` and `StudyStatus` are their
closed sets; their values are what the database stores.
"""

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from optuna.trial import TrialState
from sqlalchemy import ColumnElement, Row

from ..database.tables import slots, studies

CountName = Literal["complete", "pruned", "failed"]
"""The field of `SlotCounts` in which a slot that is done is counted."""


class SlotState(enum.StrEnum):
    """Who may change a slot: anybody who claims it, its holder, or nobody any more."""

    FREE = "free"
    LEASED = "leased"
    DONE = "done"


class TrialOutcome(enum.StrEnum):
    """How a slot that is done ended.

    Attributes:
        COMPLETE: It has a value.
        PRUNED: Its training was stopped early.
        INFEASIBLE: A measured limit was broken; nothing was trained.
        NAN: Its loss or metric was not finite.
        OUT_OF_MEMORY: The device's memory did not suffice.
        ERROR: Each of its attempts raised.
        CANCELLED: A person ended it.
    """

    COMPLETE = "complete"
    PRUNED = "pruned"
    INFEASIBLE = "infeasible"
    NAN = "nan"
    OUT_OF_MEMORY = "out_of_memory"
    ERROR = "error"
    CANCELLED = "cancelled"

    @property
    def is_failure(self) -> bool:
        """Whether the trial ended without a value and nobody stopped it on purpose."""
        return self in (TrialOutcome.NAN, TrialOutcome.OUT_OF_MEMORY, TrialOutcome.ERROR)

    @property
    def trial_state(self) -> TrialState:
        """The state of Optuna's trial; PRUNED for whatever was stopped on purpose."""
        if self is TrialOutcome.COMPLETE:
            return TrialState.COMPLETE
        return TrialState.FAIL if self.is_failure else TrialState.PRUNED

    @property
    def count_name(self) -> CountName:
        """The field of `SlotCounts` that counts such a slot."""
        if self is TrialOutcome.COMPLETE:
            return "complete"
        return "failed" if self.is_failure else "pruned"


class StudyStatus(enum.StrEnum):
    """What people want with a study; slots are claimed only while it is open."""

    OPEN = "open"
    PAUSED = "paused"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A worker's right to one unit of the budget, good until its lease ends.

    Attributes:
        number: Index in the study's budget, from 0.
        token: The fence: every change names it, and a newer holder has another.
        attempt: Number of this attempt, from 1; slots given back are not counted.
        widths: Bound widths in the space's order, or None while nobody bound any.
        origin: Who proposed the widths.
        trial_id: Optuna's id of the bound trial.
        seed: Of the training, where it was planned; None where it follows from the number.
        overrides: Keys of the study's spec, with dots, that this training changes, to their values.
    """

    number: int
    token: str
    attempt: int
    widths: Mapping[str, int] | None
    origin: str | None
    trial_id: int | None
    seed: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_planned(self) -> bool:
        """Whether its widths were given with the slot, not suggested for it."""
        return self.seed is not None

    @classmethod
    def from_row(cls, row: Row[Any]) -> Self:
        """Return a leased row of the slot table as its holder's slot."""
        return cls(
            number=row.number,
            token=row.token,
            attempt=row.attempts,
            widths=load_json(row.widths),
            origin=row.origin,
            trial_id=row.trial_id,
            seed=row.seed,
            overrides=load_json(row.overrides) or {},
        )


@dataclass(frozen=True, kw_only=True)
class SlotRecord:
    """One row of the ledger as read. Times are seconds since the epoch by the database's clock.

    Attributes:
        number: Index in the study's budget, from 0.
        state: Free, leased or done.
        outcome: Of a slot that is done, else None.
        widths: Bound widths in the space's order.
        origin: Who proposed them.
        value: The metric, of a slot that is complete.
        result: Whatever the training reported.
        trial_id: Optuna's id of the bound trial.
        worker: Name of the present or last holder.
        attempts: Claims, but for those that were given back.
        failures: Attempts that raised.
        started_at: First claim.
        finished_at: When it was done.
        lease_until: End of the present lease.
        paused: Whether nobody may claim it.
        seed: Of the training, where it was planned; else it is in the result.
        overrides: Keys of the study's spec that this training changes, to their values.
    """

    number: int
    state: SlotState
    outcome: TrialOutcome | None
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
    paused: bool = False
    seed: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_row(cls, row: Row[Any]) -> Self:
        """Return a row of the slot table as a record."""
        return cls(
            number=row.number,
            state=SlotState(row.state),
            outcome=outcome_from(row.outcome),
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
            paused=row.hold is not None,
            seed=row.seed,
            overrides=load_json(row.overrides) or {},
        )


@dataclass(frozen=True, kw_only=True)
class SlotCounts:
    """How many slots are in which condition; they add up to the budget.

    Attributes:
        complete: Done, with a value.
        running: Leased, their leases not ended.
        failed: Done without a value: NaN, out of memory, or an error each time.
        pruned: Done, stopped early or before its training began, or cancelled.
        waiting: Free, or leased to a worker whose lease has ended.
        paused: Of the waiting ones, those that nobody may claim until they are continued.
    """

    complete: int
    running: int
    failed: int
    pruned: int
    waiting: int
    paused: int = 0

    @property
    def budget(self) -> int:
        """Number of all slots of the study."""
        return self.complete + self.running + self.failed + self.pruned + self.waiting


def of_study(study_id: int) -> ColumnElement[bool]:
    """Return the SQL of the slots of one study."""
    return slots.c.study_id == study_id


def widths_key(widths: Mapping[str, int]) -> str:
    """Return canonical JSON: the same text for the same widths, whatever their order."""
    return json.dumps(plain_widths(widths), sort_keys=True)


def planned_key(widths: Mapping[str, int], seed: int, overrides: Mapping[str, Any]) -> str:
    """Return canonical JSON of all that makes a planned training; never that of widths alone."""
    plan = {"widths": plain_widths(widths), "seed": int(seed), "overrides": dict(overrides)}
    return json.dumps(plan, sort_keys=True)


def plain_widths(widths: Mapping[str, int]) -> dict[str, int]:
    """Return widths as Python's integers, which JSON can write, unlike NumPy's."""
    return {name: int(width) for name, width in widths.items()}


def dump_json(value: Mapping[str, Any] | None) -> str | None:
    """Return the JSON text of a mapping, in its own order; None for None."""
    return None if value is None else json.dumps(dict(value))


def load_json(text: str | None) -> dict[str, Any] | None:
    """Return the mapping that `dump_json` wrote."""
    if text is None:
        return None
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def outcome_from(text: str | None) -> TrialOutcome | None:
    """Return the outcome that a column holds, None for NULL."""
    return None if text is None else TrialOutcome(text)


Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """A study as the database keeps it.

    Attributes:
        id: Of the row, not Optuna's.
        name: Unique in the database, the same as in Optuna.
        spec: The spec as JSON.
        fingerprint: Hash of spec and objective code; with another one it is another study.
        optuna_study_id: Optuna's id.
        direction: Whether the metric is maximised or minimised.
        base: Folder of the spec, from which its references are found.
        created_at: Seconds since the epoch by the database's clock.
        costs: The fitted cost models as JSON, so that no worker fits them again.
        status: Slots are claimed only while it is open. This and `priority` may change at any time:
            they are as they were when the row was read.
        priority: Workers that serve several studies serve the one with the greatest first.
        budget: Number of its slots; like `status`, as it was when the row was read.
        parent_id: Row of the study that this one follows up; None of a study of its own.
        kind: In which way it follows that one up.
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
    status: StudyStatus = StudyStatus.OPEN
    priority: int = 0
    budget: int = 0
    parent_id: int | None = None
    kind: str | None = None

    @classmethod
    def from_row(cls, row: Row[Any]) -> Self:
        """Return a row that holds the study table's columns, and perhaps others, as a study."""
        columns = {name: row._mapping[name] for name in studies.c.keys()}  # noqa: SIM118
        return cls(**{**columns, "status": StudyStatus(row.status)})
