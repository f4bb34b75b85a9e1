"""The progress of a training of the user's own: its reports, and whether it is to end.

A training is to end where the worker or the study says so, where it has fallen behind at a rung of
successive halving, or where a value is no finite number. Once it has been told, what it does from
then on is not recorded: whoever catches `StopTraining` and goes on changes nothing.

Entry point: `ReportedProgress`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn, final

from ..errors import StopTraining, TrainingError, describe_value
from ..loop.aggregate import promoted_candidates
from ..loop.loop import MilestoneCallback
from ..model.metrics import Metric
from ..training.settings import Halving
from .journal import Journal
from .numbers import read_number

FiguresCallback = Callable[[float, Mapping[str, float]], None]
"""`(step, figures there by name)`."""


@final
class ReportedProgress:
    """What becomes of the reports of one training: a `trial.Progress`.

    Attributes:
        journal: What was reported, in earlier processes too.
        stopped: Whether it was told to end.
        interruption: What the callback raised to end it; None if it did not.
        lost: Whether the callback gave it up.
        not_finite: The sentence on a value that is not finite; None where all were.
        failure: The sentence on a report that is none; None where all were reports.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        metric: Metric,
        rungs: Sequence[float],
        halving: Halving | None,
        other_rung_scores: Mapping[float, Sequence[float]],
        never_pruned: bool,
        callback: MilestoneCallback | None,
        tell: FiguresCallback | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin, or go on where an earlier process ended.

        Args:
            journal: Of the training.
            metric: The study's.
            rungs: Steps after which trainings are compared.
            halving: How; None to compare none.
            other_rung_scores: Rung to the values that other trials had there.
            never_pruned: Whether it goes on even if it falls behind.
            callback: Asked at each report; see `MilestoneCallback`.
            tell: Is told each value with its name.
            clock: Seconds that never go back.
        """
        self.journal, self._metric = journal, metric
        self._rungs, self._halving = rungs, halving
        self._other_rung_scores, self._never_pruned = other_rung_scores, never_pruned
        self._callback, self._tell, self._clock = callback, tell, clock
        self._began = clock() - journal.seconds
        self._last_step: float | None = None
        self._judged: set[float] = set()
        self.stopped = False
        self.interruption: BaseException | None = None
        self.lost = False
        self.not_finite: str | None = None
        self.failure: TrainingError | None = None

    @property
    def seconds(self) -> float:
        """How long it has been trained for, in earlier processes too, as far as these reported."""
        return self._clock() - self._began

    @property
    def next_step(self) -> int:
        """The step of a report that names none: the first whole one after the last."""
        return 1 if self._last_step is None else math.floor(self._last_step) + 1

    @property
    def should_stop(self) -> bool:
        """Return whether the training is to end."""
        if not self.stopped:
            self._ask({})
        return self.stopped

    def report(self, step: Any, value: Any, others: Mapping[str, Any] | None = None) -> None:
        """Take a value of the metric, and values of other names at the same step.

        Raises:
            StopTraining: The training is to end.
            TrainingError: The step or a value is none.
        """
        if self.stopped:
            raise StopTraining
        try:
            step_number = self._read_step(step)
            number = read_number(value, "trial.report(step, value): the value")
            kept = _read_others(others or {})
        except TrainingError as error:
            self._fail(error)
        if not math.isfinite(number):
            self.not_finite = (
                f"the {self._metric.name} reported at step {step_number:g} is {number}"
            )
            self._stop()
        self._last_step = step_number
        self._ask({0: number})
        if not self.lost:  # whoever has taken the trial over writes the same journal
            self.journal.report(step_number, number, self.seconds)
            if kept:
                self.journal.log(kept)
            self._tell_figures({self._metric.key: number, **kept})
            self._judge_rungs(step_number, number)
        if self.stopped:
            raise StopTraining

    def log(self, values: Mapping[str, Any]) -> None:
        """Take values of other names, unless it was told to end; what is not finite is left out.

        Raises:
            TrainingError: One is no number.
        """
        if self.stopped:
            return
        try:
            kept = _read_others(values)
        except TrainingError as error:
            self._fail(error)
        self.journal.log(kept)
        self._tell_figures(kept)

    def _tell_figures(self, figures: Mapping[str, float]) -> None:
        if self._tell is not None:
            self._tell(self._last_step or 0.0, figures)

    def _read_step(self, step: Any) -> float:
        number = read_number(step, "trial.report(step, value): the step")
        if not 0 < number < math.inf:
            raise TrainingError(
                f"trial.report(step, value): the step is {describe_value(step)}: expected a number "
                "above 0."
            )
        if self._last_step is not None and number <= self._last_step:
            raise TrainingError(
                f"trial.report(step, value): the step is {number:g} after {self._last_step:g}: "
                "steps have to grow from report to report."
            )
        return number

    def _judge_rungs(self, step: float, value: float) -> None:
        """Compare the value at the rungs that were just reached; stop where it falls behind."""
        for rung in self._rungs:
            if rung > step or rung in self._judged:
                continue
            self._judged.add(rung)
            reports = sum(at >= rung for at, _ in self.journal.curve)
            # More than this one: an earlier process came to the rung, and was judged there.
            if self._never_pruned or reports > 1:
                continue
            assert self._halving is not None, "only halving has rungs"
            others = self._other_rung_scores.get(rung, ())
            if not promoted_candidates({0: value}, others, self._halving.eta, self._metric):
                self.journal.prune(rung)
                self.stopped = True
                return

    def _ask(self, metrics: Mapping[int, float]) -> None:
        """Ask the callback whether to go on."""
        if self._callback is None:
            return
        given_up: Collection[int] = ()
        try:
            given_up = self._callback(self._last_step or 0.0, metrics)
        except BaseException as error:  # of ours: it goes on its way once the training has ended
            self.interruption, self.stopped = error, True
        if 0 in given_up:
            self.lost = self.stopped = True

    def _stop(self) -> NoReturn:
        self.stopped = True
        raise StopTraining

    def _fail(self, error: TrainingError) -> NoReturn:
        """Raise what is wrong with a report, and keep it: user code may catch it."""
        self.failure = self.failure or error
        raise error


def _read_others(values: Mapping[str, Any]) -> dict[str, float]:
    """Return values of other names than the metric's as numbers, without what is not finite."""
    numbers = {
        name: read_number(value, f"trial.log({name}=…): the value")
        for name, value in values.items()
    }
    return {name: number for name, number in numbers.items() if math.isfinite(number)}
