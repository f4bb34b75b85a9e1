"""The ledger: a study's budget as slots that workers claim, hold by lease, and settle exactly once.

A slot is `free`, `leased` or `done`. A claim gives it to one worker under a fresh token and a lease
by the database's clock; every later change is one fenced statement (`WHERE token = mine AND state =
'leased'`), so whoever lost the slot matches no row and is told so. `done` is the commit point.

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
its widths and its trial on the way through other hands.
"""

import dataclasses
import math
import uuid
from collections.abc import Mapping
from typing import Any, final

from sqlalchemy import Connection, func, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from . import budget, census
from .clock import database_now
from .database import Database
from .errors import WidthsTaken
from .fence import Fence
from .row import StudyRow
from .slot import Counts, Record, Slot, dump, held, next_claimable, of_study, slot_of, widths_key
from .tables import OUTCOMES, slots

__all__ = ["Counts", "Ledger", "Record", "Slot"]


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

    def claim(self) -> Slot | None:
        """Take the lowest slot that is free or whose lease has ended; None if there is none."""
        token = uuid.uuid4().hex
        query = next_claimable(self._study.id, token, self._lease_seconds)

        def work(connection: Connection) -> Slot | None:
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            if row.token == token:  # our commit arrived, its reply did not
                return slot_of(row)
            claimed = connection.execute(
                update(slots)
                .where(of_study(self._study.id), slots.c.number == row.number)
                .values(
                    state="leased",
                    token=token,
                    worker=self._worker,
                    lease_until=self._new_lease(),
                    attempts=slots.c.attempts + 1,
                    started_at=func.coalesce(slots.c.started_at, database_now()),
                )
                .returning(*slots.c)
            ).one()
            slot = slot_of(claimed)
            if row.state == "leased":
                self._fence.append(connection, "reclaimed", slot, once=True, lost_by=row.worker)
            else:
                self._fence.append(connection, "claimed", slot, once=True)
            return slot

        return self._database.write(work)

    def bind(self, slot: Slot, widths: Mapping[str, int], origin: str) -> Slot:
        """Bind widths to a slot that has none.

        Returns:
            The slot with its widths.

        Raises:
            WidthsTaken: If another slot of the study holds these widths.
            LeaseLost: If the slot has another holder.
            ValueError: If the slot already holds other widths.
        """
        plain = {name: int(width) for name, width in widths.items()}
        if slot.widths is not None and dict(slot.widths) != plain:
            raise ValueError(
                f"Slot {slot.number} holds the widths {dict(slot.widths)}, so {plain} cannot be "
                "bound to it; train what it holds."
            )
        values = {"widths": dump(plain), "widths_key": widths_key(plain), "origin": origin}
        try:
            self._fence.change(slot, "bind widths", values, event="bound", widths=plain)
        except IntegrityError:  # the unique index on a study's widths
            self._database.write(
                lambda connection: self._fence.append(connection, "refused", slot, widths=plain)
            )
            raise WidthsTaken(
                f"Another slot of the study '{self._study.name}' holds the widths {plain}; "
                "propose others."
            ) from None
        return dataclasses.replace(slot, widths=plain, origin=origin)

    def bind_trial(self, slot: Slot, trial_id: int) -> Slot:
        """Bind Optuna's trial (`Projection.open` has done so); LeaseLost if the slot is lost."""
        self._fence.change(slot, "bind its trial", {"trial_id": trial_id})
        return dataclasses.replace(slot, trial_id=trial_id)

    def beat(self, slot: Slot) -> None:
        """Extend the lease; LeaseLost if the slot is lost, nothing if we settled it ourselves."""
        values = {"lease_until": self._new_lease()}
        self._fence.change(slot, "extend its lease", values, settled=("free", "done"))

    def done(
        self, slot: Slot, *, outcome: str, value: float | None, result: Mapping[str, Any]
    ) -> None:
        """Settle a slot: the commit point. The same call again changes nothing.

        Args:
            slot: The slot, as claimed.
            outcome: complete, pruned, infeasible, nan, out_of_memory or error.
            value: The metric, a finite number, of a complete one; None for any other.
            result: What JSON can hold; `curve` and `attributes` are shown to Optuna.

        Raises:
            LeaseLost: If the slot has another holder; nothing of this result is kept.
            ValueError: If outcome and value do not fit.
        """
        if outcome not in OUTCOMES:
            raise ValueError(f"A slot cannot end as '{outcome}'; expected one of {OUTCOMES}.")
        if (outcome == "complete") != (value is not None and math.isfinite(value)):
            raise ValueError(
                f"A slot cannot end as '{outcome}' with the value {value}; a complete one has a "
                "finite value, any other None."
            )
        values = {
            "state": "done",
            "outcome": outcome,
            "value": value,
            "result": dump(result),
            "finished_at": database_now(),
        }
        self._fence.change(
            slot, "record its result", values, event="done", settled=("done",), outcome=outcome
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

        def work(connection: Connection) -> bool | None:
            row = self._fence.look(connection, slot)
            if row.token != slot.token:
                self._fence.append(connection, "refused", slot, action="record a failure")
                return None
            if row.state != "leased":  # our commit arrived, its reply did not
                return bool(row.state == "free")
            again: bool = row.failures + 1 < self._max_attempts
            end = {
                "state": "done",
                "outcome": "error",
                "result": dump({"error": error}),
                "finished_at": database_now(),
            }
            connection.execute(
                update(slots)
                .where(held(self._study.id, slot))
                .values(failures=slots.c.failures + 1, **({"state": "free"} if again else end))
            )
            self._fence.append(connection, "failed", slot, once=True, error=error, again=again)
            return again

        again = self._database.write(work)
        if again is None:
            raise self._fence.lost(slot, "record a failure")
        return again

    def release(self, slot: Slot) -> None:
        """Give the slot back on a drain, the attempt not counted; LeaseLost if it is lost."""
        values = {"state": "free", "attempts": slots.c.attempts - 1}
        self._fence.change(slot, "release it", values, event="released", settled=("free", "done"))

    def extend(self, slots: int) -> int:
        """Add exactly that many slots, whoever else adds some; returns the new budget."""
        return budget.extend(self._database, self._study, more=slots, worker=self._worker)

    def set_budget(self, total: int) -> int:
        """See to it that there are so many slots; BudgetRefused if there are more already."""
        return budget.set_budget(self._database, self._study, total=total, worker=self._worker)

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

    def _new_lease(self) -> ColumnElement[float]:
        return database_now() + self._lease_seconds
