"""The verbs that tend the database: `db upgrade`."""

from __future__ import annotations

import typer

from .cli_options import Json, Storage, stdout, write_json


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    verbs = typer.Typer(help="Tend the database.", no_args_is_help=True)
    verbs.command("upgrade")(upgrade)
    app.add_typer(verbs, name="db")


def upgrade(*, storage: Storage = None, as_json: Json = False) -> None:
    """Bring the tables of an earlier release to this one's; every trial is kept."""
    from ..storage.database import resolve_url
    from ..storage.migrations import upgrade as migrate
    from ..storage.url import shown

    url = resolve_url(storage)
    before, after = migrate(url)
    if as_json:
        write_json({"before": before, "after": after})
    elif before == after:
        stdout().print(f"{shown(url)} is of version {after} already", markup=False)
    else:
        stdout().print(f"{shown(url)}: version {before} became {after}", markup=False)
