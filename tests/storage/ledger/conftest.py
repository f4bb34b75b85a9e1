"""Tests of the ledger share a database."""

import pytest
from widthwise.storage.database.database import Database


@pytest.fixture
def database(shared_database: Database) -> Database:
    """The database that all such tests share."""
    return shared_database
