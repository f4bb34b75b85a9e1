"""The fence: no change to a slot but by its present holder, and every change with its event.

A holder's statement names its token (`slot.held`). If it matches no row, the slot is looked at
once more: with our own token on it, an earlier try of the same statement arrived and only its reply
was lost; with another one, a newer holder has the slot, which is recorded and raised.
"""

from collections.abc import Collection, Mapping
from typing import Any, final

from sqlalchemy import Connection, Row, select, update

from . import events
from .database import Database
from .errors import LeaseLost
from .row import StudyRow
from .slot import Slot, held, of_study
from .tables import slots


@final
class Fence:
    """One worker's way to change slots of one study."""

    def __init__(self, database: Database, study: StudyRow, *, worker: str | None = None) -> None:
        self._database = database
        self._study = study
        self._worker = worker

    def change(
        self,
        slot: Slot,
        action: str,
        values: Mapping[str, Any],
        *,
        event: events.Kind | None = None,
        settled: Collection[str] = (),
        **detail: Any,
    ) -> None:
        """Set columns of a slot in a transaction of its own.

        Args:
            slot: The slot, as claimed.
            action: What the holder wants, in words for people.
            values: Columns and what they become.
            event: Recorded once for this holder, or nothing to record.
            settled: States in which our own token on the slot means that nothing is left to do.
            **detail: Of the event.

        Raises:
            LeaseLost: If another holder has the slot.
        """

        def work(connection: Connection) -> bool:
            statement = update(slots).where(held(self._study.id, slot)).values(**values)
            if connection.execute(statement).rowcount == 1:
                if event is not None:
                    self.append(connection, event, slot, once=True, **detail)
                return True
            row = self.look(connection, slot)
            if row.token == slot.token and row.state in settled:
                return True
            self.append(connection, "refused", slot, action=action)
            return False

        if not self._database.write(work):
            raise self.lost(slot, action)

    def look(self, connection: Connection, slot: Slot) -> Row[Any]:
        """The slot's row, locked until the transaction ends."""
        query = select(slots).where(of_study(self._study.id), slots.c.number == slot.number)
        return connection.execute(query.with_for_update()).one()

    def append(
        self,
        connection: Connection,
        kind: events.Kind,
        slot: Slot,
        *,
        once: bool = False,
        **detail: Any,
    ) -> bool:
        """Record an event of this slot; `once` for those that a holder can cause only once."""
        return events.append(
            connection,
            self._study.id,
            kind,
            number=slot.number,
            token=slot.token,
            worker=self._worker,
            once=f"{kind}:{slot.token}" if once else None,
            **detail,
        )

    def lost(self, slot: Slot, action: str) -> LeaseLost:
        """The error for a holder whose statement matched no row."""
        return LeaseLost(
            f"Worker '{self._worker}' no longer holds slot {slot.number} of the study "
            f"'{self._study.name}' and cannot {action}: its lease ended and another worker may "
            "have the slot; drop this training and claim a new slot."
        )
