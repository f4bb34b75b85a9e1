"""The ledger against a model of it: whatever workers do in whatever order, the books balance."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import update
from widthwise.storage import events
from widthwise.storage.database import Database, resolve_url
from widthwise.storage.errors import LeaseLost, WidthsTaken
from widthwise.storage.ledger import Ledger
from widthwise.storage.slot import widths_key
from widthwise.storage.study import create_study
from widthwise.storage.tables import slots

WORKERS = ("ann", "bob", "cid")
WIDTHS = st.integers(1, 4)
MAX_ATTEMPTS = 2


class LedgerMachine(RuleBasedStateMachine):
    """Three workers at one study, who hold a slot at most and do not know when they lose it."""

    database: Database
    studies = 0

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
                lease_seconds=1000.0,
                max_attempts=MAX_ATTEMPTS,
            )
            for name in WORKERS
        }
        self.hands = {}  # worker -> the slot as it got it
        self.budget = 3
        self.states = ["free"] * 3  # 'free', 'ended' or 'done', or the worker that holds it
        self.failures = [0] * 3
        self.widths = [None] * 3
        self.values = [None] * 3

    def attempt(self, worker, act):
        """Act on what the worker holds; it succeeds exactly if the slot is still the worker's."""
        slot = self.hands[worker]
        if self.holds(worker):
            act(self.ledgers[worker], slot)
            return slot.number
        with pytest.raises(LeaseLost):
            act(self.ledgers[worker], slot)
        del self.hands[worker]
        return None

    def holds(self, worker):
        slot = self.hands[worker]
        state = self.states[slot.number]
        return state == worker or (state == f"ended {worker}")

    @precondition(lambda self: len(self.hands) < len(WORKERS))
    @rule(data=st.data())
    def claim(self, data):
        worker = data.draw(st.sampled_from([name for name in WORKERS if name not in self.hands]))
        claimable = [
            number
            for number, state in enumerate(self.states)
            if state == "free" or state.startswith("ended")
        ]
        claimable.sort(key=lambda number: self.widths[number] is None)  # what was begun goes first
        slot = self.ledgers[worker].claim()
        assert (slot.number if slot else None) == (claimable[0] if claimable else None)
        if slot is not None:
            assert (slot.widths or {}).get("a") == self.widths[slot.number]
            self.states[slot.number] = worker
            self.hands[worker] = slot

    @precondition(lambda self: any(state in WORKERS for state in self.states))
    @rule(data=st.data())
    def end_lease(self, data):
        held = [number for number, state in enumerate(self.states) if state in WORKERS]
        number = data.draw(st.sampled_from(held))
        mine = (slots.c.study_id == self.study.id) & (slots.c.number == number)
        ended = update(slots).where(mine).values(lease_until=1.0)
        self.database.write(lambda connection: connection.execute(ended))
        self.states[number] = f"ended {self.states[number]}"

    @precondition(lambda self: any(slot.widths is None for slot in self.hands.values()))
    @rule(data=st.data(), width=WIDTHS)
    def bind(self, data, width):
        unbound = [name for name, slot in self.hands.items() if slot.widths is None]
        worker = data.draw(st.sampled_from(unbound))
        slot = self.hands[worker]

        def act(ledger, slot):
            self.hands[worker] = ledger.bind(slot, {"a": width}, "sampler")

        if self.holds(worker) and width in self.widths:
            with pytest.raises(WidthsTaken):
                act(self.ledgers[worker], slot)
            return
        number = self.attempt(worker, act)
        if number is not None:
            self.widths[number] = width

    @precondition(lambda self: self.hands)
    @rule(data=st.data())
    def beat(self, data):
        worker = data.draw(st.sampled_from(sorted(self.hands)))
        number = self.attempt(worker, lambda ledger, slot: ledger.beat(slot))
        if number is not None:
            self.states[number] = worker

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), value=st.floats(0, 1))
    def done(self, data, value):
        worker = data.draw(st.sampled_from(sorted(self.hands)))

        def act(ledger, slot):
            ledger.done(slot, outcome="complete", value=value, result={"curve": [value]})

        number = self.attempt(worker, act)
        if number is not None:
            self.states[number], self.values[number] = "done", value
            del self.hands[worker]

    @precondition(lambda self: self.hands)
    @rule(data=st.data())
    def fail(self, data):
        worker = data.draw(st.sampled_from(sorted(self.hands)))
        number = self.attempt(worker, lambda ledger, slot: ledger.fail_attempt(slot, "boom"))
        if number is not None:
            self.failures[number] += 1
            again = self.failures[number] < MAX_ATTEMPTS
            self.states[number] = "free" if again else "done"
            del self.hands[worker]

    @precondition(lambda self: self.hands)
    @rule(data=st.data())
    def release(self, data):
        worker = data.draw(st.sampled_from(sorted(self.hands)))
        number = self.attempt(worker, lambda ledger, slot: ledger.release(slot))
        if number is not None:
            self.states[number] = "free"
            del self.hands[worker]

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
        records = ledger.records()
        assert [record.number for record in records] == list(range(self.budget))
        assert [record.value for record in records] == self.values
        assert [record.failures for record in records] == self.failures
        assert [(record.widths or {}).get("a") for record in records] == self.widths
        counts = ledger.counts()
        assert counts.budget == self.budget
        assert counts.running == sum(state in WORKERS for state in self.states)
        assert counts.complete == sum(value is not None for value in self.values)
        assert ledger.open_slots() == self.budget - self.states.count("done")

    def teardown(self):
        kinds = [event.kind for event in events.read(self.database, self.study)]
        claims = kinds.count("claimed") + kinds.count("reclaimed") - kinds.count("released")
        attempts = sum(record.attempts for record in self.ledgers["ann"].records())
        assert claims == attempts
        assert kinds.count("done") == sum(value is not None for value in self.values)


def test_whatever_the_workers_do_the_books_balance():
    from hypothesis.stateful import run_state_machine_as_test

    with (
        tempfile.TemporaryDirectory() as folder,
        Database.open(resolve_url(f"sqlite:///{Path(folder) / 'w.db'}")) as database,
    ):
        LedgerMachine.database = database
        run_state_machine_as_test(
            LedgerMachine,
            settings=settings(
                max_examples=25,
                stateful_step_count=25,
                deadline=None,
                phases=[Phase.generate],  # shrinking a failure would take minutes
                suppress_health_check=list(HealthCheck),
            ),
        )


@given(
    widths=st.dictionaries(st.text(min_size=1), st.integers(1, 10**6), min_size=1),
    seed=st.randoms(use_true_random=False),
)
def test_the_key_of_widths_ignores_their_order_and_nothing_else(widths, seed):
    names = list(widths)
    seed.shuffle(names)
    assert widths_key({name: widths[name] for name in names}) == widths_key(widths)
    assert widths_key({**widths, names[0]: widths[names[0]] + 1}) != widths_key(widths)
