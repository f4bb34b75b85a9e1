"""Budgets of any size: exact at once, whatever rows there are, and nobody waits for them."""

from __future__ import annotations

import threading
import uuid

import pytest
from sqlalchemy import func, select
from widthwise.storage.database.database import Database
from widthwise.storage.database.tables import slots
from widthwise.storage.errors import BudgetRefused, LeaseLost, TrialRefused
from widthwise.storage.ledger.budget import MAX_BUDGET, ROWS_AT_ONCE
from widthwise.storage.ledger.ledger import (
    BindFailure,
    Ledger,
    LedgerReader,
    Settlement,
    Slot,
    TrialOutcome,
    WidthBinding,
)
from widthwise.storage.study import control
from widthwise.storage.study.open_studies import open_studies
from widthwise.storage.study.study import create_study


@pytest.fixture
def database(shared_database: Database) -> Database:
    return shared_database


@pytest.fixture
def new_study(database):
    def make(budget):
        row, _ = create_study(
            database,
            name=f"large-{uuid.uuid4().hex}",
            spec="{}",
            fingerprint="f",
            direction="maximize",
            metric="accuracy",
            base="",
            budget=budget,
        )
        return row

    return make


@pytest.fixture
def row_count(database):
    def count(study):
        query = select(func.count()).where(slots.c.study_id == study.id)
        return database.read(lambda connection: connection.execute(query).scalar_one())

    return count


def finished(slot: Slot) -> Settlement:
    return Settlement(slot=slot, outcome=TrialOutcome.COMPLETE, value=0.5)


@pytest.mark.parametrize("budget", [1, ROWS_AT_ONCE, ROWS_AT_ONCE + 1, 5_000_000, MAX_BUDGET])
def test_a_budget_of_any_size_is_there_at_once(database, new_study, row_count, budget):
    study = new_study(budget)
    reader = LedgerReader(database, study)
    assert reader.counts().budget == reader.counts().waiting == budget
    assert (reader.open_slots(), reader.unbound()) == (budget, budget)
    assert row_count(study) == min(budget, ROWS_AT_ONCE)
    [listed] = [item for item in open_studies(database) if item.study.id == study.id]
    assert listed.claimable == min(budget, 250)


def test_every_slot_is_claimed_exactly_once(database, new_study, row_count):
    """Rows are made as claims need them, also by several workers at the same moment."""
    study = new_study(3 * ROWS_AT_ONCE + 7)
    claimed: list[int] = []

    def claim_all(name):
        ledger = Ledger(database, study, worker=name, lease_seconds=600.0)
        while batch := ledger.claim_many(400):
            claimed.extend(slot.number for slot in batch)

    threads = [threading.Thread(target=claim_all, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == list(range(3 * ROWS_AT_ONCE + 7))
    assert row_count(study) == len(claimed)
    counts = LedgerReader(database, study).counts()
    assert (counts.running, counts.waiting, counts.budget) == (len(claimed), 0, len(claimed))


def test_a_budget_grows_by_millions_while_others_write(database, new_study, row_count):
    study, other = new_study(2), new_study(5)
    ledger = Ledger(database, study, worker="w")
    assert ledger.extend(9_000_000) == 9_000_002
    assert ledger.set_budget(MAX_BUDGET) == MAX_BUDGET
    assert ledger.reader.counts().budget == MAX_BUDGET
    assert row_count(study) <= 3 * ROWS_AT_ONCE
    assert len(Ledger(database, other, worker="o").claim_many(5)) == 5


@pytest.mark.parametrize("change", ["extend", "set_budget"])
def test_a_budget_has_an_end(database, new_study, change):
    study = new_study(3)
    ledger = Ledger(database, study, worker="w")
    amount = MAX_BUDGET - 2 if change == "extend" else MAX_BUDGET + 1
    with pytest.raises(BudgetRefused, match="expected at most 10,000,000"):
        getattr(ledger, change)(amount)
    assert ledger.reader.counts().budget == 3


def test_a_trial_without_a_row_is_controlled_as_any_other(database, new_study, row_count):
    study = new_study(5 * ROWS_AT_ONCE)
    number = 2 * ROWS_AT_ONCE + 5
    assert control.pause_trial(database, study, number, worker="eve")
    assert LedgerReader(database, study).record(number).paused
    assert number < row_count(study) <= 5 * ROWS_AT_ONCE
    assert LedgerReader(database, study).counts().budget == 5 * ROWS_AT_ONCE
    with pytest.raises(TrialRefused, match=f"has no trial {5 * ROWS_AT_ONCE}"):
        control.pause_trial(database, study, 5 * ROWS_AT_ONCE, worker="eve")


def test_a_study_that_stops_itself_ends_behind_what_was_claimed(database, new_study, row_count):
    study = new_study(40)
    worker, other = (Ledger(database, study, worker=name) for name in ("one", "two"))
    [first] = worker.claim_many(1)
    [second, third] = other.claim_many(2)
    assert worker.close(reason="flat") == 37
    reader = LedgerReader(database, study)
    assert reader.counts().budget == row_count(study) == 3
    assert reader.counts().running == 3
    assert reader.closing()["saved"] == 37
    assert reader.closing()["reason"] == "flat"
    for ledger, slot in ((worker, first), (other, second), (other, third)):
        assert ledger.beat_many([slot]) == []
        assert ledger.settle_many([finished(slot)]) == []
    assert reader.counts().complete == reader.counts().budget == 3
    assert worker.claim_many(5) == []


def test_a_study_stops_itself_once_and_what_is_added_later_stays(database, new_study):
    study = new_study(40)
    ledger = Ledger(database, study, worker="one")
    slots_held = ledger.claim_many(2)
    assert ledger.close() == 38
    assert Ledger(database, study, worker="two").close() is None
    assert ledger.extend(20) == 22
    assert ledger.close() is None
    assert LedgerReader(database, study).counts().budget == 22
    assert len(slots_held) + len(ledger.claim_many(100)) == 22


def test_a_slot_that_left_the_budget_is_lost_to_whoever_gave_it_back(database, new_study):
    study = new_study(40)
    ledger = Ledger(database, study, worker="one")
    kept, given_back = ledger.claim_many(2)
    ledger.release_many([given_back])
    assert ledger.close() == 39
    assert ledger.beat_many([kept, given_back]) == []
    assert ledger.release_many([given_back]) == []
    assert ledger.settle_many([finished(given_back)]) == [given_back]
    binding = WidthBinding(slot=given_back, widths={"a": 1}, origin="sampler")
    assert ledger.bind_many([binding]) == [BindFailure.LOST]
    with pytest.raises(LeaseLost):
        ledger.fail_attempt(given_back, "it raised")
    reader = LedgerReader(database, study)
    assert [record.number for record in reader.records_of([kept.number, given_back.number])] == [0]


def test_a_paused_trial_stays_in_a_study_that_stops_itself(database, new_study):
    study = new_study(40)
    ledger = Ledger(database, study, worker="one")
    ledger.claim_many(1)
    control.pause_trial(database, study, 4, worker="ann")
    assert ledger.close() == 35
    assert LedgerReader(database, study).counts().waiting == 4


def test_a_budget_of_millions_is_closed_and_opened_again(database, new_study, row_count):
    study = new_study(5_000_000)
    ledger = Ledger(database, study, worker="one")
    ledger.claim_many(3)
    assert ledger.close() == 4_999_997
    assert row_count(study) == 3
    assert ledger.extend(5_000) == 5_003
    assert LedgerReader(database, study).counts().waiting == 5_000


def test_of_many_that_stop_a_study_at_once_one_does(database, new_study):
    study = new_study(200)
    ledgers = [Ledger(database, study, worker=f"w{index}") for index in range(6)]
    claimed: list[int] = []
    saved: list[int | None] = []
    barrier = threading.Barrier(len(ledgers))

    def work(ledger: Ledger) -> None:
        barrier.wait()
        claimed.extend(slot.number for slot in ledger.claim_many(3))
        saved.append(ledger.close())
        claimed.extend(slot.number for slot in ledger.claim_many(3))

    threads = [threading.Thread(target=work, args=(ledger,)) for ledger in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = LedgerReader(database, study).counts()
    assert sum(item is not None for item in saved) == 1
    assert len(set(claimed)) == len(claimed)
    # Whatever was claimed before is within the budget, and nothing is left behind it.
    assert sorted(claimed) == list(range(counts.budget))
    assert counts.budget == 200 - next(item for item in saved if item is not None)
