"""Optuna's storage on the same database.

`open_storage` opens it, safely also where several processes make its tables at once, and with no
password in its URL. `join_transaction` makes its calls part of one of our transactions, so that
Optuna's rows and ours change together or not at all. `silence_optuna` keeps it from writing logs.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optuna.storages import RDBStorage
from sqlalchemy import URL, Connection
from sqlalchemy.orm import scoped_session, sessionmaker

from ..errors import SchemaMismatch
from .dialect import is_postgresql
from .retry import call_with_retries, is_creation_conflict, is_transient
from .url import format_url, split_secrets

TABLE_CREATION_SECONDS = 20.0
"""How long conflicts are retried with other processes that make Optuna's tables too."""


def open_storage(url: URL, connect_args: dict[str, Any]) -> RDBStorage:
    """Open Optuna's storage for a URL; its tables are made if they are missing.

    Args:
        url: The database.
        connect_args: Of the driver, without the URL's secrets.

    Raises:
        SchemaMismatch: If Optuna's tables were made by a release that this one cannot read.
    """
    # Secrets travel beside the URL: Optuna keeps the text of the URL, and hands it to Alembic.
    # Optuna fills in `{SCHEMA_VERSION}`, so braces are doubled.
    bare_url, password, options = split_secrets(url)
    text = bare_url.render_as_string().replace("{", "{{").replace("}", "}}")
    connect_args = {**connect_args, **{name: values[-1] for name, values in options.items()}}
    if password is not None:
        connect_args["password"] = password
    arguments: dict[str, Any] = {
        "pool_pre_ping": True,
        "hide_parameters": True,
        "connect_args": connect_args,
    }
    if is_postgresql(url):
        arguments |= {"pool_size": 1, "max_overflow": 9}
    storage = call_with_retries(
        lambda: RDBStorage(text, engine_kwargs=dict(arguments), skip_compatibility_check=True),
        seconds=TABLE_CREATION_SECONDS,
        # Optuna checks which tables are missing and then makes them, without a lock: the second
        # process checks once more.
        is_retryable=lambda error: is_transient(error) or is_creation_conflict(error),
    )
    stored_version, expected_version = storage.get_current_version(), storage.get_head_version()
    if stored_version != expected_version:
        storage.engine.dispose()
        raise SchemaMismatch(
            f"Optuna's tables in {format_url(url)} are of version {stored_version}, the Optuna "
            f"installed here expects {expected_version}; use the release that made them, or "
            "another database."
        )
    return storage


def join_transaction(storage: RDBStorage, connection: Connection) -> RDBStorage:
    """Return the storage inside the transaction on `connection`: its commits are savepoints."""
    # __init__ would connect, and __copy__ would make a new engine.
    joined_storage = RDBStorage.__new__(RDBStorage)
    joined_storage.__dict__.update(storage.__dict__)
    joined_storage.scoped_session = scoped_session(
        sessionmaker(bind=connection, join_transaction_mode="create_savepoint")
    )
    return joined_storage


@contextmanager
def silence_optuna() -> Iterator[None]:
    """Keep Optuna's storage and the driver from writing to stderr in this thread.

    Optuna logs every study, and warns with the SQL of every outage; psycopg warns of a batch that
    an outage cut short. Our callers report these in their own words.
    """
    previous = getattr(_silenced, "active", False)
    _silenced.active = True
    try:
        yield
    finally:
        _silenced.active = previous


# A filter, not a level: levels are the user's, and threads would overwrite each other's.
_silenced = threading.local()


def _is_audible(_record: logging.LogRecord) -> bool:
    return not getattr(_silenced, "active", False)


for _logger_name in ("optuna.storages._rdb.storage", "psycopg"):
    logging.getLogger(_logger_name).addFilter(_is_audible)
