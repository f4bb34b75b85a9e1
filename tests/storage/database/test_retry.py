import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy import Connection, select, text, update
from sqlalchemy.exc import (
    DatabaseError,
    OperationalError,
    PendingRollbackError,
    ProgrammingError,
)
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.database.retry import (
    call_with_retries,
    describe_error,
    is_creation_conflict,
    is_outage,
    is_transient,
    may_pass,
)
from widthwise.storage.database.tables import SCHEMA_VERSION, schema
from widthwise.storage.errors import StorageUnreachable


def sqlite3_error(code, text="database is locked"):
    original = sqlite3.OperationalError(text)
    original.sqlite_errorcode = code
    return original


def sqlite_error(code, text="database is locked"):
    return OperationalError("UPDATE", {}, sqlite3_error(code, text))


def server_error(kind, text="", wrapper=OperationalError):
    return wrapper("UPDATE", {}, kind(text))


def inside_optuna(error):
    outer = StorageInternalError("An exception is raised during the commit.")
    outer.__cause__ = error
    return outer


PASSING = [
    pytest.param(sqlite_error(5), id="SQLite busy"),
    pytest.param(sqlite_error(517), id="SQLite busy snapshot"),
    pytest.param(server_error(psycopg.errors.AdminShutdown), id="shutdown"),
    pytest.param(server_error(psycopg.errors.CannotConnectNow), id="starting up"),
    pytest.param(server_error(psycopg.errors.DeadlockDetected), id="deadlock"),
    pytest.param(server_error(psycopg.errors.SerializationFailure), id="serialization"),
    pytest.param(server_error(psycopg.errors.LockNotAvailable), id="lock timeout"),
    pytest.param(server_error(psycopg.errors.TooManyConnections), id="connections"),
    pytest.param(
        server_error(psycopg.errors.IdleInTransactionSessionTimeout), id="idle in transaction"
    ),
    pytest.param(sqlite3_error(5), id="SQLite busy while a connection is set up"),
    pytest.param(server_error(psycopg.OperationalError, "server closed it"), id="closed"),
    pytest.param(server_error(psycopg.InterfaceError, "connection is closed"), id="interface"),
    pytest.param(PendingRollbackError("lost"), id="pending rollback"),
    pytest.param(inside_optuna(sqlite_error(5)), id="inside Optuna"),
]
LASTING = [
    pytest.param(sqlite_error(8, "attempt to write a readonly database"), id="read-only"),
    pytest.param(sqlite_error(13, "database or disk is full"), id="full"),
    pytest.param(sqlite_error(266, "disk I/O error"), id="I/O"),
    pytest.param(sqlite_error(14, "unable to open database file"), id="no descriptor"),
    pytest.param(sqlite3_error(13, "database or disk is full"), id="full at a connection's setup"),
    pytest.param(server_error(psycopg.errors.ReadOnlySqlTransaction), id="read-only server"),
    pytest.param(server_error(psycopg.errors.IoError), id="the server's disk"),
    pytest.param(
        server_error(psycopg.OperationalError, "password authentication failed"), id="password"
    ),
]
OURS = [
    pytest.param(server_error(psycopg.errors.UndefinedTable, wrapper=ProgrammingError), id="SQL"),
    pytest.param(KeyError("x"), id="any other"),
]


@pytest.mark.parametrize("error", PASSING)
def test_a_transient_error_is_retried(error):
    assert is_transient(error)
    assert is_outage(error)


@pytest.mark.parametrize("error", LASTING)
def test_a_lasting_error_is_an_outage(error):
    assert not is_transient(error)
    assert may_pass(error), "a worker waits for whoever mends it"
    assert is_outage(error)


@pytest.mark.parametrize("error", OURS)
def test_our_own_mistakes_are_neither(error):
    assert not is_transient(error)
    assert not may_pass(error)
    assert not is_outage(error)
    assert not is_creation_conflict(error)


def test_retries_end_with_the_first_success():
    answers = iter([sqlite_error(5), sqlite_error(5), "done"])

    def call():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert call_with_retries(call, seconds=10) == "done"


def test_retries_end_at_their_bound():
    calls = []

    def call():
        calls.append(1)
        raise sqlite_error(5)

    with pytest.raises(OperationalError):
        call_with_retries(call, seconds=0.5)
    assert 2 <= len(calls) <= 10


def test_a_lasting_error_is_not_retried():
    calls = []

    def call():
        calls.append(1)
        raise sqlite_error(13, "database or disk is full")

    with pytest.raises(OperationalError):
        call_with_retries(call, seconds=10)
    assert calls == [1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('connection failed: FATAL:  role "x" is away.', 'role "x" is away', id="one"),
        pytest.param("refused\n\tIs the server running?", "refused", id="first line"),
        pytest.param(
            "Multiple connection attempts failed. All failures were:\n- a: no\n- b: refused",
            "b: refused",
            id="many addresses",
        ),
        pytest.param("", "no reason given", id="empty"),
    ],
)
def test_a_reason_is_one_line(text, expected):
    assert describe_error(server_error(psycopg.OperationalError, text)) == expected
    assert describe_error(inside_optuna(server_error(psycopg.OperationalError, text))) == expected


def test_a_damaged_file_does_not_mend_itself():
    original = sqlite3.DatabaseError("database disk image is malformed")
    original.sqlite_errorcode = 11
    error = DatabaseError("SELECT", {}, original)
    assert is_outage(error)
    assert not may_pass(error)


def test_who_waits_is_told_why_once():
    reasons = []

    def call():
        if not reasons:
            raise sqlite_error(5)
        return "done"

    waited = []
    assert (
        call_with_retries(call, seconds=60, on_wait=reasons.append, sleep=waited.append) == "done"
    )
    assert 2 < sum(waited) < 20
    assert [describe_error(error) for error in reasons] == ["database is locked"]


# The same by a real server, and a real file: what fails once must succeed the second time.


@dataclass
class FailsOnce:
    """A transaction whose first attempt meets trouble after its write.

    Attributes:
        trouble: Called with the connection of the first attempt.
    """

    trouble: Callable[[Connection], object]
    attempts: int = 0

    def __call__(self, connection):
        self.attempts += 1
        connection.execute(update(schema).values(version=schema.c.version + 1))
        if self.attempts == 1:
            self.trouble(connection)
        return connection.scalar(select(schema.c.version))


def raise_state(state):
    def trouble(connection):
        connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$")

    return trouble


def cancel_statement(connection):
    """As an administrator does."""
    pid = connection.scalar(text("SELECT pg_backend_pid()"))
    with psycopg.connect(psycopg_url(connection), autocommit=True) as administrator:
        administrator.execute(
            "CREATE FUNCTION cancel_soon() RETURNS void LANGUAGE sql AS "
            f"'SELECT pg_cancel_backend({pid})'"
        )
    connection.execute(text("SELECT cancel_soon(), pg_sleep(60)"))


def exceed_statement_timeout(connection):
    connection.execute(text("SET LOCAL statement_timeout = 20"))
    connection.execute(text("SELECT pg_sleep(60)"))


def exceed_lock_timeout(connection):
    with psycopg.connect(psycopg_url(connection)) as other:
        other.execute("CREATE TABLE locked (id INTEGER)")
        connection.execute(text("SET LOCAL lock_timeout = 20"))
        connection.execute(text("SELECT pg_advisory_xact_lock(7)"))
        other.commit()
        other.execute("LOCK TABLE locked")
        connection.execute(text("SELECT * FROM locked"))


def idle_too_long(connection):
    """The server ends the session, by its own clock."""
    pid = connection.scalar(text("SELECT pg_backend_pid()"))
    connection.execute(text("SET idle_in_transaction_session_timeout = 20"))
    with psycopg.connect(psycopg_url(connection), autocommit=True) as other:
        deadline = time.monotonic() + 30
        query = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
        while other.execute(query, [pid]).fetchone() != (0,):
            assert time.monotonic() < deadline, "the session never ended"
            time.sleep(0.01)


def psycopg_url(connection):
    return connection.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.mark.parametrize(
    "trouble",
    [
        cancel_statement,
        exceed_statement_timeout,
        exceed_lock_timeout,
        idle_too_long,
        *(
            pytest.param(raise_state(state), id=state)
            for state in ("08006", "40001", "40P01", "53100", "53300", "55P03", "57P02", "25P04")
        ),
    ],
)
def test_a_statement_that_the_server_refuses_for_now_is_repeated(postgresql_url, trouble):
    work = FailsOnce(trouble)
    with Database.open(resolve_url(postgresql_url), retry_seconds=20) as database:
        assert database.write(work) == SCHEMA_VERSION + 1
    assert work.attempts == 2


def test_a_worker_waits_for_a_server_that_only_reads_and_a_person_is_told(postgresql_url):
    url = resolve_url(postgresql_url)
    # Sessions that are there keep reading only: the worker must ask for another one.
    switch = f"ALTER DATABASE {url.database} SET default_transaction_read_only"
    with (
        Database.open(url, retry_seconds=20) as impatient,
        Database.open(url, retry_seconds=60, patient=True) as worker,
        psycopg.connect(postgresql_url, autocommit=True) as administrator,
    ):
        administrator.execute(f"{switch} = on")
        for database in (impatient, worker):
            database.engine.dispose()
        with pytest.raises(StorageUnreachable, match="read-only transaction"):
            impatient.write(FailsOnce(lambda _: None))
        attempts = []

        def work(connection):
            attempts.append(1)
            if len(attempts) == 2:
                administrator.execute("SET default_transaction_read_only = off")
                administrator.execute(f"{switch} = off")
            connection.execute(update(schema).values(version=schema.c.version + 1))
            return connection.scalar(select(schema.c.version))

        assert worker.write(work) == SCHEMA_VERSION + 1
        assert len(attempts) >= 3


def fill(connection):
    """Let the file grow no more, and write more than it has room for."""
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    try:
        connection.exec_driver_sql("CREATE TABLE ballast AS SELECT zeroblob(1000000) AS content")
    finally:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")


def only_read(connection):
    connection.exec_driver_sql("PRAGMA query_only = ON")
    try:
        connection.execute(update(schema).values(version=7))
    finally:
        connection.exec_driver_sql("PRAGMA query_only = OFF")


@pytest.mark.parametrize(
    ("trouble", "words"),
    [(fill, "database or disk is full"), (only_read, "attempt to write a readonly database")],
)
def test_a_worker_waits_for_a_disk_that_is_full_or_read_only(tmp_path, trouble, words):
    url = resolve_url(f"sqlite:///{tmp_path / 'w.db'}")
    work = FailsOnce(trouble)
    with Database.open(url, retry_seconds=20) as impatient:
        with pytest.raises(StorageUnreachable, match=words):
            impatient.write(FailsOnce(trouble))
        impatient.patient = True
        assert impatient.write(work) == SCHEMA_VERSION + 1
    assert work.attempts == 2
