"""TensorBoard: what its own reader finds in the files."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from widthwise.search.tracking.tensorboard import TensorBoardTracker
from widthwise.tests.search.tracking.runs import COMPLETE, FAILED, RETURNED, a_trial


def _read(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def _scalars(accumulator: EventAccumulator, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in accumulator.Scalars(name)]


def test_figures_stand_by_step_while_the_trial_runs(tmp_path: Path) -> None:
    run = TensorBoardTracker(tmp_path / "runs").start(a_trial(7))
    for step in (1, 2, 3):
        run.report(step, {"accuracy": step / 4, "loss": 1 / step})
    run.end(COMPLETE)
    read = _read(tmp_path / "runs" / "digits" / "trial-0007")
    assert _scalars(read, "accuracy") == [(1, 0.25), (2, 0.5), (3, 0.75)]
    assert _scalars(read, "loss") == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert _scalars(read, "final/accuracy") == [(3, 0.75)]
    assert {"trial/text_summary", "outcome/text_summary"} <= set(read.Tags()["tensors"])
    text = read.Tensors("trial/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| hidden1 | 64 |" in text
    assert "| cost/parameters | 4810 |" in text
    assert "_hparams_/session_start_info" in read.summary_metadata


def test_a_trial_that_goes_on_shows_no_step_twice(tmp_path: Path) -> None:
    """The checkpoint is older than the last report: steps 3 and 4 come again."""
    tracker = TensorBoardTracker(tmp_path)
    first = tracker.start(a_trial(7))
    for step in (1, 2, 3, 4):
        first.report(step, {"accuracy": 0.1 * step})
    first.end(RETURNED)
    second = TensorBoardTracker(tmp_path).start(a_trial(7))
    for step in (3, 4, 5):
        second.report(step, {"accuracy": 0.125 * step})
    second.end(COMPLETE)
    read = _read(tmp_path / "digits" / "trial-0007")
    assert [step for step, _ in _scalars(read, "accuracy")] == [1, 2, 3, 4, 5]
    assert _scalars(read, "accuracy")[2][1] == 0.375


def test_how_a_trial_failed_can_be_read(tmp_path: Path) -> None:
    TensorBoardTracker(tmp_path).start(a_trial(1)).end(FAILED)
    read = _read(tmp_path / "digits" / "trial-0001")
    text = read.Tensors("outcome/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text == "error: RuntimeError: the moon is full"


def test_another_study_of_the_name_keeps_apart(tmp_path: Path) -> None:
    tracker = TensorBoardTracker(tmp_path)
    for identifier in ("aaaa", "bbbb", "aaaa"):
        run = tracker.start(a_trial(1, study_id=identifier))
        run.report(1, {"accuracy": 0.5})
        run.end(COMPLETE)
    assert {path.parent.name for path in tmp_path.glob("*/trial-0001")} == {
        "digits",
        "digits-bbbb",
    }
    assert _scalars(_read(tmp_path / "digits-bbbb" / "trial-0001"), "accuracy") == [(1, 0.5)]


@pytest.mark.parametrize("name", ["..", ".", "a/../../b", "/etc", "größer als 3?"])
def test_no_name_of_a_study_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    TensorBoardTracker(folder).start(a_trial(1, study=name)).end(COMPLETE)
    [events] = tmp_path.rglob("events.*")
    assert events.parent.parent.parent == folder
