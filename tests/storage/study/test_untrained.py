"""A study that learns nothing is ended once, by one of its workers, and opened by a person."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from widthwise.storage.database.database import Database
from widthwise.storage.ledger import events
from widthwise.storage.ledger.queries import LedgerReader
from widthwise.storage.ledger.slot import StudyRow, StudyStatus
from widthwise.storage.study.control import set_status
from widthwise.storage.study.untrained import stop_untrained, was_stopped_untrained
from widthwise.tests.storage.conftest import OpenLedger

REASON = "Nothing is learned: 3 of 3."


def test_of_several_workers_one_ends_the_study(
    database: Database, study: StudyRow, open_ledger: OpenLedger
) -> None:
    reader = LedgerReader(database, study)
    assert reader.untrained_reason() is None
    assert not was_stopped_untrained(database, study)
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda number: stop_untrained(
                    database, study, REASON, worker=f"w{number}", figures={"trials": [0, 1, 2]}
                ),
                range(4),
            )
        )
    assert reader.untrained_reason() == REASON
    assert reader.status() is StudyStatus.CANCELLED
    assert open_ledger().claim_many(1) == []
    [event] = [event for event in events.read(database, study) if event.kind == "untrained"]
    assert event.detail == {"reason": REASON, "trials": [0, 1, 2]}
    assert event.worker in {f"w{number}" for number in range(4)}


def test_a_study_that_a_person_opens_again_is_not_ended_a_second_time(
    database: Database, study: StudyRow, open_ledger: OpenLedger
) -> None:
    stop_untrained(database, study, REASON, worker="a")
    assert LedgerReader(database, study).status() is StudyStatus.CANCELLED
    set_status(database, study, StudyStatus.OPEN, worker="eve")
    assert LedgerReader(database, study).untrained_reason() is None
    assert was_stopped_untrained(database, study)
    stop_untrained(database, study, REASON, worker="a")
    assert LedgerReader(database, study).status() is StudyStatus.OPEN
    assert [event.kind for event in events.read(database, study)].count("untrained") == 1
    assert len(open_ledger().claim_many(1)) == 1


def test_a_study_that_a_person_stopped_keeps_that_status(
    database: Database, study: StudyRow
) -> None:
    set_status(database, study, StudyStatus.PAUSED, worker="eve")
    stop_untrained(database, study, REASON, worker="a")
    reader = LedgerReader(database, study)
    assert reader.status() is StudyStatus.PAUSED
    assert reader.untrained_reason() is None
