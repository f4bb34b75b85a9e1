"""Tests of studies share a database; people's commands on the study at hand."""

from collections.abc import Callable

import pytest
from widthwise.storage.database.database import Database
from widthwise.storage.ledger.slot import StudyRow, StudyStatus
from widthwise.storage.study import control

TrialCommand = Callable[[int], None]


@pytest.fixture
def database(shared_database: Database) -> Database:
    """The database that all such tests share."""
    return shared_database


@pytest.fixture
def set_status(database: Database, study: StudyRow) -> Callable[[str], StudyStatus]:
    return lambda status: control.set_status(database, study, StudyStatus(status), worker="eve")


@pytest.fixture
def pause(database: Database, study: StudyRow) -> TrialCommand:
    return lambda number: control.pause_trial(database, study, number, worker="eve")


@pytest.fixture
def continue_trial(database: Database, study: StudyRow) -> TrialCommand:
    return lambda number: control.continue_trial(database, study, number, worker="eve")


@pytest.fixture
def cancel(database: Database, study: StudyRow) -> TrialCommand:
    return lambda number: control.cancel_trial(database, study, number, worker="eve")
