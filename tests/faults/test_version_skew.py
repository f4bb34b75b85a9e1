"""Workers of other code or another schema: refused before a claim, or let out after a trial."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update
from widthwise.storage.database.tables import SCHEMA_VERSION, schema

from . import small
from .command import CommandStudy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.promise("version skew")]


@pytest.fixture
def study(tmp_path: Path, database_url: str) -> CommandStudy:
    """A study of two trials, submitted and not begun."""
    command_study = CommandStudy(tmp_path, "small", database_url)
    command_study.submit(small.write_small_study(tmp_path, trials=2))
    return command_study


def assert_complete(study: CommandStudy) -> dict[str, int]:
    figures = study.audit()
    expected = {"budget": 2, "complete": 2, "running": 0, "duplicates": 0, "lost": 0}
    assert {name: figures[name] for name in expected} == expected
    return figures


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_other_code_is_refused_before_a_claim(
    study: CommandStudy, record_counts: Callable[..., None]
) -> None:
    """Another model or other data; a worker of the study ends, a pool's passes the study over."""
    changes = {"small.py": ("nn.ReLU", "nn.Tanh"), "small_data.py": ("[:, :3]", "[:, 1:]")}
    for file, (original, changed) in changes.items():
        path = study.folder / file
        source = path.read_text()
        assert original in source
        path.write_text(source.replace(original, changed))
        worker = study.run_in_process("worker", "small")
        assert worker.code == 5, worker.err
        assert "other code or data" in worker.err
        if file == "small.py":
            pool_worker = study.run_in_process("worker", "--idle", "1")
            assert pool_worker.code == 0, pool_worker.err
            assert "other code or data" in pool_worker.err
        path.write_text(source)
    assert "claimed" not in study.event_kinds()
    worker = study.run_in_process("worker", "small")
    assert worker.code == 0, worker.err
    record_counts(**assert_complete(study))


@pytest.mark.parametrize(
    ("database_url", "named"),
    [("sqlite", True), ("postgresql", False)],
    indirect=["database_url"],
    ids=["a worker of the study", "a pool's worker"],
)
def test_a_worker_drains_when_the_tables_change(
    study: CommandStudy, record_counts: Callable[..., None], named: bool
) -> None:
    (study.folder / "wait").touch()
    worker = study.start("worker", *(["small"] if named else []))
    study.wait_until(worker, lambda: "bound" in study.event_kinds())
    set_version(study, SCHEMA_VERSION + 1)
    (study.folder / "wait").unlink()
    _, err = worker.communicate(timeout=100)
    assert worker.returncode == 5, err
    assert f"are of schema version {SCHEMA_VERSION + 1}" in err
    assert study.event_kinds().count("claimed") == study.event_kinds().count("done") == 1
    assert sorted(study.slot_states()) == ["done", "free"]
    refused = study.run_in_process("worker", "small")
    assert refused.code == 5, refused.err
    set_version(study, SCHEMA_VERSION)
    finished = study.run_in_process("worker", "small")
    assert finished.code == 0, finished.err
    record_counts(**assert_complete(study))


def set_version(study: CommandStudy, version: int) -> None:
    from widthwise.storage.database.database import Database, resolve_url

    database = Database.open_unchecked(resolve_url(study.url, {}), retry_seconds=20)
    database.write(lambda connection: connection.execute(update(schema).values(version=version)))
    database.close()
