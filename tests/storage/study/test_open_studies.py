"""The open studies, in the order in which a scheduler serves them."""

import uuid

import pytest
from sqlalchemy import update
from widthwise.storage.database.tables import events
from widthwise.storage.ledger.ledger import Ledger
from widthwise.storage.ledger.queries import LedgerReader
from widthwise.storage.study import control
from widthwise.storage.study.open_studies import MAX_COUNTED_SLOTS, open_studies
from widthwise.storage.study.study import create_study
from widthwise.tests.one_slot import bind_one, claim_one, release_one, settle_one

LEASE = 0.05
"""Seconds: so long is an ended lease respected after a start of the server."""


@pytest.fixture
def create_open_study(database):
    """Create a study, all of whose slots are free."""

    def make_study(budget=5, priority=0):
        study, _ = create_study(
            database,
            name=uuid.uuid4().hex,
            spec="{}",
            fingerprint="f",
            direction="maximize",
            metric="accuracy",
            base="",
            budget=budget,
        )
        control.set_priority(database, study, priority)
        return study

    return make_study


@pytest.fixture
def claim_in_the_past(database):
    """Claim a slot of a study, as if that had been so many seconds ago."""

    def claim_slot(study, seconds_ago):
        claim_one(Ledger(database, study, worker="w", lease_seconds=60.0))
        earlier = update(events).where(events.c.study_id == study.id)
        change = earlier.values(at=events.c.at - seconds_ago)
        database.write(lambda connection: connection.execute(change))

    return claim_slot


@pytest.fixture
def list_open(database):
    """List some studies in the order of service; the database holds those of other tests too."""

    def list_some(*studies):
        names = {study.name for study in studies}
        listed = open_studies(database, lease_seconds=LEASE)
        return [open_study for open_study in listed if open_study.study.name in names]

    return list_some


@pytest.fixture
def serving_order(list_open):
    """List the indices of some studies in the order of service."""
    return lambda *studies: [
        [study.id for study in studies].index(open_study.study.id)
        for open_study in list_open(*studies)
    ]


def test_a_study_is_counted_by_what_a_claim_would_take(create_open_study, list_open, database):
    study = create_open_study(budget=7)
    ledger = Ledger(database, study, worker="w")
    batch = ledger.claim_many(4)
    settle_one(ledger, batch[0], outcome="complete", value=0.5, result={})
    bind_one(ledger, batch[1], {"a": 8}, "sampler")
    release_one(ledger, batch[2])
    control.pause_trial(database, study, 6, worker="eve")
    expired = claim_one(Ledger(database, study, worker="dead", lease_seconds=-1.0))
    assert expired.number == 2
    [open_study] = list_open(study)
    assert (open_study.claimable, open_study.running) == (3, 2)  # 2, 4 and 5; 1 and 3
    new_holder = Ledger(database, study, worker="heir", lease_seconds=LEASE)
    assert len(new_holder.claim_many(7)) == open_study.claimable


def test_the_time_of_the_newest_claim_is_that_of_any_worker(
    create_open_study, claim_in_the_past, list_open, database
):
    study = create_open_study()
    [open_study] = list_open(study)
    assert open_study.last_claim is None
    claim_in_the_past(study, 100.0)
    [open_study] = list_open(study)
    first = LedgerReader(database, study).record(0).started_at
    assert first - 101 < open_study.last_claim < first - 99
    control.set_status(database, study, "paused", worker="eve")  # what comes later is no claim
    control.set_status(database, study, "open", worker="eve")
    assert [each_open_study.last_claim for each_open_study in list_open(study)] == [
        open_study.last_claim
    ]
    claim_one(Ledger(database, study, worker="heir"))
    [again] = list_open(study)
    assert again.last_claim >= first


@pytest.mark.parametrize("status", ["paused", "cancelled"])
def test_a_study_that_is_not_open_is_not_served(create_open_study, serving_order, database, status):
    first, second = create_open_study(), create_open_study()
    control.set_status(database, first, status, worker="eve")
    assert serving_order(first, second) == [1]
    control.set_status(database, first, "open", worker="eve")
    assert serving_order(first, second) == [0, 1]


def test_priority_goes_first_then_the_longest_without_a_claim_then_the_oldest(
    create_open_study, claim_in_the_past, serving_order, database
):
    studies = [
        create_open_study(),
        create_open_study(),
        create_open_study(),
        create_open_study(priority=2),
        create_open_study(priority=-1),
    ]
    for index, seconds_ago in ((3, 10.0), (1, 30.0), (0, 20.0)):
        claim_in_the_past(studies[index], seconds_ago)
    assert serving_order(*studies) == [3, 2, 1, 0, 4]
    control.set_priority(database, studies[4], 3)
    claim_in_the_past(studies[2], 0.0)
    assert serving_order(*studies) == [4, 3, 1, 0, 2]


def test_claimable_slots_are_counted_up_to_a_bound(create_open_study, list_open):
    study = create_open_study(budget=MAX_COUNTED_SLOTS + 50)
    [open_study] = list_open(study)
    assert open_study.claimable == MAX_COUNTED_SLOTS


def test_a_finished_study_has_nothing_to_claim(create_open_study, list_open, database):
    study = create_open_study(budget=1)
    ledger = Ledger(database, study, worker="w")
    settle_one(ledger, claim_one(ledger), outcome="complete", value=0.5, result={})
    [open_study] = list_open(study)
    assert (open_study.claimable, open_study.running) == (0, 0)
