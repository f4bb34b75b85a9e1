"""Which failures of a database are transient, and how they are retried.

`call_with_retries` calls until it succeeds, the error is not transient, or the time is up.
`is_transient` tells a locked SQLite file, a cancelled statement, a lost connection or a restarting
server from a refused password or a full disk. `may_pass` is what a worker waits for: also what
somebody else has to mend meanwhile, a full or read-only disk, a failover, a changed password.
`is_outage` tells the database's faults from ours; `is_read_only` a server that only reads now;
`describe_error` gives a database's error in one line.
"""

import random
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError, IntegrityError, PendingRollbackError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

T = TypeVar("T")

INITIAL_BACKOFF = 0.05
MAX_BACKOFF = 3.0
"""Seconds; the pause doubles from the initial one to the maximum."""

# After some five seconds: what is shorter is nobody's business.
_NOTICED_ATTEMPT = 7

# Jitter from the system: workers that share a seed must not retry in step, nor must a retry move a
# seeded generator.
_jitter = random.SystemRandom()

# https://www.sqlite.org/rescode.html: BUSY, LOCKED, INTERRUPT, PROTOCOL (WAL's lock race), SCHEMA.
_TRANSIENT_SQLITE_CODES = {5, 6, 9, 15, 17}
# NOMEM, READONLY, IOERR, FULL, CANTOPEN: somebody makes room, or mounts the disk again.
_PASSING_SQLITE_CODES = {7, 8, 10, 13, 14}
# https://www.postgresql.org/docs/current/errcodes-appendix.html: connection exception, transaction
# rollback (serialization, deadlock), insufficient resources, operator intervention (statement
# timeout or cancel, shutdown, starting up), lock not available, and a session that the server ended
# since it was idle in its transaction, or since that took too long.
_TRANSIENT_SQLSTATES = ("08", "40", "53", "57", "55P03", "25P03", "25P04")
# The server only reads, as after a failover; no privilege; refused; a catalog name (a database that
# is being restored); an error of its system (a disk).
_READ_ONLY_SQLSTATE = "25006"
_PASSING_SQLSTATES = (_READ_ONLY_SQLSTATE, "42501", "28", "3D", "58")
# For a connection that was never made psycopg has no SQLSTATE, only the server's message.
_PERMANENT_MESSAGES = (
    "authentication failed",
    "no password supplied",
    "does not exist",
    "no pg_hba.conf entry",
    "permission denied",
    "failed to resolve host",
    "not permitted to log in",
    "invalid ",
)
_DUPLICATE_OBJECT_SQLSTATES = ("42P07", "42710")


def call_with_retries(
    call: Callable[[], T],
    *,
    seconds: float,
    is_retryable: "Callable[[BaseException], bool] | None" = None,
    on_wait: "Callable[[BaseException], None] | None" = None,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call until it succeeds.

    Args:
        call: Must be safe to repeat.
        seconds: No new attempt starts later than this.
        is_retryable: Whether an error is worth another attempt; `is_transient` by default.
        on_wait: Called once with the error, where several attempts have failed.
        sleep: Waits for so many seconds.

    Returns:
        What the call returns.

    Raises:
        Exception: The last error, once it is not retryable or the time is up.
    """
    is_retryable = is_retryable or is_transient
    deadline = time.monotonic() + seconds
    attempt = 0
    while True:
        try:
            return call()
        except Exception as error:
            delay = min(INITIAL_BACKOFF * 2 ** min(attempt, 10), MAX_BACKOFF) * _jitter.uniform(
                0.5, 1.0
            )
            if not is_retryable(error) or time.monotonic() + delay > deadline:
                raise
            if attempt == _NOTICED_ATTEMPT and on_wait is not None:
                on_wait(error)
        sleep(delay)
        attempt += 1


def is_transient(error: BaseException | None) -> bool:
    """Return whether the same call may succeed a little later."""
    match error:
        case StorageInternalError():  # Optuna's wrapping of whatever SQLAlchemy raised
            return is_transient(error.__cause__)
        case PendingRollbackError() | PoolTimeout():
            return True
        case DBAPIError(connection_invalidated=True):
            return True
        case _:
            return _is_transient_driver_error(_driver_error(error))


def may_pass(error: BaseException | None) -> bool:
    """Return whether the same call may succeed within minutes, somebody else doing what it takes.

    For those who have worked with this database before: a mistyped password never passes.
    """
    if isinstance(error, StorageInternalError):
        return may_pass(error.__cause__)
    if is_transient(error):
        return True
    match _driver_error(error):
        case sqlite3.Error() as original:
            return _sqlite_code(original) in _PASSING_SQLITE_CODES
        case psycopg.Error(sqlstate=str() as state):
            return state.startswith(_PASSING_SQLSTATES)
        case psycopg.OperationalError():  # no connection was made, whatever the reason
            return True
        case _:
            return False


def is_read_only(error: BaseException | None) -> bool:
    """Return whether the server that we are connected to only reads: another one may write."""
    if isinstance(error, StorageInternalError):
        return is_read_only(error.__cause__)
    return getattr(_driver_error(error), "sqlstate", None) == _READ_ONLY_SQLSTATE


def is_creation_conflict(error: BaseException | None) -> bool:
    """Return whether another process made the same table, type or row at the same moment."""
    if not isinstance(error, DBAPIError):
        return False
    if isinstance(error, IntegrityError):
        return True
    state = getattr(error.orig, "sqlstate", None)
    return state in _DUPLICATE_OBJECT_SQLSTATES or "already exists" in str(error.orig)


def is_outage(error: BaseException | None) -> bool:
    """Return whether the database is at fault (away, full, read-only, closed), not our SQL."""
    if isinstance(error, StorageInternalError):
        return is_outage(error.__cause__)
    if is_transient(error):
        return True
    original = _driver_error(error)
    match original:
        case sqlite3.OperationalError() | psycopg.OperationalError():
            return True
        case sqlite3.DatabaseError():  # "file is not a database" is of this very class
            return type(original) is sqlite3.DatabaseError
        case psycopg.Error():  # no privilege; a standby that only reads
            return may_pass(error)
        case _:
            return False


def describe_error(error: BaseException) -> str:
    """Return the database's error message in one line."""
    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        return describe_error(error.__cause__)
    original: object = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(error, SQLAlchemyError) and not isinstance(error, DBAPIError):
        return "the connection was lost"
    lines = [line.strip("- \t") for line in str(original).splitlines() if line.strip()] or [
        "no reason given"
    ]
    # psycopg lists one line for each address that it tried; any of them will do.
    line = lines[-1] if lines[0].startswith("Multiple connection attempts") else lines[0]
    for prefix in ("connection failed: ", "FATAL:  ", "FATAL: "):
        line = line.replace(prefix, "")
    return line.rstrip(".")


def _driver_error(error: BaseException | None) -> BaseException | None:
    """Return the driver's error: wrapped by SQLAlchemy or, from a new connection's setup, bare."""
    if isinstance(error, DBAPIError):
        return error.orig
    return error if isinstance(error, sqlite3.Error | psycopg.Error) else None


def _sqlite_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code, 0 where there is none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_transient_driver_error(error: BaseException | None) -> bool:
    match error:
        case sqlite3.OperationalError():
            return _sqlite_code(error) in _TRANSIENT_SQLITE_CODES
        case psycopg.Error(sqlstate=str() as state):
            return state.startswith(_TRANSIENT_SQLSTATES)
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return not any(message in str(error).lower() for message in _PERMANENT_MESSAGES)
        case _:
            return False
