"""A password is in no process list, log, event, error or file, whatever happens to a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from sqlalchemy import MetaData
from widthwise.storage.database.database import resolve_url

from . import small
from .command import CommandStudy
from .outages import stopped_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.promise("no pickle, no leak"),
]

SECRET = "Xylophon77"
"""A part of the password that no encoding changes."""
PASSWORD = f"{SECRET}{{er}}2%s/@:"
WRONG = f"wrong{PASSWORD}"


@pytest.fixture(scope="session")
def password_server(postgresql_server):
    """A server with a role that has to give its password."""
    postgresql_server.require_password("leaky", PASSWORD)
    return postgresql_server


@pytest.fixture
def study(password_server, postgresql_url, tmp_path):
    """A study whose processes get the password from a file."""
    command_study = CommandStudy(tmp_path, "small", postgresql_url)
    password_server.execute("GRANT ALL ON SCHEMA public TO leaky", database_of(postgresql_url))
    (tmp_path / "secret").write_text(PASSWORD + "\n")
    command_study.environment |= {
        "WIDTHWISE_STORAGE": postgresql_url.replace("postgres@", "leaky@"),
        "WIDTHWISE_STORAGE_PASSWORD_FILE": str(tmp_path / "secret"),
        "WIDTHWISE_DEBUG": "1",
    }
    return command_study


def database_of(url: str) -> str:
    return str(resolve_url(url, {}).database)


@contextmanager
def watch_command_lines(begin: threading.Event) -> Iterator[list[str]]:
    """Look at every process's command line and environment; gives those that show the password."""
    stop_scanning, leaks = threading.Event(), []

    def scan_processes() -> None:
        begin.wait()
        while not stop_scanning.wait(0.05):
            for process in psutil.Process().children(recursive=True):
                try:
                    process_texts = [*process.cmdline(), *process.environ().values()]
                except (psutil.Error, OSError):
                    continue
                leaks.extend(text for text in process_texts if SECRET in text)

    thread = threading.Thread(target=scan_processes, daemon=True)
    thread.start()
    yield leaks
    begin.set()
    stop_scanning.set()
    thread.join()


def test_a_run_with_an_outage_and_a_death_does_not_show_it(study, password_server, record_counts):
    spec = small.write_small_study(study.folder, trials=4)
    (study.folder / "wait").touch()
    now = threading.Event()
    now.set()
    with watch_command_lines(now) as leaks:
        run = study.start("--debug", "run", spec, "--workers", "2", "--lease", "4")
        study.wait_until(run, lambda: study.event_kinds().count("bound") >= 2)
        with stopped_server(password_server, "immediate"):
            time.sleep(2)
        psutil.Process(run.pid).children()[0].kill()
        (study.folder / "wait").unlink()
        out, err = run.communicate(timeout=200)
        assert run.returncode == 0, err
    assert not leaks
    written = [out, err]
    for verb in (["status", "small"], ["report", "small"], ["best", "small"]):
        result = study.run_in_process(*verb)
        assert result.code == 0, result.err
        written += [result.out, result.err]
    assert SECRET not in "".join(written)
    assert_not_stored(study)
    figures = study.audit()
    assert (figures["complete"], figures["running"], figures["duplicates"]) == (4, 0, 0)
    record_counts(**figures)


def test_one_that_was_typed_is_taken_off_the_command_line(study, password_server, record_counts):
    study.submit(small.write_small_study(study.folder, trials=2))
    for kind in ("TABLES", "SEQUENCES"):
        password_server.execute(
            f"GRANT ALL ON ALL {kind} IN SCHEMA public TO leaky", database_of(study.url)
        )
    (study.folder / "wait").touch()
    url = study.environment["WIDTHWISE_STORAGE"].replace(
        "leaky@", f"leaky:{quote(PASSWORD, safe='')}@"
    )
    url += f"&sslpassword={SECRET}&options={quote(f'-c our.secret={SECRET}')}"
    for name in ("WIDTHWISE_STORAGE", "WIDTHWISE_STORAGE_PASSWORD_FILE"):
        del study.environment[name]
    begin = threading.Event()
    with watch_command_lines(begin) as leaks:
        worker = study.start("worker", "small", "--storage", url)
        study.wait_until(worker, lambda: "bound" in study.event_kinds())
        begin.set()
        time.sleep(0.5)
        (study.folder / "wait").unlink()
        out, err = worker.communicate(timeout=100)
    assert worker.returncode == 0, err
    assert not leaks
    assert SECRET not in out + err
    assert_not_stored(study)
    record_counts(**study.audit())


def test_a_wrong_one_is_refused_without_being_shown(study):
    (study.folder / "secret").write_text(WRONG)
    refused = study.run_command("status", "small")
    assert refused.code == 69
    assert "authentication failed" in refused.err
    assert SECRET not in refused.out + refused.err


def assert_not_stored(study: CommandStudy) -> None:
    """Neither in a table, ours or Optuna's, nor in a file but the one it was given in."""
    with study.database() as database:
        tables = MetaData()
        tables.reflect(database.engine)
        for table in tables.tables.values():
            rows = database.read(lambda one, table=table: one.execute(table.select()).all())
            assert SECRET not in repr(rows), table.name
    for file in Path(study.folder).rglob("*"):
        if file.is_file() and file.name != "secret":
            assert SECRET.encode() not in file.read_bytes(), file
