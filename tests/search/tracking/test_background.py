"""A tracker in its own thread: in order, in time, and never the trainings' trouble."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest
from widthwise.search.tracking.background import BackgroundTracker
from widthwise.tests.search.tracking.runs import COMPLETE, RecordingTracker, a_trial


def test_calls_arrive_in_order_and_all_of_them() -> None:
    library = RecordingTracker()
    warnings: list[str] = []
    tracker = BackgroundTracker("some", lambda: library, warnings.append)
    tracker.start(a_trial(1))
    tracker.start(a_trial(2))
    for step in range(1, 51):
        tracker.report(1, step, {"accuracy": step / 100})
    tracker.end(1, COMPLETE)
    tracker.end(2, COMPLETE)
    tracker.report(1, 51, {"accuracy": 0.0})  # after its end: nobody's
    tracker.flush()
    reports = [("report", 1, step, {"accuracy": step / 100}) for step in range(1, 51)]
    assert library.calls == [
        ("start", 1),
        ("start", 2),
        *reports,
        ("end", 1, "complete"),
        ("end", 2, "complete"),
    ]
    assert warnings == []


def test_its_thread_ends_once_all_is_kept() -> None:
    library = RecordingTracker()
    tracker = BackgroundTracker("to be closed", lambda: library, pytest.fail)
    [thread] = [each for each in threading.enumerate() if each.name == "tracker to be closed"]
    tracker.start(a_trial(1))
    tracker.end(1, COMPLETE)
    tracker.close()
    thread.join(60)
    assert not thread.is_alive()
    tracker.start(a_trial(2))
    tracker.flush()  # returns at once
    assert library.calls == [("start", 1), ("end", 1, "complete")]


def _raise(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    "error",
    [OSError("No space left on device"), SystemExit(3), ImportError("no module")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("when", ["open", "start", "report", "end"])
def test_one_that_fails_warns_once_and_is_silent_ever_after(
    when: str, error: BaseException
) -> None:
    library = RecordingTracker(trouble=lambda call: _raise(error) if call[0] == when else None)
    warnings: list[str] = []

    def open_library() -> RecordingTracker:
        return _raise(error) if when == "open" else library

    tracker = BackgroundTracker("mlflow:x", open_library, warnings.append)
    for number in (1, 2):
        tracker.start(a_trial(number))
        tracker.report(number, 1, {"accuracy": 0.5})
        tracker.end(number, COMPLETE)
        tracker.flush()
    assert len(warnings) == 1
    assert "mlflow:x is switched off" in warnings[0]
    assert type(error).__name__ in warnings[0]
    assert all(call[0] != when and call[1] == 1 for call in library.calls)


def test_one_that_hangs_is_switched_off_and_waited_for_once() -> None:
    forever, hangs = threading.Event(), threading.Event()

    def hang(call: tuple[Any, ...]) -> None:
        if call[0] == "report":
            hangs.set()
            forever.wait()

    warnings: list[str] = []
    tracker = BackgroundTracker(
        "mlflow:x", lambda: RecordingTracker(trouble=hang), warnings.append, idle_seconds=0.05
    )
    tracker.start(a_trial(1))
    tracker.report(1, 1, {"accuracy": 0.5})
    assert hangs.wait(60)
    tracker.flush()
    tracker.report(1, 2, {"accuracy": 0.5})
    tracker.flush()  # returns at once
    forever.set()
    assert len(warnings) == 1
    assert "has not answered" in warnings[0]


def test_a_stop_does_not_wait_as_long_as_there_is_progress() -> None:
    forever = threading.Event()
    warnings: list[str] = []
    tracker = BackgroundTracker(
        "mlflow:x",
        lambda: RecordingTracker(trouble=lambda _: _ignore(forever.wait())),
        warnings.append,
        idle_seconds=3600.0,
        open_seconds=3600.0,
    )
    tracker.start(a_trial(1))
    tracker.flush(limit=0.05)
    forever.set()
    assert len(warnings) == 1


def _ignore(value: object) -> None:
    del value


def test_a_warning_that_cannot_be_given_ends_nothing() -> None:
    def away(sentence: str) -> None:
        raise ConnectionError(sentence)

    tracker = BackgroundTracker("wandb", lambda: _raise(OSError("full")), away)
    tracker.start(a_trial(1))
    tracker.flush()


def test_no_library_is_loaded_by_asking_for_none() -> None:
    code = "import widthwise.search.tracking.registry, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"mlflow", "wandb", "tensorboard", "torch"} & set(loaded)
