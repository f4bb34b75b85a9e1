"""The ledger: a study's budget as slots that workers claim, hold by lease, and settle exactly once.

A slot is free, leased or done. A claim gives it to one worker under a fresh token and a lease by
the database's clock. Every later change is fenced: it is made only while that very token is on the
row, and a worker that lost the slot is told so. To settle a slot is the commit point and waits for
the disk; so does making its trial, and with it all that came before. A crash of the server may take
back the newest claims, beats and releases, which time repairs, but no result.

    ledger = Ledger(database, study, worker="host:4711")
    slots = ledger.claim_many(4)                 # free -> leased, or an ended lease -> leased anew
    ledger.bind_many([WidthBinding(slot=slots[0], widths={"a": 8}, origin="sampler")])
    ledger.beat_many(slots)                      # well within the lease, from a thread of its own
    ledger.settle_many(                          # leased -> done; the same again: no change
        [Settlement(slot=slots[0], outcome=TrialOutcome.COMPLETE, value=0.97)]
    )

Instead of `settle_many`: `fail_attempt` after an exception (leased -> free, or done once it failed
too often) and `release_many` when the worker stops (leased -> free, the attempt not counted). A
slot keeps its widths and its trial on the way through other hands. `add_planned` adds slots that
have their widths, seed and overrides from the beginning. A batch is one transaction of
few statements; of its slots those that another worker has are returned, and do the others no harm.

Whoever does not hold slots reads by `LedgerReader`; a holder has one as `Ledger.reader`.
"""

from collections.abc import Sequence
from typing import Any, final

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from ..database.database import Database
from ..database.dialect import database_now
from ..database.tables import slots
from . import bind, budget, claim, events, plan
from .bind import BindFailure, WidthBinding
from .claim import LEASE_SECONDS
from .fence import Fence
from .plan import PlannedTrial
from .queries import LedgerReader
from .settle import FAILURE_ACTION, Settlement, fail, settle
from .slot import Slot, SlotCounts, SlotRecord, SlotState, StudyRow, TrialOutcome
from .tried import TriedSlot

__all__ = [
    "BindFailure",
    "Ledger",
    "LedgerReader",
    "PlannedTrial",
    "Settlement",
    "Slot",
    "SlotCounts",
    "SlotRecord",
    "TrialOutcome",
    "TriedSlot",
    "WidthBinding",
]


@final
class Ledger:
    """One worker's hold on a study's ledger; may be used by several threads.

    Attributes:
        reader: Reads the study's slots, this worker's and all others.
    """

    reader: LedgerReader

    def __init__(
        self,
        database: Database,
        study: StudyRow,
        *,
        worker: str,
        lease_seconds: float = LEASE_SECONDS,
        max_attempts: int = 3,
    ) -> None:
        """Open the ledger of a study.

        Args:
            database: Where it is.
            study: Whose slots.
            worker: Name of this worker, for people.
            lease_seconds: How long a claim or a beat holds a slot.
            max_attempts: After so many failed attempts a slot is done with the outcome 'error'.
        """
        self._database = database
        self._study = study
        self._worker = worker
        self._lease_seconds = lease_seconds
        self._max_attempts = max_attempts
        self._fence = Fence(database, study, worker=worker)
        self.reader = LedgerReader(database, study, lease_seconds=lease_seconds)

    def claim_many(self, limit: int) -> list[Slot]:
        """Lease up to `limit` slots, free ones or those whose lease has ended, in one transaction.

        Returns:
            The slots, each with a token and a lease of its own: those with widths first, then by
            number. Fewer than `limit` where there are no more; none while the study is not open. A
            paused slot is passed over.

        Raises:
            SchemaMismatch: If the tables were upgraded since this worker began.
        """
        if limit < 1:
            raise ValueError(f"A claim takes 1 slot or more, not {limit}.")
        return claim.claim(
            self._database,
            self._study,
            self._fence,
            limit=limit,
            worker=self._worker,
            lease_seconds=self._lease_seconds,
        )

    def warn(self, sentence: str) -> None:
        """Record what people should know of this worker, and no trial suffers from."""
        entry = events.NewEvent(
            kind=events.EventKind.WARNING, worker=self._worker, detail={"warning": sentence}
        )
        self._database.write(lambda connection: events.append(connection, self._study.id, entry))

    def bind_many(self, bindings: Sequence[WidthBinding]) -> list[Slot | BindFailure]:
        """Bind widths to slots that have none, all in one transaction.

        Returns:
            For each, the slot with its widths, `BindFailure.TAKEN` if another slot of the study has
            them, or `BindFailure.LOST` if another worker has the slot. Where two of the batch have
            the same widths the first gets them.

        Raises:
            ValueError: If a slot already holds other widths.
        """

        def bind_batch(connection: Connection) -> list[Slot | BindFailure]:
            return bind.bind(connection, self._study.id, self._fence, bindings)

        collisions = 0
        while True:
            try:
                return self._database.write(bind_batch, durable=False)
            except IntegrityError:
                # Another worker bound some of these widths since their owners were read. The next
                # attempt sees it, so this happens at most once for each of them.
                if collisions == len(bindings):
                    raise
                collisions += 1

    def beat_many(self, batch: Sequence[Slot]) -> list[Slot]:
        """Extend the leases of slots in one statement; return those that another worker has.

        Slots that this worker settled or gave back stay as they are.
        """
        lease = {"lease_until": database_now() + self._lease_seconds}
        return self._fence.update_slots(
            batch, "extend its lease", lease, settled_states=(SlotState.FREE, SlotState.DONE)
        )

    def settle_many(self, batch: Sequence[Settlement]) -> list[Slot]:
        """Settle slots in one durable transaction: the commit point of each.

        The same call again changes nothing.

        Returns:
            Those that another worker has; of their results nothing is kept.
        """
        return self._database.write(
            lambda connection: settle(connection, self._study.id, self._fence, batch)
        )

    def fail_attempt(self, slot: Slot, error: str) -> bool:
        """Give up this attempt after an exception in the training.

        Args:
            slot: The slot, as claimed.
            error: One line on what went wrong.

        Returns:
            True if the slot is free for another attempt; False if it has failed too often and is
            done with the outcome 'error'.

        Raises:
            LeaseLost: If another worker has the slot.
        """
        will_retry = self._database.write(
            lambda connection: fail(
                connection, self._study.id, self._fence, slot, error, self._max_attempts
            )
        )
        if will_retry is None:
            raise self._fence.lease_lost(slot, FAILURE_ACTION)
        return will_retry

    def release_many(self, batch: Sequence[Slot]) -> list[Slot]:
        """Give slots back, their attempts not counted; return those that another worker has."""
        values = {"state": SlotState.FREE, "attempts": slots.c.attempts - 1}
        return self._fence.update_slots(
            batch,
            "release it",
            values,
            event=events.EventKind.RELEASED,
            settled_states=(SlotState.FREE, SlotState.DONE),
        )

    def extend(self, additional: int) -> int:
        """Add exactly that many slots, whoever else adds some; return the new budget."""
        return budget.extend(
            self._database, self._study, additional=additional, worker=self._worker
        )

    def close(self, **detail: Any) -> int | None:
        """End the budget behind the last slot that anybody holds or has trained.

        A study does so once; this worker's own slots stay, too.

        Args:
            **detail: Why, for the event.

        Returns:
            How many slots were taken back; None where the study was closed before.
        """
        return budget.close(self._database, self._study, worker=self._worker, detail=detail)

    def set_budget(self, total: int) -> int:
        """Raise the number of slots to `total`; return the budget.

        Raises:
            BudgetRefused: If there are more already.
        """
        return budget.set_budget(self._database, self._study, total=total, worker=self._worker)

    def add_planned(self, planned: Sequence[PlannedTrial]) -> int:
        """Add a slot for each planned training that has none yet; return how many were added.

        The budget grows by just as many, in the same transaction.

        Raises:
            BudgetRefused: If that are too many.
        """
        return plan.add_planned(self._database, self._study, planned, worker=self._worker)
