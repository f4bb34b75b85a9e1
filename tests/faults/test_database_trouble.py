"""Trouble of the database that passes: workers wait for it, and no trial is charged or lost."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from widthwise.storage.database.database import resolve_url

from . import small
from .command import CommandStudy
from .outages import stopped_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.promise("database trouble passes"),
]

TRIALS = 6
# Longer than a database was once waited for, and much shorter than it is now.
TROUBLE_SECONDS = 5.0
# So that the trouble meets several heartbeats, and outlasts a lease.
LEASE = "4"

RecordCounts = Callable[..., None]


def write_study(folder: Path, url: str | None = None) -> CommandStudy:
    study = CommandStudy(folder, "small", url)
    (folder / "small.py").write_text(small.MODEL)
    (folder / "small_data.py").write_text(small.DATA)
    (folder / "small.toml").write_text(small.SPEC.format(name="small", trials=TRIALS, epochs=3))
    study.submit("small.toml")
    return study


def assert_undisturbed(study: CommandStudy, run: subprocess.Popen[str]) -> dict[str, int]:
    """Every trial was trained, and none failed or was given up for the trouble."""
    out, err = run.communicate(timeout=240)
    assert run.returncode == 0, (out, err)
    assert "ended early" not in err
    figures = study.audit()
    expected = {"complete": TRIALS, "running": 0, "duplicates": 0, "lost": 0}
    assert {name: figures[name] for name in expected} == expected
    assert "failed" not in study.event_kinds()
    return figures


class Server:
    """Harm to a test's PostgreSQL database by an administrator."""

    def __init__(self, server: Any, url: str) -> None:
        self._server, self._name = server, resolve_url(url, {}).database

    def stop_for_a_while(self) -> None:
        with stopped_server(self._server, "fast"):
            time.sleep(TROUBLE_SECONDS)

    def cancel_statements(self) -> None:
        """Whatever runs is cancelled, over and over."""
        self._repeat("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = %s")

    def end_sessions(self) -> None:
        self._repeat("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s")

    def only_read(self) -> None:
        """As after a failover: who connects anew finds a server that only reads, for a while."""
        setting = f"ALTER DATABASE {self._name} SET default_transaction_read_only"
        self._server.execute(f"{setting} = on")
        self.end_sessions()
        self._server.execute(f"{setting} = off")

    def _repeat(self, statement: str) -> None:
        deadline = time.monotonic() + TROUBLE_SECONDS
        with psycopg.connect(self._server.url("postgres"), autocommit=True) as administrator:
            while time.monotonic() < deadline:
                administrator.execute(statement, [self._name])
                time.sleep(0.02)


@pytest.mark.parametrize(
    "harm",
    [Server.stop_for_a_while, Server.cancel_statements, Server.only_read],
    ids=lambda harm: harm.__name__,
)
def test_trouble_of_a_server_is_waited_for(
    postgresql_server: Any,
    postgresql_url: str,
    record_counts: RecordCounts,
    tmp_path: Path,
    harm: Callable[[Server], None],
) -> None:
    """While workers start, while their trainers do, and in the middle of trainings."""
    study, server = write_study(tmp_path, postgresql_url), Server(postgresql_server, postgresql_url)
    (tmp_path / "wait").touch()
    run = study.start("resume", "small", "--workers", "2", "--lease", LEASE)
    study.wait_until(run, lambda: bool(study.query_rows("select name from widthwise_worker")))
    harm(server)
    study.wait_until(run, lambda: "leased" in study.slot_states())
    harm(server)
    (tmp_path / "wait").unlink()
    record_counts(**assert_undisturbed(study, run), troubles=2)


def test_a_worker_that_starts_waits_for_its_server(
    postgresql_server: Any, postgresql_url: str, record_counts: RecordCounts, tmp_path: Path
) -> None:
    """And says so; it once waited for three seconds."""
    study = write_study(tmp_path, postgresql_url)
    with stopped_server(postgresql_server, "fast"):
        worker = study.start("worker", "small", "--lease", LEASE)
        assert worker.stderr is not None
        assert "cannot be used now" in worker.stderr.readline()
    record_counts(**assert_undisturbed(study, worker), troubles=1)


@contextmanager
def no_room(run: subprocess.Popen[str]) -> Iterator[None]:
    """Let no process of a command write to any file: the kernel refuses what is beyond a byte."""
    processes = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
    limits = [(process, process.rlimit(resource.RLIMIT_FSIZE)) for process in processes]
    for process, (_, hard) in limits:
        process.rlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        for process, limit in limits:
            process.rlimit(resource.RLIMIT_FSIZE, limit)


def test_a_disk_without_room_is_waited_for(record_counts: RecordCounts, tmp_path: Path) -> None:
    study = write_study(tmp_path)
    (tmp_path / "wait").touch()
    run = study.start("resume", "small", "--workers", "2", "--lease", LEASE)
    study.wait_until(run, lambda: study.slot_states().count("leased") == 2)
    with no_room(run):
        (tmp_path / "wait").unlink()
        time.sleep(TROUBLE_SECONDS)
        assert "done" not in study.slot_states()
    record_counts(**assert_undisturbed(study, run), troubles=1)
