"""Inserts that may meet a row of the same key: `ON CONFLICT`.

`inserting` is SQLAlchemy's insert for the engine at hand; `upsert` writes rows over those of the
same key.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def inserting(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
    postgresql_here = connection.dialect.name == "postgresql"
    return postgresql.insert(table) if postgresql_here else sqlite.insert(table)


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
    statement = inserting(connection, table)
    others = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(
        statement.on_conflict_do_update(index_elements=list(keys), set_=others), list(rows)
    )
