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
from .outages import outage

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
def guarded(postgresql_server):
    """A server with a role that has to give its password."""
    postgresql_server.require_password("leaky", PASSWORD)
    return postgresql_server


@pytest.fixture
def study(guarded, postgresql_url, tmp_path):
    """A study whose processes get the password from a file."""
    found = CommandStudy(tmp_path, "small", postgresql_url)
    guarded.execute("GRANT ALL ON SCHEMA public TO leaky", database_of(postgresql_url))
    (tmp_path / "secret").write_text(PASSWORD + "\n")
    found.environment |= {
        "WIDTHWISE_STORAGE": postgresql_url.replace("postgres@", "leaky@"),
        "WIDTHWISE_STORAGE_PASSWORD_FILE": str(tmp_path / "secret"),
        "WIDTHWISE_DEBUG": "1",
    }
    return found


def database_of(url: str) -> str:
    return str(resolve_url(url, {}).database)


@contextmanager
def watched(begin: threading.Event) -> Iterator[list[str]]:
    """Look at every process's command line and environment; gives those that show the password."""
    ended, shown = threading.Event(), []

    def look() -> None:
        begin.wait()
        while not ended.wait(0.05):
            for process in psutil.Process().children(recursive=True):
                try:
                    seen = [*process.cmdline(), *process.environ().values()]
                except (psutil.Error, OSError):
                    continue
                shown.extend(text for text in seen if SECRET in text)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    yield shown
    begin.set()
    ended.set()
    thread.join()


def test_a_run_with_an_outage_and_a_death_does_not_show_it(study, guarded, counts):
    spec = small.write(study.folder, trials=4)
    (study.folder / "wait").touch()
    now = threading.Event()
    now.set()
    with watched(now) as shown:
        run = study.start("--debug", "run", spec, "--workers", "2", "--lease", "4")
        study.wait(run, lambda: study.events().count("bound") >= 2)
        with outage(guarded, "immediate"):
            time.sleep(2)
        psutil.Process(run.pid).children()[0].kill()
        (study.folder / "wait").unlink()
        out, err = run.communicate(timeout=200)
        assert run.returncode == 0, err
    assert not shown
    written = [out, err]
    for verb in (["status", "small"], ["report", "small"], ["best", "small"]):
        written += map(str, study.end(*verb))
    assert SECRET not in "".join(written)
    assert_not_stored(study)
    found = study.audit()
    assert (found["complete"], found["running"], found["duplicates"]) == (4, 0, 0)
    counts(**found)


def test_one_that_was_typed_is_taken_off_the_command_line(study, guarded, counts):
    study.submit(small.write(study.folder, trials=2))
    for kind in ("TABLES", "SEQUENCES"):
        guarded.execute(
            f"GRANT ALL ON ALL {kind} IN SCHEMA public TO leaky", database_of(study.url)
        )
    (study.folder / "wait").touch()
    url = study.environment["WIDTHWISE_STORAGE"].replace(
        "leaky@", f"leaky:{quote(PASSWORD, safe='')}@"
    )
    for name in ("WIDTHWISE_STORAGE", "WIDTHWISE_STORAGE_PASSWORD_FILE"):
        del study.environment[name]
    begin = threading.Event()
    with watched(begin) as shown:
        worker = study.start("worker", "small", "--storage", url)
        study.wait(worker, lambda: "bound" in study.events())
        begin.set()
        time.sleep(0.5)
        (study.folder / "wait").unlink()
        out, err = worker.communicate(timeout=100)
    assert worker.returncode == 0, err
    assert not shown
    assert SECRET not in out + err
    assert_not_stored(study)
    counts(**study.audit())


def test_a_wrong_one_is_refused_without_being_shown(study):
    (study.folder / "secret").write_text(WRONG)
    code, out, err = study.end("status", "small")
    assert code == 69
    assert "authentication failed" in err
    assert SECRET not in out + err


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
