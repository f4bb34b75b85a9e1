"""Slots are claimed, bound, held and settled, each by one worker at a time."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update
from widthwise.storage.database.database import Database
from widthwise.storage.database.tables import SCHEMA_VERSION, schema
from widthwise.storage.errors import BudgetRefused, LeaseLost, SchemaMismatch
from widthwise.storage.ledger import events
from widthwise.storage.ledger.ledger import Ledger, Settlement, Slot, SlotCounts
from widthwise.storage.study.study import StudyRow
from widthwise.tests.one_slot import (
    Taken,
    beat_one,
    bind_one,
    claim_one,
    put_trial,
    release_one,
    settle_one,
)

LEASE = 0.25


def claim_slot(ledger: Ledger) -> Slot:
    slot = claim_one(ledger)
    assert slot is not None
    return slot


def claim_after_lease(ledger: Ledger) -> Slot:
    """Claim a slot whose lease has ended, as soon as that is allowed."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        wait = ledger.reader.seconds_until_claimable()
        assert wait is not None
        time.sleep(wait + 0.01)
        while ledger.reader.seconds_until_claimable() == 0.0:
            if (slot := claim_one(ledger)) is not None and slot.attempt > 1:
                return slot
    raise AssertionError("no lease ended")


def finish(ledger: Ledger, slot: Slot, value: float = 0.5) -> None:
    settle_one(ledger, slot, outcome="complete", value=value, result={"curve": [value]})


def test_slots_are_claimed_by_number_and_once(open_ledger):
    slots = [claim_slot(open_ledger(f"worker{i}")) for i in range(5)]
    assert [slot.number for slot in slots] == [0, 1, 2, 3, 4]
    assert [slot.attempt for slot in slots] == [1] * 5
    assert len({slot.token for slot in slots}) == 5
    assert claim_one(open_ledger()) is None


def test_concurrent_claims_get_different_slots(open_ledger):
    ledger = open_ledger()
    ledger.extend(15)
    with ThreadPoolExecutor(8) as pool:
        slots = list(pool.map(lambda _: claim_one(ledger), range(24)))
    numbers = [slot.number for slot in slots if slot is not None]
    # A claim returns nothing only if every slot is leased or locked by another claim.
    assert sorted(numbers) == list(range(20))


def test_a_bound_slot_keeps_widths_in_the_order_of_the_space(open_ledger):
    ledger = open_ledger()
    slot = bind_one(ledger, claim_slot(ledger), {"wide": 64, "a": 8}, "largest that fits")
    assert list(slot.widths.items()) == [("wide", 64), ("a", 8)]
    record = ledger.reader.record(slot.number)
    assert list(record.widths.items()) == [("wide", 64), ("a", 8)]
    assert (record.state, record.origin, record.worker) == ("leased", "largest that fits", "first")
    [tried] = ledger.reader.tried()
    assert tried.widths == {"wide": 64, "a": 8}


def test_widths_belong_to_one_slot_whatever_their_order(open_ledger):
    ledger = open_ledger()
    first, second = claim_slot(ledger), claim_slot(ledger)
    bind_one(ledger, first, {"a": 8, "b": 16}, "sampler")
    with pytest.raises(Taken):
        bind_one(ledger, second, {"b": 16, "a": 8}, "sampler")
    assert bind_one(ledger, second, {"a": 16, "b": 8}, "sampler").widths == {"a": 16, "b": 8}


def test_concurrent_binds_of_the_same_widths_have_one_winner(open_ledger):
    ledger = open_ledger()
    slots = [claim_slot(ledger) for _ in range(5)]

    def bind(slot):
        try:
            return bind_one(ledger, slot, {"a": 8}, "sampler")
        except Taken:
            return None

    with ThreadPoolExecutor(5) as pool:
        bound = [slot for slot in pool.map(bind, slots) if slot is not None]
    assert len(bound) == 1
    assert [tried.widths for tried in ledger.reader.tried()] == [{"a": 8}]


def test_other_widths_are_not_bound_over_the_first(open_ledger):
    ledger = open_ledger()
    slot = bind_one(ledger, claim_slot(ledger), {"a": 8}, "sampler")
    with pytest.raises(ValueError, match=r"holds the widths \{'a': 8\}, so \{'a': 9\}"):
        bind_one(ledger, slot, {"a": 9}, "sampler")
    assert bind_one(ledger, slot, {"a": 8}, "sampler") == slot


def test_a_slot_left_behind_is_adopted_with_its_widths_and_trial(open_ledger, database, study):
    slow, quick = (
        open_ledger("slow", lease_seconds=LEASE),
        open_ledger("quick", lease_seconds=LEASE),
    )
    slot = bind_one(slow, claim_slot(slow), {"a": 8}, "sampler")
    slot = put_trial(database, study, slot, 41)
    adopted = claim_after_lease(quick)
    assert (adopted.number, adopted.attempt) == (slot.number, 2)
    assert (adopted.widths, adopted.origin, adopted.trial_id) == ({"a": 8}, "sampler", 41)
    assert adopted.token != slot.token


@pytest.mark.parametrize(
    "late",
    [
        pytest.param(lambda ledger, slot: beat_one(ledger, slot), id="beat"),
        pytest.param(lambda ledger, slot: finish(ledger, slot), id="done"),
        pytest.param(lambda ledger, slot: bind_one(ledger, slot, {"a": 9}, "sampler"), id="bind"),
        pytest.param(lambda ledger, slot: ledger.fail_attempt(slot, "boom"), id="fail_attempt"),
        pytest.param(lambda ledger, slot: release_one(ledger, slot), id="release"),
    ],
)
def test_a_late_holder_is_refused(open_ledger, database, study, late):
    slow, quick = (
        open_ledger("slow", lease_seconds=LEASE),
        open_ledger("quick", lease_seconds=LEASE),
    )
    slot = claim_slot(slow)
    adopted = claim_after_lease(quick)
    before = quick.reader.record(adopted.number)
    with pytest.raises(LeaseLost, match="no longer holds slot 0"):
        late(slow, slot)
    assert quick.reader.record(adopted.number) == before
    finish(quick, adopted, 0.75)
    assert quick.reader.record(adopted.number).value == 0.75
    refused = [event for event in events.read(database, study) if event.kind == "refused"]
    assert [(event.number, event.worker) for event in refused] == [(0, "slow")]


def test_a_beat_keeps_the_slot(open_ledger):
    holder, other = (
        open_ledger("holder", lease_seconds=0.6),
        open_ledger("other", lease_seconds=0.6),
    )
    slot = claim_slot(holder)
    for _ in range(4):
        time.sleep(0.25)
        beat_one(holder, slot)
    while (claimed_slot := claim_one(other)) is not None:
        assert claimed_slot.number != slot.number
    finish(holder, slot)


def test_an_unclaimed_late_holder_may_still_finish(open_ledger):
    ledger = open_ledger(lease_seconds=0.05)
    slot = claim_slot(ledger)
    time.sleep(0.1)
    finish(ledger, slot)
    assert ledger.reader.counts().complete == 1


def test_done_is_the_commit_point_and_safe_to_repeat(open_ledger, database, study):
    ledger = open_ledger()
    slot = bind_one(ledger, claim_slot(ledger), {"a": 8}, "sampler")
    for _ in range(2):
        settle_one(ledger, slot, outcome="complete", value=0.5, result={"curve": [0.25, 0.5]})
    record = ledger.reader.record(slot.number)
    assert (record.state, record.outcome, record.value) == ("done", "complete", 0.5)
    assert record.result == {"curve": [0.25, 0.5]}
    assert record.started_at <= record.finished_at
    kinds = [event.kind for event in events.read(database, study)]
    assert kinds == ["created", "claimed", "bound", "done"]


def test_calls_after_done_change_nothing(open_ledger):
    ledger = open_ledger()
    slot = claim_slot(ledger)
    finish(ledger, slot)
    before = ledger.reader.record(slot.number)
    beat_one(ledger, slot)
    release_one(ledger, slot)
    assert ledger.reader.record(slot.number) == before


@pytest.mark.parametrize(
    ("outcome", "value"),
    [
        pytest.param("complete", None, id="complete without a value"),
        pytest.param("complete", float("nan"), id="complete with NaN"),
        pytest.param("nan", 0.5, id="NaN with a value"),
    ],
)
def test_done_refuses_what_does_not_fit(open_ledger, outcome, value):
    ledger = open_ledger()
    slot = claim_slot(ledger)
    with pytest.raises(ValueError, match=f"cannot end as '{outcome}'"):
        settle_one(ledger, slot, outcome=outcome, value=value, result={})
    assert ledger.reader.record(slot.number).state == "leased"


def test_a_failed_attempt_frees_the_slot_until_it_failed_too_often(open_ledger):
    ledger = open_ledger(max_attempts=2)
    slot = bind_one(ledger, claim_slot(ledger), {"a": 8}, "sampler")
    assert ledger.fail_attempt(slot, "boom") is True
    again = claim_slot(ledger)
    assert (again.number, again.attempt, again.widths) == (0, 2, {"a": 8})
    assert ledger.fail_attempt(again, "boom again") is False
    assert ledger.fail_attempt(again, "boom again") is False
    record = ledger.reader.record(0)
    assert (record.state, record.outcome, record.value) == ("done", "error", None)
    assert (record.result, record.failures) == ({"error": "boom again"}, 2)
    assert claim_slot(ledger).number == 1


def test_a_released_slot_is_free_and_the_attempt_not_counted(open_ledger):
    ledger = open_ledger()
    slot = bind_one(ledger, claim_slot(ledger), {"a": 8}, "sampler")
    release_one(ledger, slot)
    release_one(ledger, slot)
    again = claim_slot(ledger)
    assert (again.number, again.attempt, again.widths) == (0, 1, {"a": 8})


@pytest.mark.parametrize("outcome", ["pruned", "nan", "out_of_memory", "error", "infeasible"])
def test_counts_add_up_to_the_budget(open_ledger, outcome):
    ledger = open_ledger()
    assert ledger.reader.counts() == SlotCounts(
        complete=0, running=0, failed=0, pruned=0, waiting=5
    )
    finish(ledger, claim_slot(ledger))
    settle_one(ledger, claim_slot(ledger), outcome=outcome, value=None, result={})
    claim_slot(ledger)
    claim_slot(open_ledger(lease_seconds=-1.0))  # a lease that has ended
    counts = ledger.reader.counts()
    pruned = int(outcome in ("pruned", "infeasible"))
    expected = SlotCounts(complete=1, running=1, failed=1 - pruned, pruned=pruned, waiting=2)
    assert counts == expected
    assert counts.budget == 5
    assert ledger.reader.open_slots() == 3


def test_the_seconds_until_a_slot_is_claimable_are_those_of_its_lease(open_ledger):
    ledger = open_ledger(lease_seconds=50.0)
    assert ledger.reader.seconds_until_claimable() is None
    claim_slot(ledger)
    assert 45 < ledger.reader.seconds_until_claimable() <= 50


def test_extensions_add_up_exactly(open_ledger, database, study):
    ledger = open_ledger()
    with ThreadPoolExecutor(4) as pool:
        sizes = list(pool.map(ledger.extend, [3, 3, 3, 3]))
    assert sorted(sizes) == [8, 11, 14, 17]
    assert [record.number for record in ledger.reader.records()] == list(range(17))
    extended = [event for event in events.read(database, study) if event.kind == "extended"]
    assert sum(event.detail["slots"] for event in extended) == 12


def test_a_budget_is_set_but_never_cut(open_ledger):
    ledger = open_ledger()
    assert ledger.set_budget(8) == 8
    assert ledger.set_budget(8) == 8
    with pytest.raises(BudgetRefused, match="has 8 trials and cannot be cut to 2; expected 8"):
        ledger.set_budget(2)
    with pytest.raises(BudgetRefused, match="cannot be extended by -1"):
        ledger.extend(-1)
    assert ledger.reader.counts().budget == 8


def test_events_record_every_change(open_ledger, database: Database, study: StudyRow):
    slow = open_ledger("slow", lease_seconds=LEASE)
    claim_slot(slow)
    quick = open_ledger("quick", lease_seconds=LEASE)
    adopted = claim_after_lease(quick)
    release_one(quick, adopted)
    event_log = [(event.kind, event.number, event.worker) for event in events.read(database, study)]
    event_log = [entry for entry in event_log if entry[1] in (None, 0)]
    assert event_log == [
        ("created", None, None),
        ("claimed", 0, "slow"),
        ("reclaimed", 0, "quick"),
        ("released", 0, "quick"),
    ]
    times = [event.at for event in events.read(database, study)]
    assert times == sorted(times)


def test_the_newest_events_are_read_by_themselves(open_ledger, database, study):
    open_ledger().claim_many(5)
    event_log = events.read(database, study)
    assert len(event_log) == 6
    assert events.read(database, study, last=2) == event_log[-2:]
    assert events.read(database, study, last=9) == event_log
    assert events.read(database, study, last=0) == []


@pytest.fixture
def set_schema_version(database):
    """Make the tables those of another release, for as long as the test runs."""

    def set_version(version):
        change = update(schema).values(version=version)
        database.write(lambda connection: connection.execute(change))

    yield set_version
    set_version(SCHEMA_VERSION)


@pytest.mark.parametrize("version", [SCHEMA_VERSION - 1, SCHEMA_VERSION + 1], ids=["old", "new"])
def test_a_worker_finishes_its_trial_but_claims_none_of_another_schema(
    open_ledger, set_schema_version, version
):
    ledger = open_ledger()
    slot = claim_one(ledger)
    set_schema_version(version)
    with pytest.raises(SchemaMismatch, match=f"of schema version {version}, .* {SCHEMA_VERSION};"):
        claim_one(ledger)
    beat_one(ledger, slot)
    end = Settlement(slot=slot, outcome="complete", value=0.5)
    assert ledger.settle_many([end]) == []
    assert ledger.reader.counts().complete == 1
