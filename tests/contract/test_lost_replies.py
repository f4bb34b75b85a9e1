"""A transaction may arrive while its reply is lost, and is run again: nothing happens twice."""

import uuid

import pytest
from optuna.distributions import IntDistribution
from widthwise.storage import events, retry
from widthwise.storage.projection import Projection
from widthwise.storage.study import create_study


@pytest.fixture
def lossy(study, monkeypatch):
    """From now on every call on the database succeeds, is not believed, and is made again."""

    def twice(call, **_options):
        call()
        return call()

    monkeypatch.setattr(retry, "repeat", twice)


@pytest.fixture
def story(database, study):
    return lambda: [event.kind for event in events.read(database, study)]


def test_a_training_is_recorded_once(join, lossy, story, database, study):
    projection = Projection(database, study)
    ledger = join()
    slot = ledger.claim()
    assert (slot.number, slot.attempt) == (0, 1)
    slot = ledger.bind(slot, {"a": 8}, "sampler")
    trial_id = projection.open(
        slot, distributions={"a": IntDistribution(1, 8)}, constraints={}, attributes={}
    )
    slot = ledger.bind_trial(slot, trial_id)
    ledger.beat(slot)
    ledger.done(slot, outcome="complete", value=0.5, result={"curve": [0.5]})
    projection.close(ledger.record(0))
    assert story() == ["created", "claimed", "bound", "done", "projected"]
    assert (ledger.counts().complete, ledger.counts().waiting) == (1, 4)
    assert len(database.optuna_storage().get_all_trials(study.optuna_study_id)) == 1


def test_a_drain_is_counted_once(join, lossy, story):
    ledger = join()
    ledger.release(ledger.claim())
    assert ledger.record(0).attempts == 0
    assert story() == ["created", "claimed", "released"]


def test_a_failure_is_counted_once(join, lossy, story):
    ledger = join(max_attempts=2)
    assert ledger.fail_attempt(ledger.claim(), "boom") is True
    assert ledger.record(0).failures == 1
    assert ledger.fail_attempt(ledger.claim(), "boom") is False
    assert story() == ["created", "claimed", "failed", "claimed", "failed"]


def test_a_budget_grows_once(join, lossy, story):
    ledger = join()
    assert ledger.extend(2) == 7
    assert ledger.set_budget(9) == 9
    assert ledger.counts().budget == 9
    assert story() == ["created", "extended", "extended"]


def test_a_study_is_created_once_and_its_creator_knows(database, lossy):
    study, created = create_study(
        database,
        name=uuid.uuid4().hex,
        spec="{}",
        fingerprint="f",
        direction="maximize",
        metric="accuracy",
        base="",
        budget=2,
    )
    assert created
    assert [event.kind for event in events.read(database, study)] == ["created"]
