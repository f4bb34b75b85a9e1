"""Settlements: how slots end. `settle` is the commit point of every training.

A `Settlement` is one slot with its outcome; `settle` stores any number of them in one transaction:
those whose slot another worker has are refused, the others are kept. `fail` gives up an attempt,
and settles the slot once that has happened too often.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, bindparam, update

from ..database.dialect import database_now
from ..database.tables import slots
from .events import EventKind
from .fence import Fence, is_held
from .slot import Slot, SlotState, TrialOutcome, dump_json, of_study

FAILURE_ACTION = "record a failure"
"""What a holder does that calls `fail`, in words for people."""


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """How one slot ended.

    Attributes:
        slot: The slot, as claimed.
        outcome: What came of it.
        value: The metric, a finite number, of a complete one; None for any other.
        result: Of the training, as JSON can write it. `curve` and `attributes` are shown to Optuna;
            `measured` (name to number) and `rungs` are stored in columns too, for proposals.
        score: The metric so far, also of a pruned one, which has no value.
        fidelity: Epochs that the score is worth.
        spread: Standard error of the value, where several trainings went into it.

    Raises:
        ValueError: If outcome and value do not fit.
    """

    slot: Slot
    outcome: TrialOutcome
    value: float | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    score: float | None = None
    fidelity: float | None = None
    spread: float | None = None

    def __post_init__(self) -> None:
        finite = self.value is not None and math.isfinite(self.value)
        if (self.outcome == TrialOutcome.COMPLETE) != finite:
            raise ValueError(
                f"A slot cannot end as '{self.outcome}' with the value {self.value}; a complete "
                "one has a finite value, any other None."
            )


def settle(
    connection: Connection, study_id: int, fence: Fence, batch: Sequence[Settlement]
) -> list[Slot]:
    """Store how slots ended, in the caller's transaction.

    Returns:
        The slots that another worker has: nothing of their results is kept.
    """
    rows = fence.lock_rows(connection, [settlement.slot for settlement in batch])
    accepted = [
        settlement
        for settlement in batch
        if is_held(rows.get(settlement.slot.number), settlement.slot)
    ]
    if accepted:
        statement = (
            update(slots)
            .where(of_study(study_id), slots.c.number == bindparam("slot_number"))
            .values(state=SlotState.DONE, finished_at=database_now())
        )
        connection.execute(statement, [_columns(settlement) for settlement in accepted])
        entries = [
            fence.new_event(
                EventKind.DONE, settlement.slot, idempotent=True, outcome=settlement.outcome
            )
            for settlement in accepted
        ]
        fence.append(connection, entries)
    lost = [
        settlement.slot
        for settlement in batch
        if not _is_settled_by(rows.get(settlement.slot.number), settlement.slot)
    ]
    fence.record_refusals(connection, lost, action="record its result")
    return lost


def fail(
    connection: Connection, study_id: int, fence: Fence, slot: Slot, error: str, max_attempts: int
) -> bool | None:
    """Give up an attempt at a slot, in the caller's transaction.

    Returns:
        Whether the slot is free for another attempt, else it is done with the outcome 'error'; None
        if another worker has it.
    """
    row = fence.lock_rows(connection, [slot]).get(slot.number)
    if row is None or row.token != slot.token:
        fence.record_refusals(connection, [slot], action=FAILURE_ACTION)
        return None
    if row.state != SlotState.LEASED:  # our commit arrived, its reply did not
        return bool(row.state == SlotState.FREE)
    will_retry: bool = row.failures + 1 < max_attempts
    done_columns = {
        "state": SlotState.DONE,
        "outcome": TrialOutcome.ERROR,
        "result": dump_json({"error": error}),
        "finished_at": database_now(),
    }
    connection.execute(
        update(slots)
        .where(of_study(study_id), slots.c.number == slot.number)
        .values(
            failures=slots.c.failures + 1,
            **({"state": SlotState.FREE} if will_retry else done_columns),
        )
    )
    entry = fence.new_event(EventKind.FAILED, slot, idempotent=True, error=error, again=will_retry)
    fence.append(connection, [entry])
    return will_retry


def _is_settled_by(row: Row[Any] | None, slot: Slot) -> bool:
    """Return whether a holder settled its slot, now or in an earlier attempt of this call."""
    if row is None:
        return False
    return is_held(row, slot) or bool(row.token == slot.token and row.state == SlotState.DONE)


def _columns(settlement: Settlement) -> dict[str, Any]:
    return {
        "slot_number": settlement.slot.number,
        "outcome": settlement.outcome,
        "value": settlement.value,
        "result": dump_json(settlement.result),
        "score": _finite_or_none(settlement.score),
        "fidelity": _finite_or_none(settlement.fidelity),
        "spread": _finite_or_none(settlement.spread),
        "measured": dump_json(settlement.result.get("measured") or None),
        "rungs": dump_json(settlement.result.get("rungs") or None),
    }


def _finite_or_none(number: float | None) -> float | None:
    """Return the number, None for NaN and infinity, which not every database stores."""
    return number if number is not None and math.isfinite(number) else None
