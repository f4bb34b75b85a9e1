"""What SQLite and PostgreSQL do differently, each difference once.

`is_postgresql` tells the engines apart; `insert_for` and `upsert` are inserts that may meet a row
of the same key; `advisory_lock` keeps other processes from doing the same at the same time;
`database_now` and `database_started` are the database's clock. How each engine is connected to
stands in `engine`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import URL, Connection, Double, Table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


def is_postgresql(source: URL | Connection) -> bool:
    """Return whether a URL or a connection is PostgreSQL's; otherwise it is SQLite's."""
    name = source.get_backend_name() if isinstance(source, URL) else source.dialect.name
    return name == "postgresql"


def advisory_lock(connection: Connection, key: int) -> None:
    """Wait until no other transaction has this lock, and keep it until ours ends.

    SQLite needs none: it has one writing transaction at a time.
    """
    if is_postgresql(connection):
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def insert_for(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return an insert with `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return postgresql.insert(table) if is_postgresql(connection) else sqlite.insert(table)


def upsert(
    connection: Connection, table: Table, keys: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Write rows in one statement, over those with the same key.

    Args:
        connection: Of the caller's transaction.
        table: Has a unique index on `keys`.
        keys: Names of the columns that make the key.
        rows: All with the same columns; may be empty.
    """
    if not rows:
        return
    statement = insert_for(connection, table)
    updates = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(
        statement.on_conflict_do_update(index_elements=list(keys), set_=updates), list(rows)
    )


class database_now(FunctionElement[float]):  # noqa: N801 - reads as the SQL function that it is
    """SQL: the present moment by the database's clock, in seconds since the epoch."""

    type = Double()
    inherit_cache = True


class database_started(FunctionElement[float]):  # noqa: N801
    """SQL: when the server started, in seconds since the epoch; 0 for SQLite, which has none."""

    type = Double()
    inherit_cache = True


@compiles(database_now, "postgresql")
def _now_on_postgresql(_element: database_now, _compiler: SQLCompiler, **_: Any) -> str:
    # Not now(): that is frozen at the start of the transaction, which may have waited for a lock.
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"


@compiles(database_now, "sqlite")
def _now_on_sqlite(_element: database_now, _compiler: SQLCompiler, **_: Any) -> str:
    # Julian day 2440587.5 is the epoch; a double resolves it to 0.04 ms.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_started, "postgresql")
def _started_on_postgresql(_element: database_started, _compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM pg_postmaster_start_time()) AS DOUBLE PRECISION)"


@compiles(database_started, "sqlite")
def _started_on_sqlite(_element: database_started, _compiler: SQLCompiler, **_: Any) -> str:
    return "0.0"
