"""Settlements: how slots end. `settle` is the commit point of every training.

A `Settlement` is one slot with its outcome; `settle` stores any number of them in one transaction,
each under its own fence: those that another holder has are refused, the rest is kept. `fail` gives
up an attempt, and settles the slot once that happened too often.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, update

from ..database.dialect import database_now
from ..database.tables import OUTCOMES, slots
from .fence import Fence, holds
from .slot import Slot, dump, of_study

FAILING = "record a failure"
"""What a holder wants that calls `fail`, in words for people."""


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """How one slot ended.

    Attributes:
        slot: The slot, as claimed.
        outcome: complete, pruned, infeasible, nan, out_of_memory, error or cancelled.
        value: The metric, a finite number, of a complete one; None for any other.
        result: What JSON can hold; `curve` and `attributes` are shown to Optuna, `measured` (name
            to number) is kept at hand for proposals.
        score: The metric so far, also of a pruned one, which has no value.
        fidelity: Epochs that the score is worth.
        spread: Standard error of the value, where several trainings went into it.

    Raises:
        ValueError: If outcome and value do not fit.
    """

    slot: Slot
    outcome: str
    value: float | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    score: float | None = None
    fidelity: float | None = None
    spread: float | None = None

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"A slot cannot end as '{self.outcome}'; expected one of {OUTCOMES}.")
        finite = self.value is not None and math.isfinite(self.value)
        if (self.outcome == "complete") != finite:
            raise ValueError(
                f"A slot cannot end as '{self.outcome}' with the value {self.value}; a complete "
                "one has a finite value, any other None."
            )


def settle(
    connection: Connection, study_id: int, fence: Fence, batch: Sequence[Settlement]
) -> list[Slot]:
    """Store how slots ended, in the caller's transaction.

    Returns:
        The slots that another holder has: nothing of their results is kept.
    """
    rows = fence.look(connection, [one.slot for one in batch])
    held = [one for one in batch if holds(rows[one.slot.number], one.slot)]
    if held:
        statement = (
            update(slots)
            .where(of_study(study_id), slots.c.number == bindparam("slot_number"))
            .values(state="done", finished_at=database_now())
        )
        connection.execute(statement, [_columns(one) for one in held])
        entries = [fence.entry("done", one.slot, once=True, outcome=one.outcome) for one in held]
        fence.append(connection, entries)
    lost = [one.slot for one in batch if not _arrived(rows[one.slot.number], one.slot)]
    fence.refuse(connection, lost, action="record its result")
    return lost


def fail(
    connection: Connection, study_id: int, fence: Fence, slot: Slot, error: str, max_attempts: int
) -> bool | None:
    """Give up an attempt at a slot, in the caller's transaction.

    Returns:
        Whether the slot is free for another attempt, or done with the outcome 'error'; None if
        another holder has it.
    """
    row = fence.look(connection, [slot])[slot.number]
    if row.token != slot.token:
        fence.refuse(connection, [slot], action=FAILING)
        return None
    if row.state != "leased":  # our commit arrived, its reply did not
        return bool(row.state == "free")
    again: bool = row.failures + 1 < max_attempts
    end = {
        "state": "done",
        "outcome": "error",
        "result": dump({"error": error}),
        "finished_at": database_now(),
    }
    connection.execute(
        update(slots)
        .where(of_study(study_id), slots.c.number == slot.number)
        .values(failures=slots.c.failures + 1, **({"state": "free"} if again else end))
    )
    entry = fence.entry("failed", slot, once=True, error=error, again=again)
    fence.append(connection, [entry])
    return again


def _arrived(row: Any, slot: Slot) -> bool:
    """Whether the slot was its holder's to settle, now or in an earlier try of this very call."""
    return holds(row, slot) or bool(row.token == slot.token and row.state == "done")


def _columns(one: Settlement) -> dict[str, Any]:
    return {
        "slot_number": one.slot.number,
        "outcome": one.outcome,
        "value": one.value,
        "result": dump(one.result),
        "score": _finite(one.score),
        "fidelity": _finite(one.fidelity),
        "spread": _finite(one.spread),
        "measured": dump(one.result.get("measured") or None),
        "rungs": dump(one.result.get("rungs") or None),
    }


def _finite(number: float | None) -> float | None:
    """The number, None for NaN or infinity: what one engine keeps of them another does not."""
    return number if number is not None and math.isfinite(number) else None
