"""Inserts that may meet a row of the same key: `ON CONFLICT`.

`insert_for` is SQLAlchemy's insert for the engine at hand; `upsert` writes rows over those of the
same key.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Double, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


def insert_for(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
    is_postgresql = connection.dialect.name == "postgresql"
    return postgresql.insert(table) if is_postgresql else sqlite.insert(table)


def upsert(
    connection: Connection, table: Table, keys: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Write rows in one statement, over what is there under the same key.

    Args:
        connection: Of the caller's transaction.
        table: Has a unique index on `keys`.
        keys: Names of the columns that make the key.
        rows: All with the same columns; none is fine.
    """
    if not rows:
        return
    statement = insert_for(connection, table)
    updates = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(
        statement.on_conflict_do_update(index_elements=list(keys), set_=updates), list(rows)
    )


class database_now(FunctionElement[float]):  # noqa: N801 - reads as the SQL function that it is
    """The present moment by the database's clock, in seconds since the epoch."""

    type = Double()
    inherit_cache = True


class database_started(FunctionElement[float]):  # noqa: N801
    """When the server started, in seconds since the epoch; 0 for SQLite, which has none."""

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
