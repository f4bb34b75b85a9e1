"""A transaction whose reply was lost is run again: it takes effect once."""

import uuid
from collections import Counter

import pytest
from optuna.distributions import IntDistribution
from widthwise.storage.database import retry
from widthwise.storage.ledger import events
from widthwise.storage.ledger.ledger import PlannedTrial, Settlement, WidthBinding
from widthwise.storage.ledger.queries import LedgerReader
from widthwise.storage.projection.projection import Projection, TrialStart
from widthwise.storage.study import control
from widthwise.storage.study.study import create_study
from widthwise.storage.study.workers import WorkerRegistration, list_workers
from widthwise.tests.one_slot import (
    beat_one,
    bind_one,
    claim_one,
    open_one,
    release_one,
    settle_one,
)


@pytest.fixture
def lost_replies(study, monkeypatch):
    """Run every transaction from now on twice, as if the reply to the first were lost."""

    def call_twice(call, **_options):
        call()
        return call()

    monkeypatch.setattr(retry, "call_with_retries", call_twice)


@pytest.fixture
def event_kinds(database, study):
    return lambda: [event.kind for event in events.read(database, study)]


def test_a_training_is_recorded_once(open_ledger, lost_replies, event_kinds, database, study):
    projection = Projection(database, study)
    ledger = open_ledger()
    slot = claim_one(ledger)
    assert (slot.number, slot.attempt) == (0, 1)
    slot = bind_one(ledger, slot, {"a": 8}, "sampler")
    trial_id = open_one(
        projection, slot, distributions={"a": IntDistribution(1, 8)}, constraints={}, attributes={}
    )
    assert ledger.reader.record(0).trial_id == trial_id
    beat_one(ledger, slot)
    settle_one(ledger, slot, outcome="complete", value=0.5, result={"curve": [0.5]})
    projection.close_many([0])
    assert event_kinds() == ["created", "claimed", "bound", "done", "projected"]
    assert (ledger.reader.counts().complete, ledger.reader.counts().waiting) == (1, 4)
    assert len(database.optuna_storage().get_all_trials(study.optuna_study_id)) == 1


def test_a_training_is_planned_once(open_ledger, lost_replies, event_kinds):
    ledger = open_ledger()
    planned = [PlannedTrial(widths={"a": 8}, seed=seed, origin="recommended") for seed in (1, 2)]
    assert ledger.add_planned(planned) == 2
    assert ledger.add_planned(planned) == 0
    assert event_kinds() == ["created", "extended"]
    assert ledger.reader.counts().budget == 7


def test_a_batch_is_recorded_once(open_ledger, lost_replies, event_kinds, database, study):
    projection = Projection(database, study)
    ledger = open_ledger()
    batch = ledger.claim_many(3)
    assert [(slot.number, slot.attempt) for slot in batch] == [(0, 1), (1, 1), (2, 1)]
    bound = ledger.bind_many(
        [WidthBinding(slot=slot, widths={"a": 1 + slot.number}, origin="sampler") for slot in batch]
    )
    assert [slot.widths for slot in bound] == [{"a": 1}, {"a": 2}, {"a": 3}]
    starts = [TrialStart(slot=slot, constraints={}, attributes={}) for slot in bound]
    assert all(projection.open_many(starts, distributions={"a": IntDistribution(1, 8)}))
    assert ledger.beat_many(bound) == []
    ends = [Settlement(slot=slot, outcome="complete", value=0.5) for slot in bound[:2]]
    assert ledger.settle_many(ends) == []
    assert ledger.release_many(bound[2:]) == []
    projection.close_many([0, 1])
    kinds = {"claimed": 3, "bound": 3, "done": 2, "released": 1, "projected": 2, "created": 1}
    assert Counter(event_kinds()) == kinds
    assert (ledger.reader.counts().complete, ledger.reader.counts().waiting) == (2, 3)
    assert ledger.reader.record(2).attempts == 0
    assert len(database.optuna_storage().get_all_trials(study.optuna_study_id)) == 3


def test_bound_slots_go_first_also_when_the_reply_is_lost(open_ledger, lost_replies):
    ledger = open_ledger()
    first, second = ledger.claim_many(2)
    bind_one(ledger, second, {"a": 8}, "sampler")
    ledger.release_many([first, second])
    assert [slot.number for slot in ledger.claim_many(3)] == [1, 0, 2]


def test_a_release_is_counted_once(open_ledger, lost_replies, event_kinds):
    ledger = open_ledger()
    release_one(ledger, claim_one(ledger))
    assert ledger.reader.record(0).attempts == 0
    assert event_kinds() == ["created", "claimed", "released"]


def test_a_failure_is_counted_once(open_ledger, lost_replies, event_kinds):
    ledger = open_ledger(max_attempts=2)
    assert ledger.fail_attempt(claim_one(ledger), "boom") is True
    assert ledger.reader.record(0).failures == 1
    assert ledger.fail_attempt(claim_one(ledger), "boom") is False
    assert event_kinds() == ["created", "claimed", "failed", "claimed", "failed"]


def test_a_budget_grows_once(open_ledger, lost_replies, event_kinds):
    ledger = open_ledger()
    assert ledger.extend(2) == 7
    assert ledger.set_budget(9) == 9
    assert ledger.reader.counts().budget == 9
    assert event_kinds() == ["created", "extended", "extended"]


def test_a_study_is_created_once_and_its_creator_knows(database, lost_replies):
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


def test_a_command_takes_effect_once_and_returns_the_status_before(
    open_ledger, lost_replies, event_kinds, database, study
):
    assert control.set_status(database, study, "paused", worker="eve") == "open"
    assert control.set_status(database, study, "paused", worker="eve") == "paused"
    assert control.set_status(database, study, "open", worker="eve") == "paused"
    slot = claim_one(open_ledger())
    control.pause_trial(database, study, slot.number, worker="eve")
    assert open_ledger().reader.record(slot.number).attempts == 0
    control.continue_trial(database, study, slot.number, worker="eve")
    control.cancel_trial(database, study, slot.number, worker="eve")
    assert event_kinds()[1:] == [
        *("paused", "continued", "claimed"),
        *("paused", "continued", "cancelled", "projected"),
    ]


def test_a_command_that_arrived_unnoticed_does_not_undo_the_next_one(database, study, monkeypatch):
    """Its reply is lost; before it is repeated somebody else gives another command."""

    def interrupted(call, **_options):
        call()
        with monkeypatch.context() as patch:
            patch.setattr(retry, "call_with_retries", lambda call, **_options: call())
            control.set_status(database, study, "open", worker="bob")
        return call()

    with monkeypatch.context() as patch:
        patch.setattr(retry, "call_with_retries", interrupted)
        assert control.set_status(database, study, "paused", worker="eve") == "open"
    assert LedgerReader(database, study).status() == "open"


def test_a_worker_is_registered_once(lost_replies, database, study):
    name = uuid.uuid4().hex
    registration = WorkerRegistration(database, name=name, beat_seconds=1.0)
    registration.register(study=study, activity="training", device=None)
    assert [worker.name for worker in list_workers(database)].count(name) == 1
    registration.unregister()
    assert name not in [worker.name for worker in list_workers(database)]
