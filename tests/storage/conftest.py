"""A fresh study of five slots on SQLite and on PostgreSQL, and workers on its ledger.

Tests with a study of their own share one database of each kind, `shared_database`; where their
folder or module makes that their `database`.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from sqlalchemy import event
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.ledger import Ledger
from widthwise.storage.study.study import StudyRow, create_study


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def shared_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """One database of each kind for the whole session."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('shared') / 'widthwise.db'}"
        with Database.open(resolve_url(url), retry_seconds=20) as opened:
            yield opened
    else:
        server = request.getfixturevalue("postgresql_server")
        with (
            server.new_database() as url,
            Database.open(resolve_url(url), retry_seconds=20) as opened,
        ):
            yield opened


@pytest.fixture
def study(database: Database) -> StudyRow:
    """A fresh study of five free slots."""
    row, created = create_study(
        database,
        name=f"digits-{uuid.uuid4().hex}",
        spec='{"trials": 5}',
        fingerprint="f" * 64,
        direction="maximize",
        metric="accuracy",
        base="/models",
        budget=5,
    )
    assert created
    return row


Listen = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def listen(database: Database) -> Listen:
    """Call a function at every event of the database's engine inside a block."""

    @contextmanager
    def listening(name: str, listener: Callable[..., object], **options: bool) -> Iterator[None]:
        event.listen(database.engine, name, listener, **options)
        try:
            yield
        finally:
            event.remove(database.engine, name, listener)

    return listening


OpenLedger = Callable[..., Ledger]


@pytest.fixture
def open_ledger(database: Database, study: StudyRow) -> OpenLedger:
    """Open the study's ledger as a worker, by default with long leases."""

    def make_ledger(
        worker: str = "first", lease_seconds: float = 60.0, max_attempts: int = 3
    ) -> Ledger:
        return Ledger(
            database,
            study,
            worker=worker,
            lease_seconds=lease_seconds,
            max_attempts=max_attempts,
        )

    return make_ledger
