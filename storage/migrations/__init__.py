"""Migrations: our tables from one schema version to the next, with every trial in them.

`upgrade` takes them to this release's version in one transaction; each step is a file of its own,
named for the version that it makes, with Alembic's operations. The version is stored in our own
table, which every worker reads before it claims: workers of the old release finish their trials and
are refused the next.
"""

from collections.abc import Callable, Mapping

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import URL, Connection, select, update

from ..database.database import Database, lock_tables
from ..database.schema_version import schema_mismatch, tables_exist
from ..database.tables import SCHEMA_VERSION, schema
from ..database.url import format_url
from ..errors import StorageUnreachable
from . import v2, v3, v4, v5

STEPS: Mapping[int, Callable[[Operations], None]] = {
    2: v2.upgrade,
    3: v3.upgrade,
    4: v4.upgrade,
    5: v5.upgrade,
}
"""The step that makes each version from the one before."""

RETRY_SECONDS = 30.0
"""How long an upgrade retries transient errors, such as the lock of a worker's transaction."""


def upgrade(url: URL) -> tuple[int, int]:
    """Upgrade our tables to this release's version; Optuna's stay as they are.

    Args:
        url: As `resolve_url` gives it.

    Returns:
        The versions before and after; the same where there was nothing to do.

    Raises:
        StorageUnreachable: If there is no such database, or none of ours in it.
        SchemaMismatch: If the tables are of a later release than this one.
    """

    def migrate(connection: Connection) -> tuple[int, int]:
        lock_tables(connection)
        if not tables_exist(connection):
            raise StorageUnreachable(
                f"There is nothing to upgrade in {format_url(url)}: it holds no study of "
                "Widthwise; check --storage."
            )
        stored_version = connection.execute(select(schema.c.version)).scalar_one()
        if stored_version > SCHEMA_VERSION:
            raise schema_mismatch(url, stored_version)
        operations = Operations(MigrationContext.configure(connection))
        for version in range(stored_version + 1, SCHEMA_VERSION + 1):
            STEPS[version](operations)
        connection.execute(update(schema).values(version=SCHEMA_VERSION))
        return stored_version, SCHEMA_VERSION

    with Database.open_unchecked(url, retry_seconds=RETRY_SECONDS) as database:
        return database.write(migrate)
