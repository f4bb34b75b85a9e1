"""The verbs that tend the database: `db upgrade`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ..options import JsonOption, StorageOption, stdout, write_json

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    verbs = typer.Typer(help="Tend the database.", no_args_is_help=True)
    verbs.command("upgrade")(upgrade)
    app.add_typer(verbs, name="db")


def upgrade(*, storage: StorageOption = None, as_json: JsonOption = False) -> None:
    """Bring the tables to this release's version, every trial kept; make them where none are."""
    from ....storage.database.database import resolve_url
    from ....storage.database.url import format_url

    url = resolve_url(storage)
    before, after = _upgrade_tables(url)
    if as_json:
        write_json({"before": before, "after": after})
    elif before is None:
        stdout().print(
            f"{format_url(url)} was empty and has tables of version {after} now", markup=False
        )
    elif before == after:
        stdout().print(f"{format_url(url)} is of version {after} already", markup=False)
    else:
        stdout().print(f"{format_url(url)}: version {before} became {after}", markup=False)


def _upgrade_tables(url: URL) -> tuple[int | None, int]:
    """Return the versions before, None for no tables, and after."""
    from ....storage.database.database import Database
    from ....storage.database.tables import SCHEMA_VERSION
    from ....storage.errors import SchemaMismatch, StorageUnreachable
    from ....storage.migrations import upgrade as migrate

    before: int | None = SCHEMA_VERSION
    try:
        Database.open(url, create=False).close()
    except SchemaMismatch:
        before, _ = migrate(url)
    except StorageUnreachable:
        # No tables, or no database; the second is reported when it cannot be opened to make them.
        before = None
    with Database.open(url, create=True) as database:
        database.optuna_storage()
    return before, SCHEMA_VERSION
