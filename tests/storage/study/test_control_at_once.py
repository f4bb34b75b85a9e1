"""Commands and workers at the same moment: one of them comes first, and nothing is lost."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from widthwise.storage.errors import LeaseLost, TrialRefused
from widthwise.storage.ledger import events
from widthwise.storage.ledger.ledger import Settlement
from widthwise.tests.one_slot import claim_one, release_one, settle_one


def finish(ledger, slot):
    settle_one(ledger, slot, outcome="complete", value=0.5, result={})


def run_concurrently(*actions):
    """Run all at once; return what each returned, or the error that refused it."""
    ready = threading.Barrier(len(actions))

    def run_action(act):
        ready.wait()
        try:
            return act()
        except (LeaseLost, TrialRefused) as refusal:
            return refusal

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run_action, actions))


def test_of_a_result_and_a_command_at_once_one_wins(open_ledger, pause, cancel):
    ledger = open_ledger()
    ledger.extend(15)
    batch = ledger.claim_many(20)
    outcomes = set()
    for slot in batch:
        command = cancel if slot.number % 2 else pause
        ended, commanded = run_concurrently(
            lambda slot=slot: finish(ledger, slot),
            lambda slot=slot, command=command: command(slot.number),
        )
        record = ledger.reader.record(slot.number)
        outcomes.add(record.outcome)
        if record.outcome == "complete":
            assert (ended, type(commanded)) == (None, TrialRefused)
        else:
            assert (type(ended), commanded) == (LeaseLost, True)
            assert record.outcome == "cancelled" or record.paused
    counts = ledger.reader.counts()
    assert counts.complete + counts.pruned + counts.paused == counts.budget == 20


def test_a_claim_that_is_under_way_when_its_study_is_paused_does_no_harm(
    open_ledger, set_status, listen
):
    """It may succeed, as if it had come before; its holder learns of the pause."""
    ledger, pausing = open_ledger(), threading.Thread(target=set_status, args=("paused",))

    def pause_once_the_status_is_read(_connection, _cursor, statement, *_rest):
        if statement.startswith("SELECT widthwise_study.status") and pausing.ident is None:
            pausing.start()
            pausing.join(0.3)  # SQLite lets it wait for us, PostgreSQL does not

    with listen("after_cursor_execute", pause_once_the_status_is_read):
        slot = claim_one(ledger)
        pausing.join()
    assert (slot.number, ledger.reader.status()) == (0, "paused")
    assert claim_one(ledger) is None
    assert ledger.beat_many([slot]) == []
    release_one(ledger, slot)
    assert (ledger.reader.record(0).state, ledger.reader.record(0).attempts) == ("free", 0)


@pytest.mark.parametrize("verb", ["pause", "cancel"])
def test_a_trial_is_taken_from_the_claim_that_is_under_way(open_ledger, request, listen, verb):
    ledger = open_ledger()
    commanding = threading.Thread(target=request.getfixturevalue(verb), args=(0,))

    def command_before_the_claim_is_committed(_connection):
        if commanding.ident is None:
            commanding.start()
            commanding.join(0.3)
            assert commanding.is_alive(), "the command did not wait"

    with listen("commit", command_before_the_claim_is_committed):
        slot = claim_one(ledger)
        commanding.join()
    assert slot.number == 0
    assert ledger.beat_many([slot]) == [slot]
    assert ledger.reader.record(0).state == ("free" if verb == "pause" else "done")


def test_whatever_is_commanded_while_workers_work_the_books_balance(
    open_ledger, pause, continue_trial, cancel, set_status, database, study
):
    open_ledger().extend(35)

    def work(name):
        ledger = open_ledger(name)
        for _ in range(12):
            for slot in ledger.claim_many(3):
                if not ledger.beat_many([slot]):
                    ledger.settle_many([Settlement(slot=slot, outcome="complete", value=0.5)])

    def command():
        for number in range(0, 40, 2):
            for act in (pause, continue_trial, cancel) if number % 4 else (pause, continue_trial):
                run_concurrently(lambda act=act, number=number: act(number))
        for status in ("paused", "open", "cancelled", "open"):
            set_status(status)

    run_concurrently(lambda: work("ann"), lambda: work("bob"), command)
    run_concurrently(lambda: work("cid"), lambda: work("dan"))
    ledger = open_ledger()
    counts = ledger.reader.counts()
    assert (counts.budget, counts.running, counts.paused) == (40, 0, 0)
    assert counts.complete + counts.pruned == 40
    event_log = events.read(database, study)
    done = [event.number for event in event_log if event.kind == "done"]
    cancelled = [
        event.number
        for event in event_log
        if event.kind == "cancelled" and event.number is not None
    ]
    assert sorted(done + cancelled) == list(range(40))
