"""The database: transactions that outlast locks and restarts, and Optuna's storage beside ours.

`resolve_url` gives the URL, `Database.open` connects and makes our tables, `write` and `read` run
one transaction each.

    database = Database.open(resolve_url())
    database.write(lambda connection: connection.execute(…))

SQLite runs in WAL mode with `BEGIN IMMEDIATE` for every write, so that a transaction never fails
half-way for a lock that it did not ask for at the start. Transient errors (see `retry`) are retried
up to `retry_seconds`; a worker is patient and waits as long for a full disk, too. A `Database` may
be used by several threads; a forked or spawned process opens its own.
"""

import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, final

import psycopg
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import URL, Connection, Engine, insert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..errors import NoStudies, StorageGone, StorageUnreachable, UrlRefused
from . import optuna_storage, retry, schema_version
from .dialect import advisory_lock, is_postgresql
from .engine import BEGIN_OPTION, DURABLE_OPTION, connect_args, make_engine
from .filesystem import FileIdentity, network_mount
from .tables import SCHEMA_VERSION, metadata, schema
from .url import DEFAULT_URL, format_url, redact, resolve_url

__all__ = ["DEFAULT_URL", "Database", "format_url", "resolve_url"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

OPEN_SECONDS = 3.0
"""How long `open` retries transient errors, such as a server that is starting up."""

RETRY_SECONDS = 120.0
"""How long a transaction is retried: longer than a PostgreSQL restart."""

_DATABASE_ERRORS = (SQLAlchemyError, StorageInternalError, sqlite3.Error, psycopg.Error)

TABLES_LOCK_KEY = 0x77696474687769
"""Of the advisory lock under which our tables are made or changed: "widthwi" in ASCII."""


@final
class Database:
    """A database that holds studies.

    Attributes:
        url: Where it is, the password included; `format_url` is the text without it.
        engine: SQLAlchemy's engine on it.
        patient: Whether to wait also for what somebody else has to mend, as a worker does: a full
            or read-only disk, a failover, a changed password (see `retry.may_pass`).
    """

    url: URL
    engine: Engine
    patient: bool

    def __init__(self, url: URL, *, wal: bool, retry_seconds: float, patient: bool = False) -> None:
        self.url = url
        # A user's code may change the folder that a relative path starts from.
        self._absolute_url = _absolute(url)
        self.patient = patient
        self.engine = make_engine(self._absolute_url, wal=wal)
        self._file: FileIdentity | None = None
        self._write_engine = self.engine.execution_options(**{BEGIN_OPTION: "BEGIN IMMEDIATE"})
        self._nondurable_write_engine = self._write_engine.execution_options(
            **{DURABLE_OPTION: False}
        )
        self._retry_seconds = retry_seconds
        self._pid = os.getpid()
        self._optuna_storage: RDBStorage | None = None
        self._optuna_storage_lock = threading.Lock()

    @classmethod
    def open(
        cls,
        url: URL,
        *,
        create: bool = True,
        retry_seconds: float = RETRY_SECONDS,
        open_seconds: float | None = None,
        patient: bool = False,
    ) -> "Database":
        """Connect to a database that has our tables, or gets them.

        Args:
            url: As `resolve_url` gives it.
            create: Make the database file and our tables where they are missing; any number of
                processes may do so at the same moment. False for those who only read.
            retry_seconds: How long each later transaction is retried.
            open_seconds: How long this is retried; `OPEN_SECONDS` by default.
            patient: Whether to wait also for what somebody else has to mend.

        Raises:
            StorageUnreachable: If there is no such database, or it refuses us; `NoStudies` where
                there is nothing yet to read.
            UrlRefused: If it is a SQLite file on a network file system.
            SchemaMismatch: If the tables were made by another release.
        """
        _check_file(url, create=create)
        database = cls(url, wal=create, retry_seconds=retry_seconds, patient=patient)
        seconds = OPEN_SECONDS if open_seconds is None else open_seconds
        try:
            database._retry(lambda: database._prepare(create=create), seconds=seconds)
            database._file = _file_identity(database._absolute_url)
        except (DBAPIError, sqlite3.Error, psycopg.Error) as error:
            database.close()
            raise _unreachable(url, retry.describe_error(error)) from error
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def open_unchecked(cls, url: URL, *, retry_seconds: float) -> "Database":
        """Connect whatever version our tables have, to upgrade them.

        Raises:
            StorageUnreachable: If it is a SQLite file that is not there.
        """
        _check_file(url, create=False)
        return cls(url, wal=False, retry_seconds=retry_seconds)

    def write(
        self,
        work: Callable[[Connection], T],
        *,
        durable: bool = True,
        seconds: float | None = None,
    ) -> T:
        """Run `work` in one transaction that may write, and commit it.

        Args:
            work: Must be safe to repeat: after a lost connection nobody knows whether the commit
                arrived.
            durable: Wait until it is on the disk. Otherwise a power cut or a crash of the server
                may undo it, the newest transactions first and never one before a durable one; the
                end of a process undoes nothing.
            seconds: How long it is retried, instead of `retry_seconds`.

        Returns:
            What `work` returns.

        Raises:
            StorageUnreachable: If the database is not back within the time, or refuses us.
        """

        def transaction() -> T:
            engine = self._write_engine if durable else self._nondurable_write_engine
            with engine.begin() as connection:
                return work(connection)

        retry_seconds = self._retry_seconds if seconds is None else seconds
        return self._retry(transaction, seconds=retry_seconds)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction that only reads; otherwise as `write`."""

        def transaction() -> T:
            with self.engine.begin() as connection:
                return work(connection)

        return self.retry(transaction)

    def retry(self, call: Callable[[], T]) -> T:
        """Run any call on this database, such as one of Optuna's, with the retries of `write`."""
        return self._retry(call, seconds=self._retry_seconds)

    def optuna_storage(self) -> RDBStorage:
        """Return Optuna's storage on this database, made once; its URL holds no password."""
        with self._optuna_storage_lock:
            if self._optuna_storage is None:
                self._optuna_storage = self.retry(
                    lambda: optuna_storage.open_storage(self._absolute_url, connect_args(self.url))
                )
            return self._optuna_storage

    def close(self) -> None:
        """Close every connection."""
        if self._optuna_storage is not None:
            self._optuna_storage.remove_session()
        self._dispose_connections()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Database({format_url(self.url)!r})"

    def _retry(self, call: Callable[[], T], *, seconds: float) -> T:
        if os.getpid() != self._pid:
            # Two processes on one connection would tear a transaction, or the file.
            raise RuntimeError(f"{self!r} was opened by another process: open one here")
        try:
            with optuna_storage.silence_optuna():
                return retry.call_with_retries(
                    lambda: self._attempt(call),
                    seconds=seconds,
                    is_retryable=retry.may_pass if self.patient else retry.is_transient,
                    on_wait=self._warn_waiting,
                )
        except _DATABASE_ERRORS as error:
            if not retry.is_outage(error):
                raise
            raise _unreachable(self.url, retry.describe_error(error)) from error

    def _attempt(self, call: Callable[[], T]) -> T:
        """Call once, on the very file that was opened."""
        self._check_same_file()
        try:
            result = call()
        except _DATABASE_ERRORS as error:
            if retry.is_read_only(error):
                self._dispose_connections()  # the next attempt may reach the server that writes now
            raise
        self._check_same_file()  # what was written to a file without a name is lost
        return result

    def _check_same_file(self) -> None:
        if self._file is not None and (change := self._file.change()) is not None:
            raise StorageGone(
                f"The storage {format_url(self.url)} {change} while it was in use, and what is "
                "written to it now is lost; put the file back where it was, or begin anew, and "
                "start the workers again."
            )

    def _dispose_connections(self) -> None:
        self.engine.dispose()
        if self._optuna_storage is not None:
            self._optuna_storage.engine.dispose()

    def _warn_waiting(self, error: BaseException) -> None:
        _log.warning(
            "the storage %s cannot be used now (%s): trying again",
            format_url(self.url),
            redact(retry.describe_error(error), self.url),
        )

    def _prepare(self, *, create: bool) -> None:
        with self.engine.begin() as connection:
            exist = self._tables_exist(connection)
        if exist:
            return
        if not create:
            raise _unreachable(self.url, "it holds no study of Widthwise", NoStudies)
        with self._write_engine.begin() as connection:
            lock_tables(connection)
            if not self._tables_exist(connection):
                metadata.create_all(connection)
                connection.execute(insert(schema).values(id=1, version=SCHEMA_VERSION))

    def _tables_exist(self, connection: Connection) -> bool:
        """Return whether our tables exist; SchemaMismatch if they are of another release."""
        exist = schema_version.tables_exist(connection)
        if exist:
            schema_version.check(connection, self.url)
        return exist


def lock_tables(connection: Connection) -> None:
    """Keep others from making or changing our tables until the transaction ends."""
    advisory_lock(connection, TABLES_LOCK_KEY)


def _absolute(url: URL) -> URL:
    """Return the URL with the path of a SQLite file made absolute."""
    if is_postgresql(url) or not url.database or url.database.startswith("file:"):
        return url
    return url.set(database=str(Path(url.database).absolute()))


def _file_identity(url: URL) -> FileIdentity | None:
    """Return which file a URL leads to; None for a server, or a file with options in its name."""
    if is_postgresql(url) or not url.database or url.database.startswith("file:"):
        return None
    return FileIdentity.of(Path(url.database))


def _unreachable(
    url: URL, cause: str, kind: type[StorageUnreachable] = StorageUnreachable
) -> StorageUnreachable:
    return kind(
        f"The storage {format_url(url)} cannot be used ({redact(cause, url)}); check --storage or "
        "WIDTHWISE_STORAGE, and that the database is there, running and open to you."
    )


def _check_file(url: URL, *, create: bool) -> None:
    """Refuse a SQLite file that does not exist or cannot, before an empty one is made."""
    if is_postgresql(url):
        return
    path = Path((url.database or "").removeprefix("file:"))
    if (mount := network_mount(path)) is not None:
        raise UrlRefused(
            f"The storage {format_url(url)} lies on a network file system ({mount.kind} at "
            f"'{mount.point}'), where SQLite cannot keep workers apart; name a file on a local "
            "disk, or a PostgreSQL database (postgresql://USER@HOST/DATABASE), which machines can "
            "share."
        )
    if (url.database or "").startswith("file:"):
        return
    if not create and not path.exists():
        raise _unreachable(
            url, "there is no such file; `widthwise run` makes it with the first study", NoStudies
        )
    if path.is_dir():
        raise _unreachable(url, "it is a folder, not a file")
    if not path.absolute().parent.is_dir():
        raise _unreachable(url, f"there is no folder '{path.absolute().parent}'")
