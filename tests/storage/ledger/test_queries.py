"""What is read of a ledger without holding a slot of it."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from widthwise.storage.ledger.ledger import WidthBinding
from widthwise.storage.ledger.queries import LedgerReader
from widthwise.tests.one_slot import claim_one, settle_one


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_tried_slots_agree_with_the_records(open_ledger, sizes):
    """However often they are read in between, and whatever is in training."""
    ledger = open_ledger()
    for size in sizes:
        ledger.extend(size)
        count_before = len(ledger.reader.tried())
        batch = [slot for slot in ledger.claim_many(size) if slot.widths is None]
        batch = ledger.bind_many(
            [WidthBinding(slot=slot, widths={"a": 1 + slot.number}, origin="s") for slot in batch]
        )
        assert len(ledger.reader.tried()) == count_before + len(batch)
        for slot in batch[::2]:
            score = slot.number / 8
            outcome = "complete" if slot.number % 3 else "pruned"
            settle_one(
                ledger,
                slot,
                outcome=outcome,
                value=score if outcome == "complete" else None,
                result={"measured": {"latency": 0.5}, "rungs": {"2": 0.25}, "curve": [0.0] * 9},
                score=score,
                fidelity=4.0,
                spread=float("nan"),
            )
    tried = ledger.reader.tried()
    assert tried == open_ledger("newcomer").reader.tried()
    records = [record for record in ledger.reader.records() if record.widths is not None]
    assert [entry.number for entry in tried] == [record.number for record in records]
    for entry, record in zip(tried, records, strict=True):
        assert (entry.state, entry.outcome) == (record.state, record.outcome)
        assert (entry.widths, entry.value) == (record.widths, record.value)
        if entry.state == "done":
            assert entry.score == entry.number / 8
            assert (entry.fidelity, entry.spread) == (4.0, None)
            assert (entry.measured, entry.rungs) == ({"latency": 0.5}, ((2.0, 0.25),))
    assert ledger.reader.unbound() == ledger.reader.counts().budget - len(records)


def test_a_slot_that_failed_before_it_had_widths_was_not_tried(open_ledger):
    ledger = open_ledger(max_attempts=1)
    ledger.fail_attempt(claim_one(ledger), "boom")
    assert ledger.reader.tried() == []
    assert ledger.reader.tried() == []
    assert ledger.reader.unbound() == 4


def test_what_ran_out_of_memory_is_read_with_its_device(open_ledger):
    ledger = open_ledger()
    batch = ledger.claim_many(5)
    results = [
        {"device_class": "cuda: NVIDIA H200, 139 GiB"},
        {"detail": "killed"},  # recorded before devices were
        {"device_class": "cpu: 24 GiB"},
    ]
    bound = ledger.bind_many(
        [WidthBinding(slot=slot, widths={"a": 8 + slot.number}, origin="s") for slot in batch[:4]]
    )
    for slot, result in zip(bound, results, strict=False):
        settle_one(ledger, slot, outcome="out_of_memory", value=None, result=result)
    settle_one(ledger, bound[3], outcome="complete", value=0.5, result=results[0])
    settle_one(
        ledger, batch[4], outcome="out_of_memory", value=None, result=results[0]
    )  # no widths
    assert ledger.reader.out_of_memory() == [
        ({"a": 8}, "cuda: NVIDIA H200, 139 GiB"),
        ({"a": 9}, None),
        ({"a": 10}, "cpu: 24 GiB"),
    ]


def test_results_with_a_key_that_is_true_are_counted(open_ledger):
    ledger = open_ledger()
    batch = ledger.claim_many(4)
    bound = ledger.bind_many(
        [WidthBinding(slot=slot, widths={"a": 8 + slot.number}, origin="s") for slot in batch]
    )
    results = [
        {"marked": True, "attributes": {"marked": True}},
        {"marked": False},
        {"detail": 'its code said {"marked": true}', "unmarked": True},
        {"mXrked": True},
    ]
    for slot, result in zip(bound, results, strict=True):
        settle_one(ledger, slot, outcome="complete", value=0.5, result=result)
    assert ledger.reader.count_with("marked") == 1
    assert ledger.reader.count_with("m_rked") == 0
    assert open_ledger("newcomer").reader.count_with("nothing") == 0


@pytest.mark.parametrize(("direction", "number"), [("maximize", 1), ("minimize", 0)])
def test_the_best_complete_slot_follows_the_studys_direction(
    open_ledger, database, study, direction, number
):
    ledger = open_ledger()
    reader = LedgerReader(database, replace(study, direction=direction))
    assert reader.best_complete() is None
    for value in (0.25, 0.75, 0.75, None):
        (slot,) = ledger.claim_many(1)
        widths = {"a": 1 + slot.number}
        (slot,) = ledger.bind_many([WidthBinding(slot=slot, widths=widths, origin="s")])
        outcome = "nan" if value is None else "complete"
        settle_one(ledger, slot, outcome=outcome, value=value, result={"reported": {"f1": value}})
    best = reader.best_complete()
    assert (best.number, best.result["reported"]) == (number, {"f1": best.value})
