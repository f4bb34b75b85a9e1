"""Which failures of a database are transient, and how they are retried.

`call_with_retries` calls until it succeeds, the error is not transient, or the time is up.
`is_transient` tells a locked SQLite file, a lost connection or a restarting server from a refused
password or a full disk; `is_outage` the database's faults from ours; `describe_error` gives a
database's error in one line.
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

# Jitter from the system: workers that share a seed must not retry in step, nor must a retry move a
# seeded generator.
_jitter = random.SystemRandom()

# https://www.sqlite.org/rescode.html: BUSY, LOCKED, PROTOCOL (WAL's lock race), SCHEMA.
_TRANSIENT_SQLITE_CODES = {5, 6, 15, 17}
# https://www.postgresql.org/docs/current/errcodes-appendix.html: connection exception, transaction
# rollback (serialization, deadlock), insufficient resources, operator intervention (shutdown,
# starting up), lock not available.
_TRANSIENT_SQLSTATES = ("08", "40", "53", "57P", "55P03")
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
) -> T:
    """Call until it succeeds.

    Args:
        call: Must be safe to repeat.
        seconds: No new attempt starts later than this.
        is_retryable: Whether an error is worth another attempt; `is_transient` by default.

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
        time.sleep(delay)
        attempt += 1


def is_transient(error: BaseException | None) -> bool:
    """Return whether the same call may succeed a little later."""
    match error:
        case StorageInternalError():  # Optuna's wrapping of whatever SQLAlchemy raised
            return is_transient(error.__cause__)
        case PendingRollbackError() | PoolTimeout():
            return True
        case DBAPIError():
            return error.connection_invalidated or _is_transient_driver_error(error.orig)
        case _:
            return False


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
    original = error.orig if isinstance(error, DBAPIError) else None
    match original:
        case sqlite3.OperationalError() | psycopg.OperationalError():
            return True
        case sqlite3.DatabaseError():  # "file is not a database" is of this very class
            return type(original) is sqlite3.DatabaseError
        case psycopg.Error():  # no privilege; a standby that only reads
            return original.sqlstate in ("42501", "25006")
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


def _is_transient_driver_error(error: BaseException | None) -> bool:
    match error:
        case sqlite3.OperationalError():
            return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _TRANSIENT_SQLITE_CODES
        case psycopg.Error(sqlstate=str() as state):
            return state.startswith(_TRANSIENT_SQLSTATES)
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return not any(message in str(error) for message in _PERMANENT_MESSAGES)
        case _:
            return False
