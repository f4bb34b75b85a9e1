"""The version of our tables, checked when a database is opened and with every claim.

A worker of another release than the tables' must not claim from them: one that trains while the
tables are upgraded finishes its trial, and is refused the next.
"""

from sqlalchemy import URL, Connection, inspect, select

from ..errors import SchemaMismatch
from .tables import SCHEMA_VERSION, schema
from .url import format_url


def check(connection: Connection, url: URL) -> None:
    """Check that the tables are of this release's version.

    Raises:
        SchemaMismatch: If they are of another one.
    """
    stored_version = connection.execute(select(schema.c.version)).scalar_one()
    if stored_version != SCHEMA_VERSION:
        raise schema_mismatch(url, stored_version)


def tables_exist(connection: Connection) -> bool:
    """Return whether our tables exist, of whatever version."""
    return inspect(connection).has_table(schema.name)


def schema_mismatch(url: URL, stored_version: int) -> SchemaMismatch:
    """Return the error for tables of another version than this release's."""
    remedy = "use the release that made them, or another database"
    if stored_version < SCHEMA_VERSION:
        remedy = "run `widthwise db upgrade`, or use the release that made them"
    return SchemaMismatch(
        f"The tables in {format_url(url)} are of schema version {stored_version}, this release of "
        f"Widthwise expects version {SCHEMA_VERSION}; {remedy}."
    )
