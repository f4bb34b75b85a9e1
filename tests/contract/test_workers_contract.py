"""What every engine must give those who look at workers: who is there, and what each one does."""

import os
import socket
import uuid
from importlib.metadata import version

import pytest
from sqlalchemy import URL, update
from widthwise.storage.database import tables
from widthwise.storage.database.database import Database
from widthwise.storage.study import workers
from widthwise.storage.study.study import create_study
from widthwise.storage.study.workers import Presence, list_workers
from widthwise.tests.one_slot import claim_one, release_one


@pytest.fixture
def name():
    """Of a worker that no other test has; as long as a name may be."""
    return uuid.uuid4().hex.ljust(256, "x")


@pytest.fixture
def presence(database, name):
    return Presence(database, name=name, beat_seconds=10.0)


@pytest.fixture
def seen(database, name):
    """The worker as others see it, None if they do not."""
    return lambda: {one.name: one for one in list_workers(database)}.get(name)


@pytest.fixture
def since(database, name):
    """Let the worker's last sign of life be so many seconds ago."""

    def silent(seconds):
        mine = tables.workers.c.name == name
        change = update(tables.workers).where(mine)
        change = change.values(
            started_at=tables.workers.c.started_at - seconds,
            seen_at=tables.workers.c.seen_at - seconds,
        )
        database.write(lambda connection: connection.execute(change))

    return silent


def test_a_worker_is_seen_from_its_first_announcement_until_it_leaves(presence, seen, name):
    assert seen() is None
    presence.announce(study=None, activity="starting", device=None)
    worker = seen()
    assert (worker.name, worker.host, worker.pid) == (name, socket.gethostname(), os.getpid())
    assert (worker.device, worker.study, worker.activity) == (None, None, "starting")
    assert (worker.trials, worker.version, worker.alive) == ((), version("widthwise"), True)
    assert worker.age_seconds >= 0
    for _ in range(2):
        presence.leave()
        assert seen() is None


def test_a_worker_says_what_it_does_and_others_see_the_trials_it_holds(
    presence, seen, name, join, study, database
):
    presence.announce(study=study, activity="training", device="cpu: 24 GiB")
    batch = join(name).claim_many(3)
    claim_one(join("another"))
    worker = seen()
    assert (worker.study, worker.activity) == (study.name, "training")
    assert (worker.device, worker.trials) == ("cpu: 24 GiB", (0, 1, 2))
    release_one(join(name), batch[1])
    assert seen().trials == (0, 2)
    other, _ = create_study(
        database,
        name=uuid.uuid4().hex,
        spec="{}",
        fingerprint="f",
        direction="maximize",
        metric="accuracy",
        base="",
        budget=1,
    )
    presence.announce(study=other, activity="waiting", device="cpu: 24 GiB")
    assert (seen().study, seen().trials) == (other.name, ())


def test_a_worker_is_alive_while_it_missed_no_more_than_three_beats(presence, seen, since):
    presence.announce(study=None, activity="waiting", device=None)
    since(25)
    assert seen().alive
    since(10)
    assert not seen().alive
    assert seen().age_seconds >= 35
    presence.announce(study=None, activity="waiting", device=None)
    assert seen().alive


def test_a_worker_not_seen_for_a_day_is_forgotten_by_the_others(presence, seen, since, database):
    presence.announce(study=None, activity="waiting", device=None)
    other = Presence(database, name=uuid.uuid4().hex, beat_seconds=10.0)
    since(86_000)
    other.announce(study=None, activity="waiting", device=None)
    assert seen() is not None
    since(1_000)
    other.announce(study=None, activity="waiting", device=None)
    assert seen() is None


def test_a_start_is_that_of_the_process(presence, since, database, name, monkeypatch):
    def started():
        table = tables.workers
        query = table.select().where(table.c.name == name)
        return database.read(lambda connection: connection.execute(query).one().started_at)

    presence.announce(study=None, activity="starting", device=None)
    since(100)
    first = started()
    presence.announce(study=None, activity="training", device=None)
    assert started() == first
    monkeypatch.setattr(workers.os, "getpid", lambda: 1)
    presence.announce(study=None, activity="starting", device=None)
    assert started() > first + 50


def test_a_study_that_is_deleted_leaves_its_workers_without_one(presence, seen, database, study):
    presence.announce(study=study, activity="waiting", device=None)
    gone = tables.studies.delete().where(tables.studies.c.id == study.id)
    database.write(lambda connection: connection.execute(gone))
    assert (seen().study, seen().trials) == (None, ())


def test_a_worker_leaves_in_silence_where_the_database_is_away():
    """And soon: it may be given seconds to end, where a transaction may wait for minutes."""
    nowhere = URL.create("postgresql+psycopg", host="127.0.0.1", port=1, database="w")
    with Database(nowhere, wal=False, retry_seconds=3600.0) as away:
        Presence(away, name="w", beat_seconds=1.0).leave()
