"""The ledger against a model of it: whatever workers do in whatever order, the books balance."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import update
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.database.tables import slots
from widthwise.storage.errors import LeaseLost, TrialRefused
from widthwise.storage.ledger import events
from widthwise.storage.ledger.ledger import Ledger
from widthwise.storage.study import control
from widthwise.storage.study.open_studies import open_studies
from widthwise.storage.study.study import create_study
from widthwise.tests.one_slot import Taken, beat_one, bind_one, claim_one, release_one, settle_one

WORKERS = ("ann", "bob", "cid")
WIDTHS = st.integers(1, 4)
MAX_ATTEMPTS = 2
MAX_BUDGET = 6
LEASE_SECONDS = 0.01
"""So long is an ended lease respected after a start of the server; `hold` makes leases longer."""
FOR_EVER, LONG_AGO = 9e9, 1.0


class LedgerMachine(RuleBasedStateMachine):
    """Three workers at one study, who hold a slot at most and do not know when they lose it.

    Somebody else pauses, continues and cancels the study and its trials as they like.
    """

    database: Database
    studies = 0
    ended: Counter[str]

    def __init__(self):
        super().__init__()
        type(self).studies += 1
        self.study, _ = create_study(
            self.database,
            name=f"study-{self.studies}",
            spec="{}",
            fingerprint="f",
            direction="maximize",
            metric="accuracy",
            base="",
            budget=3,
        )
        self.ledgers = {
            name: Ledger(
                self.database,
                self.study,
                worker=name,
                lease_seconds=LEASE_SECONDS,
                max_attempts=MAX_ATTEMPTS,
            )
            for name in WORKERS
        }
        self.claims_of = {}  # worker -> the slot as it got it
        self.status = "open"
        self.budget = 3
        # 'free', 'paused', 'done' or 'cancelled', or the worker that holds it, or 'ended' and that
        self.states = ["free"] * 3
        self.failures = [0] * 3
        self.widths = [None] * 3
        self.values = [None] * 3

    def try_action(self, worker, action):
        """Act on what the worker holds; it succeeds exactly if the slot is still the worker's."""
        slot = self.claims_of[worker]
        if self.holds(worker):
            action(self.ledgers[worker], slot)
            return slot.number
        with pytest.raises(LeaseLost):
            action(self.ledgers[worker], slot)
        del self.claims_of[worker]
        return None

    def hold(self, number, until):
        """Let the lease of a slot end at that time."""
        this_slot = (slots.c.study_id == self.study.id) & (slots.c.number == number)
        ends = update(slots).where(this_slot).values(lease_until=until)
        self.database.write(lambda connection: connection.execute(ends), durable=False)

    def claimable(self):
        return [
            number
            for number, state in enumerate(self.states)
            if state == "free" or state.startswith("ended")
        ]

    def holds(self, worker):
        slot = self.claims_of[worker]
        state = self.states[slot.number]
        return state == worker or (state == f"ended {worker}")

    @precondition(lambda self: len(self.claims_of) < len(WORKERS))
    @rule(data=st.data())
    def claim(self, data):
        worker = data.draw(
            st.sampled_from([name for name in WORKERS if name not in self.claims_of])
        )
        claimable = self.claimable() if self.status == "open" else []
        claimable.sort(key=lambda number: self.widths[number] is None)  # what was begun goes first
        slot = claim_one(self.ledgers[worker])
        assert (slot.number if slot else None) == (claimable[0] if claimable else None)
        if slot is not None:
            assert (slot.widths or {}).get("a") == self.widths[slot.number]
            self.hold(slot.number, FOR_EVER)
            self.states[slot.number] = worker
            self.claims_of[worker] = slot

    @precondition(lambda self: any(state in WORKERS for state in self.states))
    @rule(data=st.data())
    def end_lease(self, data):
        held = [number for number, state in enumerate(self.states) if state in WORKERS]
        number = data.draw(st.sampled_from(held))
        self.hold(number, LONG_AGO)
        self.states[number] = f"ended {self.states[number]}"

    @precondition(lambda self: any(slot.widths is None for slot in self.claims_of.values()))
    @rule(data=st.data(), width=WIDTHS)
    def bind(self, data, width):
        unbound = [name for name, slot in self.claims_of.items() if slot.widths is None]
        worker = data.draw(st.sampled_from(unbound))
        slot = self.claims_of[worker]

        def act(ledger, slot):
            self.claims_of[worker] = bind_one(ledger, slot, {"a": width}, "sampler")

        if self.holds(worker) and width in self.widths:
            with pytest.raises(Taken):
                act(self.ledgers[worker], slot)
            return
        number = self.try_action(worker, act)
        if number is not None:
            self.widths[number] = width

    @precondition(lambda self: self.claims_of)
    @rule(data=st.data())
    def beat(self, data):
        worker = data.draw(st.sampled_from(sorted(self.claims_of)))
        number = self.try_action(worker, lambda ledger, slot: beat_one(ledger, slot))
        if number is not None:
            self.hold(number, FOR_EVER)
            self.states[number] = worker

    @precondition(lambda self: self.claims_of)
    @rule(data=st.data(), value=st.floats(0, 1))
    def done(self, data, value):
        worker = data.draw(st.sampled_from(sorted(self.claims_of)))

        def act(ledger, slot):
            settle_one(ledger, slot, outcome="complete", value=value, result={"curve": [value]})

        number = self.try_action(worker, act)
        if number is not None:
            self.states[number], self.values[number] = "done", value
            del self.claims_of[worker]

    @precondition(lambda self: self.claims_of)
    @rule(data=st.data())
    def fail(self, data):
        worker = data.draw(st.sampled_from(sorted(self.claims_of)))
        number = self.try_action(worker, lambda ledger, slot: ledger.fail_attempt(slot, "boom"))
        if number is not None:
            self.failures[number] += 1
            again = self.failures[number] < MAX_ATTEMPTS
            self.states[number] = "free" if again else "done"
            del self.claims_of[worker]

    @precondition(lambda self: self.claims_of)
    @rule(data=st.data())
    def release(self, data):
        worker = data.draw(st.sampled_from(sorted(self.claims_of)))
        number = self.try_action(worker, lambda ledger, slot: release_one(ledger, slot))
        if number is not None:
            self.states[number] = "free"
            del self.claims_of[worker]

    @rule(status=st.sampled_from(["open", "open", "paused", "cancelled"]))
    def set_status(self, status):
        before = control.set_status(self.database, self.study, status, worker="eve")
        assert before == self.status
        self.status = status

    @rule(
        command=st.sampled_from(
            [control.pause_trial, control.continue_trial, control.cancel_trial]
        ),
        number=st.integers(0, MAX_BUDGET),
    )
    def control_trial(self, command, number):
        def act():
            command(self.database, self.study, number, worker="eve")

        state = self.states[number] if number < self.budget else "absent"
        again = state == "cancelled" and command is control.cancel_trial
        if state in ("absent", "done", "cancelled") and not again:
            with pytest.raises(TrialRefused):
                act()
            return
        act()
        if command is control.continue_trial:
            self.states[number] = "free" if state == "paused" else state
        else:
            self.states[number] = "paused" if command is control.pause_trial else "cancelled"

    @precondition(lambda self: self.budget < MAX_BUDGET)
    @rule(worker=st.sampled_from(WORKERS), more=st.integers(0, 1))
    def extend(self, worker, more):
        self.budget += more
        for column, empty in (
            (self.states, "free"),
            (self.failures, 0),
            (self.widths, None),
            (self.values, None),
        ):
            column.extend([empty] * more)
        assert self.ledgers[worker].extend(more) == self.budget

    @invariant()
    def the_books_balance(self):
        ledger = self.ledgers["ann"]
        records = ledger.reader.records()
        assert [record.number for record in records] == list(range(self.budget))
        assert [record.value for record in records] == self.values
        assert [record.failures for record in records] == self.failures
        assert [(record.widths or {}).get("a") for record in records] == self.widths
        counts = ledger.reader.counts()
        assert counts.budget == self.budget
        assert counts.running == sum(state in WORKERS for state in self.states)
        assert counts.complete == sum(value is not None for value in self.values)
        assert counts.paused == self.states.count("paused")
        assert counts.pruned == self.states.count("cancelled")
        ended = self.states.count("done") + self.states.count("cancelled")
        assert ledger.reader.open_slots() == self.budget - ended
        assert ledger.reader.status() == self.status

    @invariant()
    def open_studies_counts_what_a_claim_would_take(self):
        listing = open_studies(self.database, lease_seconds=LEASE_SECONDS)
        listed = {open_study.study.id: open_study for open_study in listing}.get(self.study.id)
        assert (listed is not None) == (self.status == "open")
        if listed is not None:
            assert listed.claimable == len(self.claimable())
            assert listed.running == sum(state in WORKERS for state in self.states)

    def teardown(self):
        records = self.ledgers["ann"].reader.records()
        event_log = events.read(self.database, self.study)
        kinds = Counter(event.kind for event in event_log)
        cut_short = [
            each_event
            for each_event in event_log
            if each_event.kind == "paused" and "taken_from" in each_event.detail
        ]
        claims = kinds["claimed"] + kinds["reclaimed"] - kinds["released"] - len(cut_short)
        assert claims == sum(record.attempts for record in records)
        assert kinds["done"] == sum(value is not None for value in self.values)
        ends = [each_event.number for each_event in event_log if ends_a_slot(each_event)]
        assert sorted(ends) == [record.number for record in records if record.state == "done"]
        control.set_status(self.database, self.study, "cancelled", worker="eve")
        self.ended.update(
            budget=self.budget,
            complete=kinds["done"],
            cancelled=self.states.count("cancelled"),
            failed=self.states.count("done") - kinds["done"],
            duplicates=len(ends) - len(set(ends)),
            lost=sum(value is not None for value in self.values) - kinds["done"],
        )


def ends_a_slot(event):
    """Whether a slot was done with this event."""
    return event.number is not None and (
        event.kind in ("done", "cancelled")
        or (event.kind == "failed" and not event.detail["again"])
    )


@pytest.mark.slow
@pytest.mark.promise("model")
def test_whatever_the_workers_do_the_books_balance(database_url, record_property):
    options = settings(
        max_examples=25,
        stateful_step_count=25,
        deadline=None,
        phases=[Phase.generate],  # shrinking a failure would take minutes
        suppress_health_check=list(HealthCheck),
    )
    with Database.open(resolve_url(database_url), retry_seconds=20) as database:
        LedgerMachine.database, LedgerMachine.ended = database, Counter()
        run_state_machine_as_test(LedgerMachine, settings=options)
    record_property("counts", dict(LedgerMachine.ended))
