"""What trackers are told of a study's trials, whatever becomes of these."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from widthwise.search.errors import Drained
from widthwise.search.tracking.background import BackgroundTracker
from widthwise.search.tracking.tracking import Tracking
from widthwise.search.trial.watch import Unwatched
from widthwise.tests.search.bench import FixedWatch, HarnessFactory
from widthwise.tests.search.tracking.runs import RecordingTracker


def _tracking(library: RecordingTracker) -> Tracking:
    tracker = BackgroundTracker("recording", lambda: library, pytest.fail)
    return Tracking([tracker], study="known", study_id="0123")


def test_a_study_is_told_trial_by_trial_and_epoch_by_epoch(new_harness: HarnessFactory) -> None:
    library = RecordingTracker()
    study = new_harness(trials=4, at_once=2, epochs=3)
    study.run_worker(tracking=_tracking(library))
    for record in study.records():
        assert record.result is not None
        told = [call for call in library.calls if call[1] == record.number]
        reports = [call for call in told if call[0] == "report"]
        assert [call[0] for call in told] == ["start", *["report"] * 3, "end"]
        assert [call[2] for call in reports] == [1, 2, 3]
        assert [call[3] for call in reports] == [
            {"width": metric, "loss": loss, "validation_loss": validation_loss}
            for metric, loss, validation_loss in zip(
                record.result["curve"],
                record.result["losses"],
                record.result["validation_losses"],
                strict=True,
            )
        ]
        assert told[-1][2] == "complete"


@pytest.mark.parametrize(
    ("trouble", "ends"),
    [
        ("nan", {"nan": 1}),
        ("memory", {"out_of_memory": 1}),
        ("raise", {"retry": 2, "error": 1}),
    ],
)
def test_what_goes_wrong_is_told_as_it_is_recorded(
    new_harness: HarnessFactory, trouble: str, ends: dict[str, int]
) -> None:
    library = RecordingTracker()
    study = new_harness(trials=6, at_once=1, widths=6, faults={4: trouble})
    study.run_worker(tracking=_tracking(library))
    told = Counter(call[2] for call in library.calls if call[0] == "end")
    assert told == {"complete": 5, **ends}
    starts = Counter(call[1] for call in library.calls if call[0] == "start")
    assert sum(starts.values()) == 5 + sum(ends.values())


def test_a_drained_trial_is_returned_and_goes_on_later(new_harness: HarnessFactory) -> None:
    library = RecordingTracker()
    tracking = _tracking(library)
    study = new_harness(trials=1, at_once=1)
    runner = study.runner(tracking=tracking)
    slots = runner.ledger.claim_many(1)
    with pytest.raises(Drained):
        runner.run_batch(slots, FixedWatch(stop_requested=lambda: True))
    assert [call[0] for call in library.calls] == ["start", "report", "end"]
    assert library.calls[-1][2] == "returned"
    runner.ledger.release_many(slots)
    runner.run_batch(runner.ledger.claim_many(1), Unwatched())
    assert [call[0] for call in library.calls[3:]] == ["start", "report", "report", "end"]
    assert library.calls[-1] == ("end", 0, "complete")


def test_a_trial_that_another_worker_took_is_told_as_lost(new_harness: HarnessFactory) -> None:
    library = RecordingTracker()
    study = new_harness(trials=3, at_once=2)
    runner = study.runner(tracking=_tracking(library))
    slots = runner.ledger.claim_many(2)
    runner.run_batch(slots, FixedWatch(lost=lambda: frozenset({0})))
    ends = {call[1]: call[2] for call in library.calls if call[0] == "end"}
    assert ends == {0: "lost", 1: "complete"}


def test_figures_that_no_tracker_can_keep_are_left_out(new_harness: HarnessFactory) -> None:
    library = RecordingTracker()
    tracking = _tracking(library)
    study = new_harness(trials=1)
    [slot] = study.ledger().claim_many(1)
    tracking.start(slot, seed=1, costs={})
    tracking.report(slot.number, 0.25, {"loss": math.nan, "accuracy": 0.5, "far": math.inf})
    tracking.report(slot.number, 1.0, {"loss": math.nan})
    tracking.report(slot.number + 1, 1.0, {"accuracy": 0.5})
    tracking.finish_batch()
    reports: list[Any] = [call for call in library.calls if call[0] == "report"]
    assert reports == [("report", slot.number, 1, {"accuracy": 0.5})]
