"""Optuna's trials follow the ledger, on SQLite and PostgreSQL."""

import math

import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import TrialState
from widthwise.storage.database.database import Database
from widthwise.storage.errors import LeaseLost, StudyNotFound
from widthwise.storage.ledger import events
from widthwise.storage.ledger.slot import StudyStatus
from widthwise.storage.projection.projection import Projection
from widthwise.storage.study import control
from widthwise.tests.one_slot import (
    bind_one,
    claim_one,
    open_one,
    put_trial,
    release_one,
    settle_one,
)

DISTRIBUTIONS = {
    "hidden": IntDistribution(8, 64, step=8),
    "heads": CategoricalDistribution([1, 2, 4, 8]),
}


@pytest.fixture
def database(shared_database: Database) -> Database:
    """The database that all such tests share."""
    return shared_database


@pytest.fixture
def projection(database, study) -> Projection:
    return Projection(database, study)


@pytest.fixture
def trials(database, study):
    return lambda: database.optuna_storage().get_all_trials(study.optuna_study_id)


@pytest.fixture
def bound_slot(open_ledger):
    """Claim a slot and bind widths to it."""

    def bind_slot(hidden=8, ledger=None):
        ledger = ledger or open_ledger()
        slot = claim_one(ledger)
        return ledger, bind_one(ledger, slot, {"hidden": hidden, "heads": 4}, "sampler")

    return bind_slot


def open_trial(projection, slot):
    return open_one(
        projection,
        slot,
        distributions=DISTRIBUTIONS,
        constraints={"flops": -0.25, "parameters": 0.0},
        attributes={"origin": "sampler"},
    )


def settle(ledger, slot, outcome="complete", value=0.5, curve=(0.25, 0.5)):
    result = {"curve": list(curve), "attributes": {"test_accuracy": 0.4, "epochs": 2}}
    settle_one(ledger, slot, outcome=outcome, value=value, result=result)
    return ledger.reader.record(slot.number)


def test_open_makes_and_binds_a_running_trial(projection, bound_slot, trials):
    ledger, slot = bound_slot()
    trial_id = open_trial(projection, slot)
    assert ledger.reader.record(slot.number).trial_id == trial_id
    [trial] = trials()
    assert (trial._trial_id, trial.state) == (trial_id, TrialState.RUNNING)
    assert trial.params == {"hidden": 8, "heads": 4}
    assert trial.constraints == {"flops": -0.25, "parameters": 0.0}
    assert trial.user_attrs == {"origin": "sampler", "slot": slot.number}
    assert open_trial(projection, slot) == trial_id
    assert len(trials()) == 1


def test_close_writes_everything_to_optunas_trial(projection, bound_slot, trials, database, study):
    ledger, slot = bound_slot()
    open_trial(projection, slot)
    record = settle(ledger, slot)
    projection.close_many([record.number])
    projection.close_many([record.number])
    [trial] = trials()
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.5)
    assert trial.intermediate_values == {0: 0.25, 1: 0.5}
    assert trial.user_attrs["test_accuracy"] == 0.4
    kinds = [event.kind for event in events.read(database, study)]
    assert kinds == ["created", "claimed", "bound", "done", "projected"]


@pytest.mark.parametrize(
    ("outcome", "curve", "state", "value"),
    [
        pytest.param("pruned", (0.25, 0.375), TrialState.PRUNED, 0.375, id="pruned"),
        pytest.param("pruned", (), TrialState.PRUNED, None, id="pruned at once"),
        pytest.param("nan", (0.25, math.nan), TrialState.FAIL, None, id="NaN"),
        pytest.param("out_of_memory", (), TrialState.FAIL, None, id="out of memory"),
        pytest.param("error", (), TrialState.FAIL, None, id="error"),
    ],
)
def test_other_outcomes_become_optunas_states(
    projection, bound_slot, trials, outcome, curve, state, value
):
    ledger, slot = bound_slot()
    open_trial(projection, slot)
    projection.close_many([settle(ledger, slot, outcome, None, curve).number])
    [trial] = trials()
    assert (trial.state, trial.value) == (state, value)
    assert len(trial.intermediate_values) == len(curve)


def test_repair_closes_what_a_dead_worker_left_open(
    projection, bound_slot, trials, database, study
):
    ledger, slot = bound_slot()
    open_trial(projection, slot)
    settle(ledger, slot)
    assert trials()[0].state == TrialState.RUNNING
    assert projection.repair() == 1
    assert (trials()[0].state, trials()[0].value) == (TrialState.COMPLETE, 0.5)
    assert projection.repair() == 0
    assert [event.kind for event in events.read(database, study)][-1] == "repaired"


def test_repair_leaves_running_trials_alone(projection, bound_slot, trials):
    _, slot = bound_slot()
    open_trial(projection, slot)
    assert projection.repair() == 0
    assert trials()[0].state == TrialState.RUNNING


def test_a_slot_that_failed_before_its_trial_was_made_needs_none(projection, open_ledger, trials):
    ledger = open_ledger(max_attempts=1)
    slot = claim_one(ledger)
    assert ledger.fail_attempt(slot, "boom") is False
    projection.close_many([slot.number])
    assert trials() == []
    assert projection.repair() == 0


def test_a_trial_taken_from_its_slot_is_made_anew_and_the_first_one_failed(
    projection, bound_slot, trials, database, study, open_ledger
):
    """No worker takes a trial from its slot; somebody who edits the table may."""
    ledger, slot = bound_slot()
    first = open_trial(projection, slot)
    put_trial(database, study, slot, None)
    release_one(ledger, slot)
    new_holder = open_ledger("heir")
    again = claim_one(new_holder)
    assert (again.number, again.trial_id) == (slot.number, None)
    second = open_trial(projection, again)
    assert new_holder.reader.record(again.number).trial_id == second
    assert Projection(database, study).repair() == 1
    states = {trial._trial_id: trial.state for trial in trials()}
    assert states == {first: TrialState.FAIL, second: TrialState.RUNNING}


def test_repair_fails_an_orphan(projection, bound_slot, trials, database, study):
    _, slot = bound_slot()
    orphan = open_trial(projection, slot)
    put_trial(database, study, slot, None)
    _, other = bound_slot(16)
    kept_trial = open_trial(projection, other)
    put_trial(database, study, slot, kept_trial)
    assert projection.repair() == 1
    states = {trial._trial_id: trial.state for trial in trials()}
    assert states == {orphan: TrialState.FAIL, kept_trial: TrialState.RUNNING}
    assert projection.repair() == 0


def test_a_late_holder_opens_nothing(projection, bound_slot, trials, open_ledger, database, study):
    ledger, slot = bound_slot()
    release_one(ledger, slot)
    new_holder = open_ledger("heir")
    claim_one(new_holder)
    with pytest.raises(LeaseLost):
        open_trial(projection, slot)
    assert events.read(database, study)[-1].detail == {"action": "open its trial"}
    assert trials() == []


def test_a_trial_that_is_not_ours_is_never_changed(projection, bound_slot, trials, database, study):
    foreign_trial = database.optuna_storage().create_new_trial(study.optuna_study_id)
    ledger, slot = bound_slot()
    assert open_trial(projection, slot) != foreign_trial
    projection.close_many([settle(ledger, slot).number])
    projection.repair()
    states = {trial._trial_id: trial.state for trial in trials()}
    assert states[foreign_trial] == TrialState.RUNNING


def test_a_trial_that_was_deleted_or_finished_does_no_harm(
    projection, bound_slot, trials, database
):
    ledger, slot = bound_slot()
    trial_id = open_trial(projection, slot)
    database.optuna_storage().set_trial_state_values(trial_id, TrialState.FAIL)
    projection.close_many([settle(ledger, slot).number])
    assert trials()[0].state == TrialState.FAIL
    assert ledger.reader.record(slot.number).value == 0.5


def test_a_study_of_optunas_that_was_deleted_is_reported(projection, bound_slot, database, study):
    ledger, slot = bound_slot()
    database.optuna_storage().delete_study(study.optuna_study_id)
    with pytest.raises(StudyNotFound, match="somebody deleted it"):
        open_trial(projection, slot)
    settle_one(ledger, slot, outcome="complete", value=0.5, result={})
    projection.close_many([slot.number])
    assert ledger.reader.counts().complete == 1


# --- trials whose slots are not done --------------------------------------------------------------


@pytest.fixture
def state(trials):
    """The state of the only trial."""
    return lambda: trials()[0].state


def test_a_trial_waits_once_its_slot_was_given_back(projection, bound_slot, state):
    ledger, slot = bound_slot()
    open_trial(projection, slot)
    release_one(ledger, slot)
    assert projection.repair() == 1
    assert state() is TrialState.WAITING
    assert projection.repair() == 0


def test_a_trial_waits_for_its_next_attempt(projection, bound_slot, state):
    ledger, slot = bound_slot()
    open_trial(projection, slot)
    assert ledger.fail_attempt(slot, "the moon is full")
    projection.repair()
    assert state() is TrialState.WAITING


def test_a_dead_worker_s_trial_waits_once_its_lease_has_ended(
    projection, bound_slot, open_ledger, state
):
    ledger = open_ledger("dead", lease_seconds=-1.0)
    _, slot = bound_slot(ledger=ledger)
    open_trial(projection, slot)
    projection.repair()
    assert state() is TrialState.WAITING


def test_a_trial_runs_again_with_its_next_holder(projection, bound_slot, open_ledger, trials):
    ledger, slot = bound_slot()
    trial_id = open_trial(projection, slot)
    release_one(ledger, slot)
    projection.repair()
    adopted = claim_one(open_ledger("second"))
    assert open_trial(projection, adopted) == trial_id
    assert [trial.state for trial in trials()] == [TrialState.RUNNING]
    settle(open_ledger("second"), adopted)
    projection.close_many([adopted.number])
    assert [trial.state for trial in trials()] == [TrialState.COMPLETE]


def test_a_claimed_trial_runs_at_the_latest_with_the_next_repair(
    projection, bound_slot, open_ledger, state
):
    ledger, slot = bound_slot()
    open_trial(projection, slot)
    release_one(ledger, slot)
    projection.repair()
    claim_one(open_ledger("second"))
    projection.repair()
    assert state() is TrialState.RUNNING


@pytest.mark.parametrize("command", [control.pause_trial, control.cancel_trial])
def test_a_trial_that_people_take_away_does_not_run(
    database, study, projection, bound_slot, state, command
):
    _, slot = bound_slot()
    open_trial(projection, slot)
    assert command(database, study, slot.number, worker="eve")
    expected = TrialState.WAITING if command is control.pause_trial else TrialState.PRUNED
    assert state() is expected


def test_a_pause_shows_what_dead_workers_left(
    database, study, projection, bound_slot, open_ledger, state
):
    _, slot = bound_slot(ledger=open_ledger("dead", lease_seconds=-1.0))
    open_trial(projection, slot)
    control.set_status(database, study, StudyStatus.PAUSED, worker="eve")
    assert state() is TrialState.WAITING


def test_what_is_finished_or_in_training_stays_as_it_is(projection, bound_slot, trials):
    ledger, slot = bound_slot()
    open_trial(projection, slot)
    settle(ledger, slot)
    projection.close_many([slot.number])
    _, running = bound_slot(hidden=16, ledger=ledger)
    open_trial(projection, running)
    assert projection.repair() == 0
    assert [trial.state for trial in trials()] == [TrialState.COMPLETE, TrialState.RUNNING]
