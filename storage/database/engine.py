"""Engines: how we connect to SQLite and PostgreSQL.

`make_engine` makes SQLAlchemy's engine for a URL. On SQLite the statement that begins a transaction
is the execution option `BEGIN_OPTION`, because the driver itself begins too late for a writer.
"""

from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from .dialect import is_postgresql

BEGIN_OPTION = "widthwise_begin"
"""Execution option of a connection: SQLite's statement for the start of a transaction."""

DURABLE_OPTION = "widthwise_durable"
"""Execution option: False for a transaction that need not be on the disk when it is committed."""

CONNECT_SECONDS = 5
"""How long one attempt to connect to a PostgreSQL server may take."""

BUSY_SECONDS = 10.0
"""How long SQLite itself waits for another process's lock before it reports one."""


def connect_args(url: URL) -> dict[str, Any]:
    """Return the driver's options, for our engine and for Optuna's."""
    if not is_postgresql(url):
        return {"timeout": BUSY_SECONDS}
    # A peer that vanished without closing (a machine switched off) is noticed in half a minute.
    defaults = {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        "application_name": "widthwise",
    }
    return {key: value for key, value in defaults.items() if key not in url.query}


def make_engine(url: URL, *, wal: bool) -> Engine:
    """Make the engine for a URL.

    Args:
        url: The database.
        wal: Put a SQLite file into WAL mode, which lets readers and one writer work side by side.
    """
    arguments: dict[str, Any] = {"pool_pre_ping": True, "hide_parameters": True}
    if is_postgresql(url):
        arguments |= {"pool_size": 2, "max_overflow": 8}
    engine = create_engine(url, connect_args=connect_args(url), **arguments)
    if is_postgresql(url):
        _configure_postgresql(engine)
    else:
        _configure_sqlite(engine, wal=wal)
    return engine


def _configure_sqlite(engine: Engine, *, wal: bool) -> None:
    @event.listens_for(engine, "connect")
    def configure_connection(connection: Any, _record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself: `begin` below does
        connection.execute("PRAGMA foreign_keys = ON")
        if wal:
            connection.execute("PRAGMA journal_mode = WAL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        # https://www.sqlite.org/pragma.html#pragma_synchronous: in WAL mode NORMAL waits for the
        # disk at checkpoints only; the next FULL commit takes along what came before it.
        mode = "FULL" if options.get(DURABLE_OPTION, True) else "NORMAL"
        connection.exec_driver_sql(f"PRAGMA synchronous = {mode}")
        connection.exec_driver_sql(options.get(BEGIN_OPTION, "BEGIN"))


def _configure_postgresql(engine: Engine) -> None:
    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if not connection.get_execution_options().get(DURABLE_OPTION, True):
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
