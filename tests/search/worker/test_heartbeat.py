"""Heartbeats: a batch's leases are kept, and what interrupts its training is told."""

from __future__ import annotations

import pytest
from widthwise.search.worker.heartbeat import LeaseHeartbeat
from widthwise.storage.ledger import events
from widthwise.storage.ledger.slot import StudyStatus
from widthwise.storage.study.control import set_status
from widthwise.tests.search.bench import (
    HarnessFactory,
    wait_until,
    wait_until_lost,
)


def test_heartbeats_keep_a_whole_batch_and_tell_what_is_lost(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=4)
    ledger = study.ledger(lease_seconds=0.6)
    slots = ledger.claim_many(3)
    before = [study.records()[n].lease_until for n in range(3)]
    with LeaseHeartbeat(ledger, slots, 0.06) as heartbeat:
        study.steal_leases([1])
        wait_until_lost(heartbeat, {1})
        assert heartbeat.lost() == {1}
    records = study.records()
    for number in (0, 2):
        assert (records[number].lease_until or 0) > (before[number] or 0)
        assert records[number].worker == "me"
    refused = [event for event in events.read(study.database, study.row) if event.kind == "refused"]
    assert [event.number for event in refused] == [1], "told once, and never asked for again"


@pytest.mark.parametrize("status", [StudyStatus.PAUSED, StudyStatus.CANCELLED])
def test_a_study_that_is_not_open_any_more_stops_its_trainings(
    new_harness: HarnessFactory, status: StudyStatus
) -> None:
    study = new_harness(trials=1)
    ledger = study.ledger(lease_seconds=60.0)
    with LeaseHeartbeat(ledger, ledger.claim_many(1), 0.06) as watch:
        assert not watch.stop_requested()
        set_status(study.database, study.row, status, worker="somebody")
        wait_until(watch.stop_requested)
        assert watch.lost() == frozenset()


def test_a_worker_that_is_asked_to_stop_stops_its_trainings(new_harness: HarnessFactory) -> None:
    ledger = new_harness(trials=1).ledger()
    stop = False
    with LeaseHeartbeat(ledger, ledger.claim_many(1), 60.0, lambda: stop) as watch:
        assert not watch.stop_requested()
        stop = True
        assert watch.stop_requested()
