"""Workers register, are listed with what they do, and are deleted once they are gone."""

import os
import socket
import uuid
from importlib.metadata import version
from types import SimpleNamespace

import pytest
from sqlalchemy import URL, update
from widthwise.storage.database import tables
from widthwise.storage.database.database import Database
from widthwise.storage.study import workers
from widthwise.storage.study.study import create_study
from widthwise.storage.study.workers import WorkerRegistration, announce_device, list_workers
from widthwise.tests.one_slot import claim_one, release_one


@pytest.fixture
def worker_name():
    """Make the name of a worker that no other test has; as long as a name may be."""
    return uuid.uuid4().hex.ljust(256, "x")


@pytest.fixture
def registration(database, worker_name):
    return WorkerRegistration(database, name=worker_name, beat_seconds=10.0)


@pytest.fixture
def find_worker(database, worker_name):
    """Return the worker as it is listed, None if it is not."""
    return lambda: {worker.name: worker for worker in list_workers(database)}.get(worker_name)


@pytest.fixture
def age_worker(database, worker_name):
    """Shift the worker's last sign of life so many seconds into the past."""

    def shift_times(seconds):
        this_worker = tables.workers.c.name == worker_name
        change = update(tables.workers).where(this_worker)
        change = change.values(
            started_at=tables.workers.c.started_at - seconds,
            seen_at=tables.workers.c.seen_at - seconds,
        )
        database.write(lambda connection: connection.execute(change))

    return shift_times


def test_a_worker_is_listed_from_its_registration_until_it_unregisters(
    registration, find_worker, worker_name
):
    assert find_worker() is None
    registration.register(study=None, activity="starting", device=None)
    worker = find_worker()
    assert (worker.name, worker.host, worker.pid) == (
        worker_name,
        socket.gethostname(),
        os.getpid(),
    )
    assert (worker.device, worker.study, worker.activity) == (None, None, "starting")
    assert (worker.trials, worker.version, worker.alive) == ((), version("widthwise"), True)
    assert worker.age_seconds >= 0
    for _ in range(2):
        registration.unregister()
        assert find_worker() is None


def test_a_worker_is_listed_with_its_activity_and_its_trials(
    registration, find_worker, worker_name, open_ledger, study, database
):
    registration.register(study=study, activity="training", device="cpu: 24 GiB")
    batch = open_ledger(worker_name).claim_many(3)
    claim_one(open_ledger("another"))
    worker = find_worker()
    assert (worker.study, worker.activity) == (study.name, "training")
    assert (worker.device, worker.trials) == ("cpu: 24 GiB", (0, 1, 2))
    release_one(open_ledger(worker_name), batch[1])
    assert find_worker().trials == (0, 2)
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
    registration.register(study=other, activity="waiting", device="cpu: 24 GiB")
    assert (find_worker().study, find_worker().trials) == (other.name, ())


def test_a_worker_is_alive_while_it_missed_no_more_than_three_beats(
    registration, find_worker, age_worker
):
    registration.register(study=None, activity="waiting", device=None)
    age_worker(25)
    assert find_worker().alive
    age_worker(10)
    assert not find_worker().alive
    assert find_worker().age_seconds >= 35
    registration.register(study=None, activity="waiting", device=None)
    assert find_worker().alive


def test_a_worker_not_seen_for_a_day_is_deleted_by_the_others(
    registration, find_worker, age_worker, database
):
    registration.register(study=None, activity="waiting", device=None)
    other = WorkerRegistration(database, name=uuid.uuid4().hex, beat_seconds=10.0)
    age_worker(86_000)
    other.register(study=None, activity="waiting", device=None)
    assert find_worker() is not None
    age_worker(1_000)
    other.register(study=None, activity="waiting", device=None)
    assert find_worker() is None


def test_the_start_of_a_worker_is_that_of_its_process(
    registration, age_worker, database, worker_name, monkeypatch
):
    def started():
        table = tables.workers
        query = table.select().where(table.c.name == worker_name)
        return database.read(lambda connection: connection.execute(query).one().started_at)

    registration.register(study=None, activity="starting", device=None)
    age_worker(100)
    first = started()
    registration.register(study=None, activity="training", device=None)
    assert started() == first
    monkeypatch.setattr(workers, "os", SimpleNamespace(getpid=lambda: 1))
    registration.register(study=None, activity="starting", device=None)
    assert started() > first + 50


def test_a_study_that_is_deleted_leaves_its_workers_without_one(
    registration, find_worker, database, study
):
    registration.register(study=study, activity="waiting", device=None)
    gone = tables.studies.delete().where(tables.studies.c.id == study.id)
    database.write(lambda connection: connection.execute(gone))
    assert (find_worker().study, find_worker().trials) == (None, ())


def test_a_worker_ends_without_an_error_where_the_database_is_away():
    """And soon: it has seconds to end, where a transaction may be retried for minutes."""
    nowhere = URL.create("postgresql+psycopg", host="127.0.0.1", port=1, database="w")
    with Database(nowhere, wal=False, retry_seconds=3600.0) as away:
        WorkerRegistration(away, name="w", beat_seconds=1.0).unregister()


def test_a_device_that_is_announced_stays_until_another_one_is_said(
    database, registration, find_worker, worker_name
):
    registration.register(study=None, activity="starting", device=None)
    announce_device(database, worker_name, "cuda: H200, GPU-1")
    registration.register(study=None, activity="starting", device=None)
    assert find_worker().device == "cuda: H200, GPU-1"
    registration.register(study=None, activity="training", device="cpu")
    assert find_worker().device == "cpu"


def test_who_is_not_registered_announces_nothing(database, find_worker, worker_name):
    announce_device(database, worker_name, "cpu")
    assert find_worker() is None
