"""The ledger: a study's budget as slots that workers claim, hold by lease, and settle exactly once.

A slot is `free`, `leased` or `done`. A claim gives it to one worker under a fresh token and a lease
by the database's clock; every later change is fenced: it is made only while that very token is on
the row, and whoever lost the slot is told so. `done` is the commit point and waits for the disk; so
does making the trial, and with it all that came before. A crash of the server may take back the
newest claims, beats and releases, which time repairs, but no result.

    ledger = Ledger(database, study, worker="host:4711")
    slot = ledger.claim()                        # free -> leased, or an ended lease -> leased anew
    if slot.widths is None:
        slot = ledger.bind(slot, {"a": 64}, "sampler")        # WidthsTaken: propose others
    ledger.beat(slot)                            # well within the lease, from a thread of its own
    ledger.done(slot, outcome="complete", value=0.97, result={})          # leased -> done
    ledger.done(slot, outcome="complete", value=0.97, result={})          # again: no change
    # Had another worker claimed the slot after the lease ended, beat and done raise LeaseLost.

Instead of `done`: `fail_attempt` after an exception (leased -> free, or done once it failed too
often) and `release` when the worker drains (leased -> free, the attempt not counted). A slot keeps
its widths and its trial on the way through other hands. `claim_many`, `bind_many` and so on do the
same for a batch, in one transaction and few statements; a slot of it that is lost is told, and does
its neighbours no harm.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, final

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from . import binding, budget, census, claims, control
from .binding import Binding, NotBound
from .clock import database_now
from .database import Database
from .errors import WidthsTaken
from .fence import Fence
from .row import Status, StudyRow
from .settlement import FAILING, Settlement, fail, settle
from .slot import Counts, Record, Slot
from .tables import slots
from .tried import Reader, Tried

__all__ = ["Counts", "Ledger", "NotBound", "Record", "Settlement", "Slot", "Tried"]


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
        self._reader = Reader(database, study)

    def claim(self) -> Slot | None:
        """Take the lowest slot that is free or whose lease has ended; None if there is none.

        None too while the study is paused or cancelled; a trial that is paused is passed over.

        Raises:
            SchemaMismatch: If the tables were upgraded since this worker began.
        """
        return next(iter(self.claim_many(1)), None)

    def claim_many(self, most: int) -> list[Slot]:
        """Take up to `most` slots in one transaction; otherwise as `claim`.

        Returns:
            The slots, each with a token and a lease of its own: those with widths first, then by
            number; fewer than asked for, or none, where there are no more.
        """
        if most < 1:
            raise ValueError(f"A claim takes 1 slot or more, not {most}.")
        return claims.claim(
            self._database,
            self._study,
            self._fence,
            most=most,
            worker=self._worker,
            lease_seconds=self._lease_seconds,
        )

    def bind(self, slot: Slot, widths: Mapping[str, int], origin: str) -> Slot:
        """Bind widths to a slot that has none.

        Returns:
            The slot with its widths.

        Raises:
            WidthsTaken: If another slot of the study holds these widths.
            LeaseLost: If the slot has another holder.
            ValueError: If the slot already holds other widths.
        """
        [result] = self.bind_many([(slot, widths, origin)])
        if result is NotBound.TAKEN:
            plain = {name: int(width) for name, width in widths.items()}
            raise WidthsTaken(
                f"Another slot of the study '{self._study.name}' holds the widths {plain}; "
                "propose others."
            )
        if result is NotBound.LOST:
            raise self._fence.lost(slot, "bind widths")
        return result

    def bind_many(self, bindings: Sequence[Binding]) -> list[Slot | NotBound]:
        """Bind widths to slots, all in one transaction; otherwise as `bind`.

        Args:
            bindings: Slot, widths and origin of each.

        Returns:
            For each, the slot with its widths, `NotBound.TAKEN` or `NotBound.LOST`. Where two of
            the batch want the same widths the first gets them.
        """

        def work(connection: Connection) -> list[Slot | NotBound]:
            return binding.bind(connection, self._study.id, self._fence, bindings)

        for collisions in itertools.count():
            try:
                return self._database.write(work, durable=False)
            except IntegrityError:
                # Another worker bound some of these widths since we asked. It is seen next time,
                # so this happens once for each of them at most.
                if collisions == len(bindings):
                    raise
        raise AssertionError("an endless loop ended")

    def bind_trial(self, slot: Slot, trial_id: int) -> Slot:
        """Bind Optuna's trial (`Projection.open` has done so); LeaseLost if the slot is lost."""
        action = "bind its trial"
        if self._fence.change([slot], action, {"trial_id": trial_id}):
            raise self._fence.lost(slot, action)
        return dataclasses.replace(slot, trial_id=trial_id)

    def beat(self, slot: Slot) -> None:
        """Extend the lease; LeaseLost if the slot is lost, nothing if we settled it ourselves."""
        if self.beat_many([slot]):
            raise self._fence.lost(slot, "extend its lease")

    def beat_many(self, batch: Sequence[Slot]) -> list[Slot]:
        """Extend the leases of slots in one statement; returns those that are lost."""
        lease = {"lease_until": database_now() + self._lease_seconds}
        return self._fence.change(batch, "extend its lease", lease, settled=("free", "done"))

    def done(
        self,
        slot: Slot,
        *,
        outcome: str,
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
            raise self._fence.lost(slot, "record its result")

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
        again = self._database.write(
            lambda connection: fail(
                connection, self._study.id, self._fence, slot, error, self._max_attempts
            )
        )
        if again is None:
            raise self._fence.lost(slot, FAILING)
        return again

    def release(self, slot: Slot) -> None:
        """Give the slot back on a drain, the attempt not counted; LeaseLost if it is lost."""
        if self.release_many([slot]):
            raise self._fence.lost(slot, "release it")

    def release_many(self, batch: Sequence[Slot]) -> list[Slot]:
        """Give slots back in one transaction; returns those that are lost, otherwise `release`."""
        values = {"state": "free", "attempts": slots.c.attempts - 1}
        return self._fence.change(
            batch, "release it", values, event="released", settled=("free", "done")
        )

    def extend(self, slots: int) -> int:
        """Add exactly that many slots, whoever else adds some; returns the new budget."""
        return budget.extend(self._database, self._study, more=slots, worker=self._worker)

    def set_budget(self, total: int) -> int:
        """See to it that there are so many slots; BudgetRefused if there are more already."""
        return budget.set_budget(self._database, self._study, total=total, worker=self._worker)

    def status(self) -> Status:
        """Whether the study is open, paused or cancelled at this moment."""
        return control.status_of(self._database, self._study)

    def counts(self) -> Counts:
        """How many slots are in which condition."""
        return census.counts(self._database, self._study)

    def open_slots(self) -> int:
        """Slots that are not done."""
        return census.open_slots(self._database, self._study)

    def oldest_lease(self) -> float | None:
        """Seconds until a leased slot may be claimed: 0 if one may be now, None without leases."""
        return census.oldest_lease(self._database, self._study, self._lease_seconds)

    def record(self, number: int) -> Record:
        """One slot as it is now."""
        return census.record(self._database, self._study, number)

    def records(self) -> list[Record]:
        """All slots by number."""
        return census.records(self._database, self._study)

    def held(self) -> list[Record]:
        """The slots that a worker holds now, by number: their leases have not ended."""
        return census.held(self._database, self._study)

    def bound_widths(self) -> list[Mapping[str, int]]:
        """The widths of every slot that has some: none of them may be proposed again."""
        return census.bound_widths(self._database, self._study)

    def tried(self) -> list[Tried]:
        """Every slot that has widths, by number, in the few columns that proposals need."""
        return self._reader.read()

    def unbound(self) -> int:
        """Slots that are not done and have no widths yet."""
        return census.unbound(self._database, self._study)

    def out_of_memory(self) -> list[tuple[Mapping[str, int], str | None]]:
        """What ran out of memory: the widths, and the class of the device where it is known."""
        return census.out_of_memory(self._database, self._study)
