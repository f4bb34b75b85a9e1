"""`widthwise db upgrade`: an earlier release's tables become this one's, and say so."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

OLD = Path(__file__).parents[1] / "storage" / "schema_1_sqlite.sql"


def test_an_old_database_is_refused_upgraded_and_served(cli: Any) -> None:
    with sqlite3.connect(Path(cli.folder) / "old.db") as connection:
        connection.executescript(OLD.read_text())
        (name,) = connection.execute("select name from widthwise_study").fetchone()
    connection.close()
    storage = ("--storage", f"sqlite:///{Path(cli.folder) / 'old.db'}")
    refused = cli.inside("status", name, *storage)
    assert refused.code == 5
    assert "widthwise db upgrade" in refused.err
    assert cli.inside("db", "upgrade", "--json", *storage).json == {"before": 1, "after": 2}
    assert "already" in cli.inside("db", "upgrade", *storage).out
    assert cli.inside("status", name, *storage).code == 0


def test_without_a_database_there_is_nothing_to_upgrade(cli: Any) -> None:
    found = cli.inside("db", "upgrade", "--storage", f"sqlite:///{Path(cli.folder) / 'none.db'}")
    assert found.code == 69
    assert len(found.err.strip().splitlines()) == 1
    assert not (Path(cli.folder) / "none.db").exists()
