import sqlite3

import psycopg
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError, PendingRollbackError, ProgrammingError
from widthwise.storage.database.retry import (
    call_with_retries,
    describe_error,
    is_creation_conflict,
    is_outage,
    is_transient,
)


def sqlite_error(code, text="database is locked"):
    original = sqlite3.OperationalError(text)
    original.sqlite_errorcode = code
    return OperationalError("UPDATE", {}, original)


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
    pytest.param(server_error(psycopg.OperationalError, "server closed it"), id="closed"),
    pytest.param(server_error(psycopg.InterfaceError, "connection is closed"), id="interface"),
    pytest.param(PendingRollbackError("lost"), id="pending rollback"),
    pytest.param(inside_optuna(sqlite_error(5)), id="inside Optuna"),
]
LASTING = [
    pytest.param(sqlite_error(8, "attempt to write a readonly database"), id="read-only"),
    pytest.param(sqlite_error(13, "database or disk is full"), id="full"),
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
    assert is_outage(error)


@pytest.mark.parametrize("error", OURS)
def test_our_own_mistakes_are_neither(error):
    assert not is_transient(error)
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
