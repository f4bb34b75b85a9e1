"""What every engine must give those who pause, continue and cancel, whoever is at work."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState
from widthwise.storage.errors import LeaseLost, PriorityRefused, TrialRefused
from widthwise.storage.ledger import claim, events, queries
from widthwise.storage.ledger.ledger import Counts, NotBound, Settlement
from widthwise.storage.projection import trial_rows
from widthwise.storage.projection.projection import Opening, Projection
from widthwise.storage.study import control
from widthwise.storage.study.study import load_study
from widthwise.tests.one_slot import beat_one, bind_one, claim_one, open_one, release_one

DISTRIBUTIONS = {"a": IntDistribution(1, 64)}


@pytest.fixture
def set_status(database, study):
    return lambda status: control.set_status(database, study, status, worker="eve")


@pytest.fixture
def pause(database, study):
    return lambda number: control.pause_trial(database, study, number, worker="eve")


@pytest.fixture
def go_on(database, study):
    return lambda number: control.continue_trial(database, study, number, worker="eve")


@pytest.fixture
def cancel(database, study):
    return lambda number: control.cancel_trial(database, study, number, worker="eve")


@pytest.fixture
def story(database, study):
    """The events of people's commands, as kind, number and detail."""

    def told():
        kinds = ("paused", "continued", "cancelled")
        found = [one for one in events.read(database, study) if one.kind in kinds]
        assert {one.worker for one in found} <= {"eve"}
        return [(one.kind, one.number, one.detail) for one in found]

    return told


@pytest.fixture
def trial(database, study):
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
    ledger.done(slot, outcome="complete", value=0.5, result={})


# ---- a study


@pytest.mark.parametrize("status", ["paused", "cancelled"])
def test_of_a_study_that_is_not_open_nothing_is_claimed(join, set_status, status):
    ledger = join()
    slot = claim_one(ledger)
    assert set_status(status) == "open"
    assert ledger.status() == status
    assert ledger.claim_many(5) == []
    beat_one(ledger, slot)
    finish(ledger, slot)
    assert ledger.counts() == Counts(complete=1, running=0, failed=0, pruned=0, waiting=4)
    assert set_status("open") == status
    assert claim_one(ledger).number == 1


def test_a_status_that_is_set_again_changes_nothing_and_is_not_told_twice(set_status, story):
    assert [set_status("paused"), set_status("paused")] == ["open", "paused"]
    assert [set_status("cancelled"), set_status("open")] == ["paused", "cancelled"]
    assert set_status("open") == "open"
    assert story() == [
        ("paused", None, {"before": "open"}),
        ("cancelled", None, {"before": "paused"}),
        ("continued", None, {"before": "cancelled"}),
    ]


def test_a_cancelled_study_can_be_extended_and_goes_on_once_it_is_open(join, set_status):
    ledger = join()
    slots = ledger.claim_many(5)
    set_status("cancelled")
    assert ledger.release_many(slots) == []
    assert ledger.extend(2) == 7
    assert ledger.set_budget(8) == 8
    assert ledger.claim_many(8) == []
    assert (ledger.counts().waiting, ledger.open_slots(), ledger.unbound()) == (8, 8, 8)
    set_status("open")
    assert len(ledger.claim_many(9)) == 8


def test_whoever_reads_a_study_sees_its_status_and_priority(database, study, set_status):
    assert (study.status, study.priority) == ("open", 0)
    control.set_priority(database, study, -3)
    set_status("paused")
    there = load_study(database, study.name)
    assert there == replace(study, status="paused", priority=-3)
    assert queries.status_of(database, study) == "paused"


def test_a_priority_beyond_measure_is_refused(database, study):
    with pytest.raises(PriorityRefused, match=r"priority 1000001; expected -1000000 to 1000000"):
        control.set_priority(database, study, 1_000_001)
    assert load_study(database, study.name).priority == 0


# ---- a trial


def test_a_free_trial_that_is_paused_is_passed_over_until_it_is_continued(
    join, pause, go_on, story
):
    ledger = join()
    for _ in range(2):
        pause(0)
    assert ledger.counts() == Counts(complete=0, running=0, failed=0, pruned=0, waiting=5, paused=1)
    assert ledger.record(0).hold == "paused"
    assert [slot.number for slot in ledger.claim_many(5)] == [1, 2, 3, 4]
    for _ in range(2):
        go_on(0)
    assert ledger.counts().paused == 0
    assert claim_one(ledger).number == 0
    assert story() == [("paused", 0, {}), ("continued", 0, {})]


def test_a_trial_that_is_paused_is_taken_from_its_holder(join, pause, go_on, trial, story):
    ledger, heir = join("holder"), join("heir")
    slot = trial(ledger)
    pause(0)
    assert ledger.beat_many([slot]) == [slot]
    assert ledger.release_many([slot]) == [slot]
    for late in (
        lambda: finish(ledger, slot),
        lambda: ledger.fail_attempt(slot, "boom"),
    ):
        with pytest.raises(LeaseLost, match=r"'holder' no longer holds slot 0 .* was paused"):
            late()
    assert ledger.bind_many([(slot, {"a": 9}, "sampler")]) == [NotBound.LOST]
    record = ledger.record(0)
    assert (record.state, record.attempts, record.failures) == ("free", 0, 0)
    go_on(0)
    again = claim_one(heir)
    assert (again.number, again.attempt, again.widths) == (0, 1, {"a": 8})
    assert again.trial_id == record.trial_id
    finish(heir, again)
    assert story() == [("paused", 0, {"taken_from": "holder"}), ("continued", 0, {})]


def test_what_a_dead_worker_left_can_be_paused(join, pause):
    slot = claim_one(join(lease_seconds=-1.0))
    pause(slot.number)
    heir = join("heir", lease_seconds=0.05)
    assert [one.number for one in heir.claim_many(5)] == [1, 2, 3, 4]
    assert heir.record(0).attempts == 0


@pytest.mark.parametrize("state", ["free", "paused", "leased", "left behind"])
def test_a_trial_is_cancelled_whatever_holds_it(join, pause, cancel, trial, story, state):
    ledger = join("holder", lease_seconds=-1.0 if state == "left behind" else 60.0)
    slot = trial(ledger)
    if state == "free":
        release_one(ledger, slot)
    if state == "paused":
        pause(0)
    for _ in range(2):
        cancel(0)
    assert ledger.counts() == Counts(complete=0, running=0, failed=0, pruned=1, waiting=4)
    record = ledger.record(0)
    assert (record.state, record.outcome, record.hold) == ("done", "cancelled", None)
    assert (record.value, record.widths, record.result) == (None, {"a": 8}, {})
    assert record.started_at <= record.finished_at
    with pytest.raises(LeaseLost):
        finish(ledger, slot)
    assert ledger.record(0) == record
    assert claim_one(join()).number == 1
    taken = {"taken_from": "holder"} if state in ("leased", "left behind") else {}
    assert story()[-1] == ("cancelled", 0, taken)
    assert [told[0] for told in story()].count("cancelled") == 1


def test_a_trial_without_widths_can_be_cancelled(join, cancel, database, study):
    ledger, projection = join(), Projection(database, study)
    slot = claim_one(ledger)
    cancel(0)
    cancel(1)
    assert ledger.bind_many([(slot, {"a": 8}, "sampler")]) == [NotBound.LOST]
    assert projection.repair() == 0
    assert [one.number for one in ledger.claim_many(5)] == [2, 3, 4]
    assert (ledger.tried(), ledger.unbound()) == ([], 3)
    assert database.optuna_storage().get_all_trials(study.optuna_study_id) == []


@pytest.mark.parametrize("verb", ["pause", "go_on", "cancel"])
def test_a_trial_that_is_done_or_not_there_is_refused(join, request, verb):
    command = request.getfixturevalue(verb)
    ledger = join()
    finish(ledger, claim_one(ledger))
    before = ledger.records()
    with pytest.raises(TrialRefused, match=r"Trial 0 .* is done \(complete\)") as caught:
        command(0)
    assert caught.value.exit_code == 2
    for number in (5, -1, 10**30):
        with pytest.raises(TrialRefused, match=f"no trial {number}: its 5 trials are numbered"):
            command(number)
    assert ledger.records() == before


def test_a_cancelled_trial_cannot_be_paused_or_continued(join, cancel, pause, go_on):
    cancel(2)
    for command in (pause, go_on):
        with pytest.raises(TrialRefused, match=r"Trial 2 .* is done \(cancelled\)"):
            command(2)


def test_the_other_trials_of_a_batch_are_not_harmed(join, pause, cancel):
    ledger = join()
    batch = ledger.claim_many(4)
    batch = ledger.bind_many([(slot, {"a": 1 + slot.number}, "s") for slot in batch])
    pause(1)
    cancel(2)
    assert [slot.number for slot in ledger.beat_many(batch)] == [1, 2]
    ends = [Settlement(slot=slot, outcome="complete", value=0.5) for slot in batch]
    assert [slot.number for slot in ledger.done_many(ends)] == [1, 2]
    assert ledger.counts() == Counts(complete=2, running=0, failed=0, pruned=1, waiting=2, paused=1)


# ---- Optuna's side


@pytest.fixture
def states(database, study):
    def told():
        trials = database.optuna_storage().get_all_trials(study.optuna_study_id)
        return [trial.state for trial in trials]

    return told


def test_optuna_is_told_at_once_of_a_cancelled_trial(join, trial, cancel, states, database, study):
    trial(join())
    assert states() == [TrialState.RUNNING]
    cancel(0)
    assert states() == [TrialState.PRUNED]
    assert Projection(database, study).repair() == 0


def test_a_cancellation_that_died_before_optuna_was_told_is_repaired(
    join, trial, cancel, states, database, study, monkeypatch
):
    ledger = join()
    trial(ledger)
    bare = claim_one(ledger)  # without a trial
    with monkeypatch.context() as patch:
        patch.setattr(trial_rows, "end_trials", _dies)
        for number in (0, bare.number):
            with pytest.raises(KeyboardInterrupt):
                cancel(number)
    assert states() == [TrialState.RUNNING]
    assert ledger.counts().pruned == 2
    assert Projection(database, study).repair() == 2
    assert Projection(database, study).repair() == 0
    assert states() == [TrialState.PRUNED]


def _dies(*_arguments):
    raise KeyboardInterrupt


def test_no_trial_is_opened_for_a_slot_that_was_cancelled(join, cancel, states, database, study):
    ledger, projection = join(), Projection(database, study)
    slot = bind_one(ledger, claim_one(ledger), {"a": 8}, "sampler")
    cancel(0)
    opening = Opening(slot=slot, constraints={}, attributes={})
    assert projection.open_many([opening], distributions=DISTRIBUTIONS) == [None]
    assert states() == []


# ---- at the same moment


def race(*acts):
    """Let all act at once; gives what each returned, or the refusal that it met."""
    ready = threading.Barrier(len(acts))

    def run(act):
        ready.wait()
        try:
            return act()
        except (LeaseLost, TrialRefused) as refusal:
            return refusal

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def test_of_a_result_and_a_command_at_once_one_wins(join, pause, cancel):
    ledger = join()
    ledger.extend(15)
    batch = ledger.claim_many(20)
    outcomes = set()
    for slot in batch:
        command = cancel if slot.number % 2 else pause
        ended, commanded = race(
            lambda slot=slot: finish(ledger, slot),
            lambda slot=slot, command=command: command(slot.number),
        )
        record = ledger.record(slot.number)
        outcomes.add(record.outcome)
        if record.outcome == "complete":
            assert (ended, type(commanded)) == (None, TrialRefused)
        else:
            assert (type(ended), commanded) == (LeaseLost, None)
            assert record.outcome == "cancelled" or record.hold == "paused"
    counts = ledger.counts()
    assert counts.complete + counts.pruned + counts.paused == counts.budget == 20


def test_a_claim_that_is_under_way_when_its_study_is_paused_does_no_harm(
    join, set_status, monkeypatch
):
    """It may come through, as if it had come before; its holder learns of the pause."""
    ledger, pausing = join(), threading.Thread(target=set_status, args=("paused",))
    real = claim._take

    def slow(*arguments, **options):
        pausing.start()
        pausing.join(0.3)  # SQLite lets it wait for us, PostgreSQL does not
        return real(*arguments, **options)

    monkeypatch.setattr(claim, "_take", slow)
    slot = claim_one(ledger)
    pausing.join()
    assert (slot.number, ledger.status()) == (0, "paused")
    assert claim_one(ledger) is None
    assert ledger.beat_many([slot]) == []
    release_one(ledger, slot)
    assert (ledger.record(0).state, ledger.record(0).attempts) == ("free", 0)


@pytest.mark.parametrize("verb", ["pause", "cancel"])
def test_a_trial_is_taken_from_the_claim_that_is_under_way(join, request, monkeypatch, verb):
    command, ledger, commanding = request.getfixturevalue(verb), join(), None
    real = claim._take

    def slow(*arguments, **options):
        nonlocal commanding
        taken = real(*arguments, **options)
        commanding = threading.Thread(target=command, args=(0,))
        commanding.start()
        commanding.join(0.3)
        assert commanding.is_alive(), "the command did not wait"
        return taken

    monkeypatch.setattr(claim, "_take", slow)
    slot = claim_one(ledger)
    commanding.join()
    assert slot.number == 0
    assert ledger.beat_many([slot]) == [slot]
    assert ledger.record(0).state == ("free" if verb == "pause" else "done")


def test_whatever_is_commanded_while_workers_work_the_books_balance(
    join, pause, go_on, cancel, set_status, database, study
):
    join().extend(35)

    def work(name):
        ledger = join(name)
        for _ in range(12):
            for slot in ledger.claim_many(3):
                if not ledger.beat_many([slot]):
                    ledger.done_many([Settlement(slot=slot, outcome="complete", value=0.5)])

    def command():
        for number in range(0, 40, 2):
            for act in (pause, go_on, cancel) if number % 4 else (pause, go_on):
                race(lambda act=act, number=number: act(number))
        for status in ("paused", "open", "cancelled", "open"):
            set_status(status)

    race(lambda: work("ann"), lambda: work("bob"), command)
    race(lambda: work("cid"), lambda: work("dan"))
    ledger = join()
    counts = ledger.counts()
    assert (counts.budget, counts.running, counts.paused) == (40, 0, 0)
    assert counts.complete + counts.pruned == 40
    told = events.read(database, study)
    done = [one.number for one in told if one.kind == "done"]
    cancelled = [one.number for one in told if one.kind == "cancelled" and one.number is not None]
    assert sorted(done + cancelled) == list(range(40))
