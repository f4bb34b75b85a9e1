"""The version of our tables: checked when a database is opened and again with every claim.

A worker of another release than the tables' must not write into them. So a worker that is at work
while the tables are upgraded finishes its trial, and is refused the next.
"""

from sqlalchemy import URL, Connection, inspect, select

from ..errors import SchemaMismatch
from .tables import SCHEMA_VERSION, schema
from .url import shown


def check(connection: Connection, url: URL) -> None:
    """Nothing if the tables are of this release's version.

    Raises:
        SchemaMismatch: If they are of another one.
    """
    there = connection.execute(select(schema.c.version)).scalar_one()
    if there != SCHEMA_VERSION:
        raise mismatch(url, there)


def tables_are_there(connection: Connection) -> bool:
    """Whether our tables were made, of whatever version."""
    return inspect(connection).has_table(schema.name)


def mismatch(url: URL, there: int) -> SchemaMismatch:
    """The error for tables of another version than this release's."""
    way_out = "use the release that made them, or another database"
    if there < SCHEMA_VERSION:
        way_out = "run `widthwise db upgrade`, or use the release that made them"
    return SchemaMismatch(
        f"The tables in {shown(url)} are of schema version {there}, this release of Widthwise "
        f"expects version {SCHEMA_VERSION}; {way_out}."
    )
