"""Real workers, really killed, stopped or cut off: the budget stays exact, nothing is doubled."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from optuna.trial import TrialState
from widthwise.storage import events
from widthwise.storage.database import Database, resolve_url
from widthwise.storage.ledger import Counts, Ledger
from widthwise.storage.study import create_study

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
BUDGET = 30


def create(database):
    study, _ = create_study(
        database,
        name="digits",
        spec="{}",
        fingerprint="f",
        direction="maximize",
        metric="accuracy",
        base="",
        budget=BUDGET,
    )
    return study


def start(script, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, str(HERE / script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def check(database, study):
    """Every slot was settled once, by one holder, and Optuna tells the same story."""
    ledger = Ledger(database, study, worker="judge")
    assert ledger.counts() == Counts(complete=BUDGET, running=0, failed=0, pruned=0, waiting=0)
    records = ledger.records()
    assert [record.number for record in records] == list(range(BUDGET))
    assert len({tuple(record.widths.items()) for record in records}) == BUDGET

    story = events.read(database, study)
    kinds = Counter(event.kind for event in story)
    assert kinds["done"] == kinds["bound"] == kinds["claimed"] == BUDGET
    assert kinds["claimed"] + kinds["reclaimed"] == sum(record.attempts for record in records)
    assert kinds["projected"] + kinds["repaired"] == BUDGET
    settled_by = {event.number: event.token for event in story if event.kind == "done"}

    trials = database.optuna_storage().get_all_trials(study.optuna_study_id)
    assert len(trials) == BUDGET
    assert [trial.number for trial in trials] == list(range(BUDGET))
    by_slot = {trial.user_attrs["slot"]: trial for trial in trials}
    for record in records:
        trial = by_slot[record.number]
        assert (trial._trial_id, trial.state) == (record.trial_id, TrialState.COMPLETE)
        assert (trial.params, trial.value) == (record.widths, record.value)
        assert trial.user_attrs["token"] == settled_by[record.number]
    return kinds


def test_workers_killed_at_any_moment(database, database_url):
    study = create(database)
    swarm = start("swarm.py", database_url, study.name, 3, 8)
    output, errors = swarm.communicate(timeout=120)
    assert (output, errors) == ("[0, 0, 0]\n", "")
    kinds = check(database, study)
    assert kinds["reclaimed"] > 0, "no worker was killed while it held a slot"


def test_a_holder_that_sleeps_past_its_lease_is_refused(database, database_url):
    study = create(database)
    lease = 0.5
    holder = start("holder.py", database_url, study.name, lease)
    assert holder.stdout.readline() == "holding\n"
    os.kill(holder.pid, signal.SIGSTOP)
    heir = Ledger(database, study, worker="heir", lease_seconds=lease)
    deadline = time.monotonic() + 20
    slot = None
    while slot is None or slot.number != 0:
        assert time.monotonic() < deadline
        time.sleep(heir.oldest_lease())
        slot = heir.claim()
        if slot is not None and slot.number != 0:
            heir.release(slot)
    assert slot.widths == {"a": 8, "b": 8}
    heir.done(slot, outcome="complete", value=2.0, result={})
    os.kill(holder.pid, signal.SIGCONT)
    output, errors = holder.communicate("go\n", timeout=60)
    assert (holder.returncode, errors) == (75, "")
    assert "Worker 'holder' no longer holds slot 0" in output
    assert heir.record(0).value == 2.0


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_workers_outlast_a_restart_of_the_server(mode, postgresql_url, postgresql_server):
    with Database.open(resolve_url(postgresql_url), retry_seconds=30) as database:
        study = create(database)
        ledger = Ledger(database, study, worker="judge")
        swarm = start("swarm.py", postgresql_url, study.name, 3, 0)
        while ledger.counts().complete < 5:
            assert swarm.poll() is None
            time.sleep(0.05)
        postgresql_server.restart(mode)
        output, errors = swarm.communicate(timeout=100)
        assert (output, errors) == ("[0, 0, 0]\n", "")
        check(database, study)
