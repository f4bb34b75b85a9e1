"""How the slots of a batch ended, for the worker that counts failures and for people.

A slot that is done has one of the ledger's outcomes; any other left the batch `Unsettled`.

Entry point: `SlotOutcome`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ...storage.ledger.slot import Slot, TrialOutcome


class Unsettled(enum.StrEnum):
    """How a slot left a batch without being done.

    Attributes:
        RETRY: The attempt failed and was charged; the slot is free for another one.
        RETURNED: Given back, no attempt charged.
        LOST: Another worker has it.
    """

    RETRY = "retry"
    RETURNED = "returned"
    LOST = "lost"


@dataclass(frozen=True, kw_only=True)
class SlotOutcome:
    """How one slot of a batch ended.

    Attributes:
        number: The slot.
        kind: As what it was recorded, or how it left the batch without being done.
        value: The metric of a complete one.
        detail: What went wrong.
    """

    number: int
    kind: TrialOutcome | Unsettled
    value: float | None = None
    detail: str | None = None

    @classmethod
    def lost(cls, slot: Slot) -> SlotOutcome:
        """Return the outcome of a slot that another worker has."""
        return cls(number=slot.number, kind=Unsettled.LOST)

    @property
    def raised(self) -> bool:
        """Whether its code raised, or took its process down."""
        return self.kind in (TrialOutcome.ERROR, Unsettled.RETRY)
