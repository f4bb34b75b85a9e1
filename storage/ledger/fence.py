"""The fence: no change to a slot but by its present holder, and every change with its event.

A holder's statement names its tokens. Slots that it does not match are looked at once more: with
our own token on it, an earlier try of the same statement arrived and only its reply was lost; with
another one, a newer holder has the slot, which is recorded and told. One lost slot of a batch is no
harm to the others.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, final

from sqlalchemy import Connection, Row, select, update

from ..database.database import Database
from ..database.tables import slots
from ..errors import LeaseLost
from . import events
from .events import EventKind
from .slot import Slot, SlotState, StudyRow, of_study


@final
class Fence:
    """One worker's way to change slots of one study."""

    def __init__(self, database: Database, study: StudyRow, *, worker: str | None = None) -> None:
        self._database = database
        self._study = study
        self._worker = worker

    def update_slots(
        self,
        batch: Sequence[Slot],
        action: str,
        values: Mapping[str, Any],
        *,
        event: EventKind | None = None,
        settled_states: Collection[SlotState] = (),
    ) -> list[Slot]:
        """Set columns of slots, the same in each, in a transaction that need not be durable.

        Args:
            batch: The slots, as claimed.
            action: What the holder wants, in words for people.
            values: Columns and what they become.
            event: Recorded once for each slot and holder, or nothing to record.
            settled_states: States in which our own token on a slot means that nothing is left to do.

        Returns:
            Those of the batch that another holder has.
        """
        if not batch:
            return []
        statement = (
            update(slots)
            .where(
                of_study(self._study.id),
                slots.c.number.in_([slot.number for slot in batch]),
                slots.c.token.in_([slot.token for slot in batch]),
                slots.c.state == SlotState.LEASED,
            )
            .values(**values)
            .returning(slots.c.number)
        )

        def update_and_check(connection: Connection) -> list[Slot]:
            changed = set(connection.scalars(statement))
            if event is not None:
                changed_slots = [slot for slot in batch if slot.number in changed]
                self.append(
                    connection,
                    [self.new_event(event, slot, idempotent=True) for slot in changed_slots],
                )
            unmatched = [slot for slot in batch if slot.number not in changed]
            rows = self.lock_rows(connection, unmatched)
            lost = [
                slot
                for slot in unmatched
                if rows[slot.number].token != slot.token
                or rows[slot.number].state not in settled_states
            ]
            self.record_refusals(connection, lost, action=action)
            return lost

        return self._database.write(update_and_check, durable=False)

    def lock_rows(self, connection: Connection, batch: Sequence[Slot]) -> dict[int, Row[Any]]:
        """The slots' rows by number, locked until the transaction ends."""
        if not batch:
            return {}
        # In the order of their numbers, as everybody does: so nobody waits in a circle.
        query = (
            select(slots)
            .where(of_study(self._study.id), slots.c.number.in_([slot.number for slot in batch]))
            .order_by(slots.c.number)
            .with_for_update()
        )
        return {row.number: row for row in connection.execute(query)}

    def new_event(
        self, kind: EventKind, slot: Slot, *, idempotent: bool = False, **detail: Any
    ) -> events.NewEvent:
        """An event of this slot; `idempotent` for those that a holder can cause only once."""
        return events.NewEvent(
            kind=kind,
            number=slot.number,
            token=slot.token,
            worker=self._worker,
            idempotency_key=f"{kind}:{slot.token}" if idempotent else None,
            detail=detail,
        )

    def append(self, connection: Connection, entries: Sequence[events.NewEvent]) -> None:
        """Record events in the caller's transaction."""
        events.append_all(connection, self._study.id, entries)

    def record_refusals(self, connection: Connection, batch: Sequence[Slot], **detail: Any) -> None:
        """Record what the holder of these slots was not allowed."""
        self.append(
            connection, [self.new_event(EventKind.REFUSED, slot, **detail) for slot in batch]
        )

    def lease_lost(self, slot: Slot, action: str) -> LeaseLost:
        """The error for a holder whose statement matched no row."""
        return LeaseLost(
            f"Worker '{self._worker}' no longer holds slot {slot.number} of the study "
            f"'{self._study.name}' and cannot {action}: its lease ended and another worker may "
            "have the slot, or the trial was paused or cancelled; drop this training and claim a "
            "new slot."
        )


def is_held(row: Row[Any], slot: Slot) -> bool:
    """Whether a row that was looked at is still this holder's, with the widths that it bound.

    A crash of the server may keep a claim and take back the binding after it, which was not durable
    yet: a result of those widths is then nobody's.
    """
    has_binding = slot.widths is None or row.widths_key is not None
    return bool(row.token == slot.token and row.state == SlotState.LEASED and has_binding)
