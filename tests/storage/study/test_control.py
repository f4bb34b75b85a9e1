"""Studies and trials are paused, continued and cancelled while workers hold slots."""

from dataclasses import replace

import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState
from widthwise.storage.errors import LeaseLost, PriorityRefused, TrialRefused
from widthwise.storage.ledger import events
from widthwise.storage.ledger.ledger import BindFailure, Settlement, SlotCounts, WidthBinding
from widthwise.storage.ledger.queries import LedgerReader
from widthwise.storage.projection import trial_rows
from widthwise.storage.projection.projection import Projection, TrialStart
from widthwise.storage.study import control
from widthwise.storage.study.study import load_study
from widthwise.tests.one_slot import (
    beat_one,
    bind_one,
    claim_one,
    open_one,
    release_one,
    settle_one,
)

DISTRIBUTIONS = {"a": IntDistribution(1, 64)}


@pytest.fixture
def control_events(database, study):
    """The events of people's commands, as kind, number and detail."""

    def read_events():
        kinds = ("paused", "continued", "cancelled")
        recorded = [event for event in events.read(database, study) if event.kind in kinds]
        assert {event.worker for event in recorded} <= {"eve"}
        return [(event.kind, event.number, event.detail) for event in recorded]

    return read_events


@pytest.fixture
def begin_trial(database, study):
    """Claim a slot, bind its widths, and open its trial."""

    def begin(ledger, width=8):
        slot = bind_one(ledger, claim_one(ledger), {"a": width}, "sampler")
        open_one(
            Projection(database, study),
            slot,
            distributions=DISTRIBUTIONS,
            constraints={},
            attributes={},
        )
        return slot

    return begin


def finish(ledger, slot):
    settle_one(ledger, slot, outcome="complete", value=0.5, result={})


# ---- a study


@pytest.mark.parametrize("status", ["paused", "cancelled"])
def test_of_a_study_that_is_not_open_nothing_is_claimed(open_ledger, set_status, status):
    ledger = open_ledger()
    slot = claim_one(ledger)
    assert set_status(status) == "open"
    assert ledger.reader.status() == status
    assert ledger.claim_many(5) == []
    beat_one(ledger, slot)
    finish(ledger, slot)
    assert ledger.reader.counts() == SlotCounts(
        complete=1, running=0, failed=0, pruned=0, waiting=4
    )
    assert set_status("open") == status
    assert claim_one(ledger).number == 1


def test_a_status_that_is_set_again_changes_nothing_and_is_recorded_once(
    set_status, control_events
):
    assert [set_status("paused"), set_status("paused")] == ["open", "paused"]
    assert [set_status("cancelled"), set_status("open")] == ["paused", "cancelled"]
    assert set_status("open") == "open"
    assert control_events() == [
        ("paused", None, {"before": "open"}),
        ("cancelled", None, {"before": "paused"}),
        ("continued", None, {"before": "cancelled"}),
    ]


def test_a_cancelled_study_can_be_extended_and_goes_on_once_it_is_open(open_ledger, set_status):
    ledger = open_ledger()
    slots = ledger.claim_many(5)
    set_status("cancelled")
    assert ledger.release_many(slots) == []
    assert ledger.extend(2) == 7
    assert ledger.set_budget(8) == 8
    assert ledger.claim_many(8) == []
    assert (
        ledger.reader.counts().waiting,
        ledger.reader.open_slots(),
        ledger.reader.unbound(),
    ) == (8, 8, 8)
    set_status("open")
    assert len(ledger.claim_many(9)) == 8


def test_status_and_priority_are_read_with_the_study(database, study, set_status):
    assert (study.status, study.priority) == ("open", 0)
    control.set_priority(database, study, -3)
    set_status("paused")
    reloaded = load_study(database, study.name)
    assert reloaded == replace(study, status="paused", priority=-3)
    assert LedgerReader(database, study).status() == "paused"


def test_a_priority_out_of_range_is_refused(database, study):
    with pytest.raises(PriorityRefused, match=r"priority 1000001; expected -1000000 to 1000000"):
        control.set_priority(database, study, 1_000_001)
    assert load_study(database, study.name).priority == 0


# ---- a trial


def test_a_free_trial_that_is_paused_is_passed_over_until_it_is_continued(
    open_ledger, pause, continue_trial, control_events
):
    ledger = open_ledger()
    for _ in range(2):
        pause(0)
    assert ledger.reader.counts() == SlotCounts(
        complete=0, running=0, failed=0, pruned=0, waiting=5, paused=1
    )
    assert ledger.reader.record(0).paused
    assert [slot.number for slot in ledger.claim_many(5)] == [1, 2, 3, 4]
    for _ in range(2):
        continue_trial(0)
    assert ledger.reader.counts().paused == 0
    assert claim_one(ledger).number == 0
    assert control_events() == [("paused", 0, {}), ("continued", 0, {})]


def test_a_trial_that_is_paused_is_taken_from_its_holder(
    open_ledger, pause, continue_trial, begin_trial, control_events
):
    ledger, new_holder = open_ledger("holder"), open_ledger("heir")
    slot = begin_trial(ledger)
    pause(0)
    assert ledger.beat_many([slot]) == [slot]
    assert ledger.release_many([slot]) == [slot]
    with pytest.raises(LeaseLost):
        finish(ledger, slot)
    with pytest.raises(LeaseLost, match=r"'holder' no longer holds slot 0 .* was paused"):
        ledger.fail_attempt(slot, "boom")
    assert ledger.bind_many([WidthBinding(slot=slot, widths={"a": 9}, origin="sampler")]) == [
        BindFailure.LOST
    ]
    record = ledger.reader.record(0)
    assert (record.state, record.attempts, record.failures) == ("free", 0, 0)
    continue_trial(0)
    again = claim_one(new_holder)
    assert (again.number, again.attempt, again.widths) == (0, 1, {"a": 8})
    assert again.trial_id == record.trial_id
    finish(new_holder, again)
    assert control_events() == [("paused", 0, {"taken_from": "holder"}), ("continued", 0, {})]


def test_a_slot_of_a_dead_worker_can_be_paused(open_ledger, pause):
    slot = claim_one(open_ledger(lease_seconds=-1.0))
    pause(slot.number)
    new_holder = open_ledger("heir", lease_seconds=0.05)
    assert [each_slot.number for each_slot in new_holder.claim_many(5)] == [1, 2, 3, 4]
    assert new_holder.reader.record(0).attempts == 0


@pytest.mark.parametrize("state", ["free", "paused", "leased", "expired"])
def test_a_trial_is_cancelled_in_whatever_state(
    open_ledger, pause, cancel, begin_trial, control_events, state
):
    ledger = open_ledger("holder", lease_seconds=-1.0 if state == "expired" else 60.0)
    slot = begin_trial(ledger)
    if state == "free":
        release_one(ledger, slot)
    if state == "paused":
        pause(0)
    for _ in range(2):
        cancel(0)
    assert ledger.reader.counts() == SlotCounts(
        complete=0, running=0, failed=0, pruned=1, waiting=4
    )
    record = ledger.reader.record(0)
    assert (record.state, record.outcome, record.paused) == ("done", "cancelled", False)
    assert (record.value, record.widths, record.result) == (None, {"a": 8}, {})
    assert record.started_at <= record.finished_at
    with pytest.raises(LeaseLost):
        finish(ledger, slot)
    assert ledger.reader.record(0) == record
    assert claim_one(open_ledger()).number == 1
    detail = {"taken_from": "holder"} if state in ("leased", "expired") else {}
    assert control_events()[-1] == ("cancelled", 0, detail)
    assert [control_event[0] for control_event in control_events()].count("cancelled") == 1


def test_a_trial_without_widths_can_be_cancelled(open_ledger, cancel, database, study):
    ledger, projection = open_ledger(), Projection(database, study)
    slot = claim_one(ledger)
    cancel(0)
    cancel(1)
    assert ledger.bind_many([WidthBinding(slot=slot, widths={"a": 8}, origin="sampler")]) == [
        BindFailure.LOST
    ]
    assert projection.repair() == 0
    assert [each_slot.number for each_slot in ledger.claim_many(5)] == [2, 3, 4]
    assert (ledger.reader.tried(), ledger.reader.unbound()) == ([], 3)
    assert database.optuna_storage().get_all_trials(study.optuna_study_id) == []


@pytest.mark.parametrize("verb", ["pause", "continue_trial", "cancel"])
def test_a_trial_that_is_done_or_not_there_is_refused(open_ledger, request, verb):
    command = request.getfixturevalue(verb)
    ledger = open_ledger()
    finish(ledger, claim_one(ledger))
    before = ledger.reader.records()
    with pytest.raises(TrialRefused, match=r"Trial 0 .* is done \(complete\)") as caught:
        command(0)
    assert caught.value.exit_code == 2
    for number in (5, -1, 10**30):
        with pytest.raises(TrialRefused, match=f"no trial {number}: its 5 trials are numbered"):
            command(number)
    assert ledger.reader.records() == before


def test_a_cancelled_trial_cannot_be_paused_or_continued(
    open_ledger, cancel, pause, continue_trial
):
    cancel(2)
    for command in (pause, continue_trial):
        with pytest.raises(TrialRefused, match=r"Trial 2 .* is done \(cancelled\)"):
            command(2)


def test_the_other_trials_of_a_batch_are_not_harmed(open_ledger, pause, cancel):
    ledger = open_ledger()
    batch = ledger.claim_many(4)
    batch = ledger.bind_many(
        [WidthBinding(slot=slot, widths={"a": 1 + slot.number}, origin="s") for slot in batch]
    )
    pause(1)
    cancel(2)
    assert [slot.number for slot in ledger.beat_many(batch)] == [1, 2]
    ends = [Settlement(slot=slot, outcome="complete", value=0.5) for slot in batch]
    assert [slot.number for slot in ledger.settle_many(ends)] == [1, 2]
    assert ledger.reader.counts() == SlotCounts(
        complete=2, running=0, failed=0, pruned=1, waiting=2, paused=1
    )


# ---- Optuna's side


@pytest.fixture
def slot_states(database, study):
    def read_states():
        trials = database.optuna_storage().get_all_trials(study.optuna_study_id)
        return [trial.state for trial in trials]

    return read_states


def test_optunas_trial_is_ended_as_soon_as_it_is_cancelled(
    open_ledger, begin_trial, cancel, slot_states, database, study
):
    begin_trial(open_ledger())
    assert slot_states() == [TrialState.RUNNING]
    cancel(0)
    assert slot_states() == [TrialState.PRUNED]
    assert Projection(database, study).repair() == 0


def test_a_cancellation_that_died_before_optunas_trial_ended_is_repaired(
    open_ledger, begin_trial, cancel, slot_states, database, study, monkeypatch
):
    ledger = open_ledger()
    begin_trial(ledger)
    bare = claim_one(ledger)  # without a trial
    with monkeypatch.context() as patch:
        patch.setattr(trial_rows, "end_trials", _raise)
        for number in (0, bare.number):
            with pytest.raises(KeyboardInterrupt):
                cancel(number)
    assert slot_states() == [TrialState.RUNNING]
    assert ledger.reader.counts().pruned == 2
    assert Projection(database, study).repair() == 2
    assert Projection(database, study).repair() == 0
    assert slot_states() == [TrialState.PRUNED]


def _raise(*_arguments):
    raise KeyboardInterrupt


def test_no_trial_is_opened_for_a_slot_that_was_cancelled(
    open_ledger, cancel, slot_states, database, study
):
    ledger, projection = open_ledger(), Projection(database, study)
    slot = bind_one(ledger, claim_one(ledger), {"a": 8}, "sampler")
    cancel(0)
    opening = TrialStart(slot=slot, constraints={}, attributes={})
    assert projection.open_many([opening], distributions=DISTRIBUTIONS) == [None]
    assert slot_states() == []
