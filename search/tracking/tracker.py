"""What a tracker is: one run for every trial, told of while the trial is trained.

Entry points: `Tracker` and `TrackedRun`, which each library implements; `TrackedTrial` and
`TrackedEnd`, what they are told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class TrackedTrial:
    """A trial whose training begins, or goes on.

    Attributes:
        study: The study's name.
        study_id: Of the study alone, also where another one had its name: letters and digits.
        number: Of the trial, from 0. One that was begun before, here or elsewhere, goes on.
        attempt: Claims of its slot, but for those that were given back.
        widths: Width of each variable.
        costs: By name: what is counted, in its unit, and what was measured, in seconds.
        seed: Of its training.
        origin: Who proposed the widths.
        overrides: Keys of the spec that this training changes.
    """

    study: str
    study_id: str
    number: int
    attempt: int
    widths: Mapping[str, int]
    costs: Mapping[str, float]
    seed: int
    origin: str | None
    overrides: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What people see: `digits/7`."""
        return f"{self.study}/{self.number}"

    @property
    def parameters(self) -> dict[str, object]:
        """Widths, costs and the rest; a width's name is its own, also where it is "seed"."""
        others = {
            **{f"cost/{name}": value for name, value in self.costs.items()},
            **{str(name): value for name, value in self.overrides.items()},
            "seed": self.seed,
            "origin": self.origin or "",
        }
        # The second time for their values, the first for their place.
        return {**self.widths, **others, **self.widths}


@dataclass(frozen=True, kw_only=True)
class TrackedEnd:
    """How a trial left its worker.

    Attributes:
        outcome: "complete", "pruned", "nan", "out_of_memory", "infeasible" or "error"; or
            "retry", "returned" or "lost", where it goes on later or elsewhere.
        is_final: Whether the trial is over.
        detail: A sentence on what went wrong.
        figures: The final metric and others, by name.
    """

    outcome: str
    is_final: bool
    detail: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        """Whether the trial has a result: complete, or stopped early as planned."""
        return self.outcome in ("complete", "pruned")


class TrackedRun(Protocol):
    """One trial in a tracker."""

    def report(self, step: int, figures: Mapping[str, float]) -> None:
        """Keep figures of one step; raises whatever the library does."""
        ...

    def end(self, end: TrackedEnd) -> None:
        """Keep how it ended, and close the run; raises whatever the library does."""
        ...


class Tracker(Protocol):
    """A library that keeps runs."""

    def start(self, trial: TrackedTrial) -> TrackedRun:
        """Return a new run, or the trial's own that goes on; raises whatever the library does."""
        ...


def whole_step(step: float) -> int:
    """Return a step as trackers count them: the epoch that it is in."""
    return math.ceil(step)


def finite(figures: Mapping[str, float]) -> dict[str, float]:
    """Return the figures that every tracker can keep."""
    return {name: float(value) for name, value in figures.items() if math.isfinite(value)}
