"""The fence: a slot is changed by its present holder only, and every change has its event.

A holder's statement names its tokens. Rows that it does not match are read again: with our own
token on one, an earlier attempt of the same statement arrived and only its reply was lost; with
another token, a newer holder has the slot, which is recorded and returned. A lost slot of a batch
does not hinder the others.

A transaction whose reply was lost is run again, so each must be safe to repeat. There are three
means: the token here, for whatever a holder does; the claim's name in `claim`, by which a repeated
claim finds what it took; and idempotency keys of events in `budget`, `storage.study.control` and
`storage.study.study`, for commands that no token guards.
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
    """Changes one worker's slots of one study, and refuses to change any other's."""

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
            action: What the holder does, in words for people.
            values: The columns' new values.
            event: Recorded once for each slot and holder; None for no event.
            settled_states: States in which a slot with our own token needs no change any more.

        Returns:
            Those of the batch that another worker has.
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
                # A slot that was given back may have left the budget since, with its row.
                if (row := rows.get(slot.number)) is not None
                and (row.token != slot.token or row.state not in settled_states)
            ]
            self.record_refusals(connection, lost, action=action)
            return lost

        return self._database.write(update_and_check, durable=False)

    def lock_rows(self, connection: Connection, batch: Sequence[Slot]) -> dict[int, Row[Any]]:
        """Return the slots' rows by number, locked until the transaction ends.

        A slot that was given back may have none any more, where the study stopped itself.
        """
        if not batch:
            return {}
        # Every transaction locks in the order of the numbers, so that no two wait for each other.
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
        """Return an event of a slot; `idempotent` for those that a holder can cause only once."""
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
        """Record that a former holder of these slots was refused a change."""
        self.append(
            connection, [self.new_event(EventKind.REFUSED, slot, **detail) for slot in batch]
        )

    def lease_lost(self, slot: Slot, action: str) -> LeaseLost:
        """Return the error for a worker that no longer holds its slot."""
        return LeaseLost(
            f"Worker '{self._worker}' no longer holds slot {slot.number} of the study "
            f"'{self._study.name}' and cannot {action}: its lease ended and another worker may "
            "have the slot, or the trial was paused or cancelled; drop this training and claim a "
            "new slot."
        )


def is_held(row: Row[Any] | None, slot: Slot) -> bool:
    """Return whether a row is still this holder's, with the widths that it bound.

    A crash of the server may keep a claim and lose the binding after it, which was not durable yet:
    a result of those widths then belongs to no slot.
    """
    if row is None:
        return False
    has_binding = slot.widths is None or row.widths_key is not None
    return bool(row.token == slot.token and row.state == SlotState.LEASED and has_binding)
