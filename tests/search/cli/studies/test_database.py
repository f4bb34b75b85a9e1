"""`widthwise db upgrade`: an earlier release's tables become this one's, and none are made."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.database.tables import SCHEMA_VERSION

SCHEMAS = Path(__file__).parents[3] / "storage" / "migrations"


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_database_is_refused_upgraded_and_served(cli: Any, version: int) -> None:
    with sqlite3.connect(Path(cli.folder) / "old.db") as connection:
        connection.executescript((SCHEMAS / f"schema_{version}_sqlite.sql").read_text())
        (name,) = connection.execute("select name from widthwise_study").fetchone()
    connection.close()
    storage = ("--storage", f"sqlite:///{Path(cli.folder) / 'old.db'}")
    refused = cli.run_in_process("status", name, *storage)
    assert refused.code == 5
    assert "widthwise db upgrade" in refused.err
    upgraded = {"before": version, "after": SCHEMA_VERSION}
    assert cli.run_in_process("db", "upgrade", "--json", *storage).json == upgraded
    assert "already" in cli.run_in_process("db", "upgrade", *storage).out
    assert cli.run_in_process("status", name, *storage).code == 0


def test_an_empty_database_gets_its_tables(cli: Any, database_url: str) -> None:
    storage = ("--storage", database_url)
    result = cli.run_in_process("db", "upgrade", *storage)
    assert (result.code, result.err) == (0, "")
    assert f"was empty and has tables of version {SCHEMA_VERSION} now" in result.out
    assert cli.run_in_process("status", "--json", *storage).json == []
    assert "already" in cli.run_in_process("db", "upgrade", *storage).out
    with Database.open(resolve_url(database_url), create=False) as database:
        assert database.optuna_storage().get_all_studies() == []


def test_an_empty_database_is_said_to_have_had_no_version(cli: Any) -> None:
    result = cli.run_in_process("db", "upgrade", "--json").json
    assert result == {"before": None, "after": SCHEMA_VERSION}


@pytest.mark.parametrize(
    ("url", "code"),
    [("sqlite:///no/such/folder.db", 69), ("postgresql://anna@127.0.0.1:1/studies", 69)],
    ids=["no folder", "no server"],
)
def test_where_no_database_can_be_there_is_an_error(cli: Any, url: str, code: int) -> None:
    result = cli.run_in_process("db", "upgrade", "--storage", url)
    assert result.code == code
    assert len(result.err.strip().splitlines()) == 1
    assert list(Path(cli.folder).iterdir()) == []
