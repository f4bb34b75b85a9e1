"""The ledger: a study's budget as slots that workers claim, hold by lease, and settle exactly once.

A slot is `free`, `leased` or `done`. A claim gives it to one worker under a fresh token and a lease
by the database's clock; every later change is fenced: it is made only while that very token is on
the row, and whoever lost the slot is told so. `done` is the commit point and waits for the disk; so
does making the trial, and with it all that came before. A crash of the server may take back the
newest claims, beats and releases, which time repairs, but no result.

    ledger = Ledger(database, study, worker="host:4711")
    slots = ledger.claim_many(4)                 # free -> leased, or an ended lease -> leased anew
    fresh = [(slot, propose(), "sampler") for slot in slots if slot.widths is None]
    ledger.bind_many(fresh)                      # NotBound.TAKEN: propose others for that one
    ledger.beat_many(slots)                      # well within the lease, from a thread of its own
    ledger.done(slot, outcome="complete", value=0.97, result={})          # leased -> done
    ledger.done(slot, outcome="complete", value=0.97, result={})          # again: no change
    # Had another worker claimed the slot after the lease ended, done raises LeaseLost.

Instead of `done`: `fail_attempt` after an exception (leased -> free, or done once it failed too
often) and `release_many` when the worker drains (leased -> free, the attempt not counted). A slot
keeps its widths and its trial on the way through other hands. `claim_many`, `bind_many` and so on
act on a batch, in one transaction and few statements; a slot of it that is lost is told, and does
its neighbours no harm.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, final

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from ..database.database import Database
from ..database.dialect import database_now
from ..database.tables import slots
from . import bind, budget, claim, queries
from .bind import BindFailure, Binding
from .events import EventKind
from .fence import Fence
from .settle import FAILURE_ACTION, Settlement, fail, settle
from .slot import Slot, SlotCounts, SlotRecord, SlotState, StudyRow, StudyStatus, TrialOutcome
from .tried import TriedReader, TriedSlot

__all__ = ["BindFailure", "Ledger", "Settlement", "Slot", "SlotCounts", "SlotRecord", "TriedSlot"]


@final
class Ledger:
    """One worker's hold on a study's ledger; may be used by several threads."""

    def __init__(
        self,
        database: Database,
        study: StudyRow,
        *,
        worker: str,
        lease_seconds: float = 30.0,
        max_attempts: int = 3,
    ) -> None:
        """Open the ledger of a study.

        Args:
            database: Where it is.
            study: Whose slots.
            worker: Name of this worker, for people.
            lease_seconds: How long a claim or a beat holds a slot.
            max_attempts: So many failed attempts make a slot done with the outcome 'error'.
        """
        self._database = database
        self._study = study
        self._worker = worker
        self._lease_seconds = lease_seconds
        self._max_attempts = max_attempts
        self._fence = Fence(database, study, worker=worker)
        self._tried_reader = TriedReader(database, study)

    def claim_many(self, limit: int) -> list[Slot]:
        """Take up to `limit` slots, free ones or those whose lease has ended, in one transaction.

        None while the study is paused or cancelled; a trial that is paused is passed over.

        Returns:
            The slots, each with a token and a lease of its own: those with widths first, then by
            number; fewer than asked for, or none, where there are no more.

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

    def bind_many(self, bindings: Sequence[Binding]) -> list[Slot | BindFailure]:
        """Bind widths to slots that have none, all in one transaction.

        Args:
            bindings: Slot, widths and origin of each.

        Returns:
            For each, the slot with its widths, `NotBound.TAKEN` if another slot of the study holds
            them, or `NotBound.LOST` if the slot has another holder. Where two of the batch want the
            same widths the first gets them.

        Raises:
            ValueError: If a slot already holds other widths.
        """

        def bind_batch(connection: Connection) -> list[Slot | BindFailure]:
            return bind.bind(connection, self._study.id, self._fence, bindings)

        for collisions in itertools.count():
            try:
                return self._database.write(bind_batch, durable=False)
            except IntegrityError:
                # Another worker bound some of these widths since we asked. It is seen next time,
                # so this happens once for each of them at most.
                if collisions == len(bindings):
                    raise
        raise AssertionError("an endless loop ended")

    def beat_many(self, batch: Sequence[Slot]) -> list[Slot]:
        """Extend the leases of slots in one statement; returns those that are lost.

        Nothing happens to a slot that we settled ourselves.
        """
        lease = {"lease_until": database_now() + self._lease_seconds}
        return self._fence.update_slots(
            batch, "extend its lease", lease, settled_states=(SlotState.FREE, SlotState.DONE)
        )

    def done(
        self,
        slot: Slot,
        *,
        outcome: TrialOutcome,
        value: float | None,
        result: Mapping[str, Any],
        score: float | None = None,
        fidelity: float | None = None,
        spread: float | None = None,
    ) -> None:
        """Settle a slot: the commit point. The same call again changes nothing.

        Args and ValueError are those of `Settlement`.

        Raises:
            LeaseLost: If the slot has another holder; nothing of this result is kept.
        """
        settlement = Settlement(
            slot=slot,
            outcome=outcome,
            value=value,
            result=result,
            score=score,
            fidelity=fidelity,
            spread=spread,
        )
        if self.done_many([settlement]):
            raise self._fence.lease_lost(slot, "record its result")

    def done_many(self, batch: Sequence[Settlement]) -> list[Slot]:
        """Settle slots in one transaction: the commit point of each.

        Returns:
            Those that another holder has; nothing of their results is kept, all of the others' is.
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
            True if the slot is free again for another attempt; False if it has failed too often
            and is done with the outcome 'error'.

        Raises:
            LeaseLost: If the slot has another holder.
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
        """Give slots back on a drain, the attempts not counted; returns those that are lost."""
        values = {"state": SlotState.FREE, "attempts": slots.c.attempts - 1}
        return self._fence.update_slots(
            batch,
            "release it",
            values,
            event=EventKind.RELEASED,
            settled_states=(SlotState.FREE, SlotState.DONE),
        )

    def extend(self, additional: int) -> int:
        """Add exactly that many slots, whoever else adds some; returns the new budget."""
        return budget.extend(
            self._database, self._study, additional=additional, worker=self._worker
        )

    def set_budget(self, total: int) -> int:
        """See to it that there are so many slots; BudgetRefused if there are more already."""
        return budget.set_budget(self._database, self._study, total=total, worker=self._worker)

    def status(self) -> StudyStatus:
        """Whether the study is open, paused or cancelled at this moment."""
        return queries.status_of(self._database, self._study)

    def counts(self) -> SlotCounts:
        """How many slots are in which condition."""
        return queries.counts(self._database, self._study)

    def open_slots(self) -> int:
        """Slots that are not done."""
        return queries.open_slots(self._database, self._study)

    def seconds_until_claimable(self) -> float | None:
        """Seconds until a leased slot may be claimed: 0 if one may be now, None without leases."""
        return queries.seconds_until_claimable(self._database, self._study, self._lease_seconds)

    def record(self, number: int) -> SlotRecord:
        """One slot as it is now."""
        return queries.record(self._database, self._study, number)

    def records(self) -> list[SlotRecord]:
        """All slots by number."""
        return queries.records(self._database, self._study)

    def leased(self) -> list[SlotRecord]:
        """The slots that a worker holds now, by number: their leases have not ended."""
        return queries.leased(self._database, self._study)

    def tried(self) -> list[TriedSlot]:
        """Every slot that has widths, by number, in the few columns that proposals need."""
        return self._tried_reader.read()

    def unbound(self) -> int:
        """Slots that are not done and have no widths yet."""
        return queries.unbound(self._database, self._study)

    def out_of_memory(self) -> list[tuple[Mapping[str, int], str | None]]:
        """What ran out of memory: the widths, and the class of the device where it is known."""
        return queries.out_of_memory(self._database, self._study)
