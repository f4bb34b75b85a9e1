"""A tracker that keeps what it is told, and trials to tell it of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from widthwise.search.tracking.tracker import TrackedEnd, TrackedTrial


def a_trial(number: int = 3, study: str = "digits", **changes: Any) -> TrackedTrial:
    values: dict[str, Any] = {
        "study": study,
        "study_id": "0123abcd",
        "number": number,
        "attempt": 1,
        "widths": {"hidden1": 64, "hidden2": 32},
        "costs": {"parameters": 4810, "flops": 9000},
        "seed": 2**40 + 1,
        "origin": "sampler",
    }
    return TrackedTrial(**{**values, **changes})


COMPLETE = TrackedEnd(outcome="complete", is_final=True, figures={"accuracy": 0.75, "seconds": 2.0})
RETURNED = TrackedEnd(outcome="returned", is_final=False)
FAILED = TrackedEnd(outcome="error", is_final=True, detail="RuntimeError: the moon is full")


@dataclass
class RecordingTracker:
    """Keeps all calls; what is asked of it goes wrong."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    trouble: Callable[[tuple[Any, ...]], None] = lambda _: None

    def start(self, trial: TrackedTrial) -> RecordingRun:
        self.keep(("start", trial.number))
        return RecordingRun(self, trial.number)

    def keep(self, call: tuple[Any, ...]) -> None:
        self.trouble(call)
        self.calls.append(call)


@dataclass
class RecordingRun:
    tracker: RecordingTracker
    number: int

    def report(self, step: int, figures: Mapping[str, float]) -> None:
        self.tracker.keep(("report", self.number, step, dict(figures)))

    def end(self, end: TrackedEnd) -> None:
        self.tracker.keep(("end", self.number, end.outcome))
