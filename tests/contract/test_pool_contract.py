"""What every engine must give a pool: the open studies, in the order in which to serve them."""

import uuid

import pytest
from sqlalchemy import update
from widthwise.storage.database.tables import events
from widthwise.storage.ledger.ledger import Ledger
from widthwise.storage.study import control
from widthwise.storage.study.open_studies import MOST_COUNTED, open_studies
from widthwise.storage.study.study import create_study
from widthwise.tests.one_slot import bind_one, claim_one, release_one

LEASE = 0.05
"""Seconds: so long is an ended lease respected after a start of the server."""


@pytest.fixture
def create(database):
    """Create a study, all of whose slots are free."""

    def make(budget=5, priority=0):
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

    return make


@pytest.fixture
def claim(database):
    """Claim a slot of a study, as if that had been so many seconds ago."""

    def made(study, seconds_ago):
        claim_one(Ledger(database, study, worker="w", lease_seconds=60.0))
        earlier = update(events).where(events.c.study_id == study.id)
        change = earlier.values(at=events.c.at - seconds_ago)
        database.write(lambda connection: connection.execute(change))

    return made


@pytest.fixture
def standings(database):
    """How some studies stand, in the pool's order; the database holds those of other tests too."""

    def look(*studies):
        names = {study.name for study in studies}
        found = open_studies(database, lease_seconds=LEASE)
        return [one for one in found if one.study.name in names]

    return look


@pytest.fixture
def order(standings):
    """The places of some studies in the pool's order."""
    return lambda *studies: [
        [study.id for study in studies].index(one.study.id) for one in standings(*studies)
    ]


def test_a_study_is_counted_by_what_a_claim_would_take(create, standings, database):
    study = create(budget=7)
    ledger = Ledger(database, study, worker="w")
    batch = ledger.claim_many(4)
    ledger.done(batch[0], outcome="complete", value=0.5, result={})
    bind_one(ledger, batch[1], {"a": 8}, "sampler")
    release_one(ledger, batch[2])
    control.pause_trial(database, study, 6, worker="eve")
    left = claim_one(Ledger(database, study, worker="dead", lease_seconds=-1.0))
    assert left.number == 2
    [standing] = standings(study)
    assert (standing.claimable, standing.running) == (3, 2)  # 2, 4 and 5; 1 and 3
    heir = Ledger(database, study, worker="heir", lease_seconds=LEASE)
    assert len(heir.claim_many(7)) == standing.claimable


def test_the_newest_claim_is_told_whoever_made_it(create, claim, standings, database):
    study = create()
    [standing] = standings(study)
    assert standing.last_claim is None
    claim(study, 100.0)
    [standing] = standings(study)
    first = Ledger(database, study, worker="w").record(0).started_at
    assert first - 101 < standing.last_claim < first - 99
    control.set_status(database, study, "paused", worker="eve")  # what comes later is no claim
    control.set_status(database, study, "open", worker="eve")
    assert [one.last_claim for one in standings(study)] == [standing.last_claim]
    claim_one(Ledger(database, study, worker="heir"))
    [again] = standings(study)
    assert again.last_claim >= first


@pytest.mark.parametrize("status", ["paused", "cancelled"])
def test_a_study_that_is_not_open_is_not_served(create, order, database, status):
    first, second = create(), create()
    control.set_status(database, first, status, worker="eve")
    assert order(first, second) == [1]
    control.set_status(database, first, "open", worker="eve")
    assert order(first, second) == [0, 1]


def test_priority_goes_first_then_the_longest_without_a_claim_then_the_oldest(
    create, claim, order, database
):
    studies = [create(), create(), create(), create(priority=2), create(priority=-1)]
    for index, seconds_ago in ((3, 10.0), (1, 30.0), (0, 20.0)):
        claim(studies[index], seconds_ago)
    assert order(*studies) == [3, 2, 1, 0, 4]
    control.set_priority(database, studies[4], 3)
    claim(studies[2], 0.0)
    assert order(*studies) == [4, 3, 1, 0, 2]


def test_of_very_many_slots_only_so_many_are_counted(create, standings):
    study = create(budget=MOST_COUNTED + 50)
    [standing] = standings(study)
    assert standing.claimable == MOST_COUNTED


def test_a_finished_study_has_nothing_to_claim(create, standings, database):
    study = create(budget=1)
    ledger = Ledger(database, study, worker="w")
    ledger.done(claim_one(ledger), outcome="complete", value=0.5, result={})
    [standing] = standings(study)
    assert (standing.claimable, standing.running) == (0, 0)
