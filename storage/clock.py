"""The database's clock: it times the leases, so the clocks of the workers never matter.

`database_now()` and `database_started()` are SQL expressions in seconds since the epoch (float), on
both engines.
"""

from typing import Any

from sqlalchemy import Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


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
