"""Whether a study learns anything: a stop where its first trials do no better than a constant.

Of the first ten complete trials, three that have not learned end the study, unless one of the ten
proves that there is something to learn: a few tiny networks that learn nothing are an answer, not
a mistake, where others learn. What is proof is strict, since one of ten trials is always lucky.

Not learned: the validation metric is no better than a constant prediction's, or the training loss
did not move: a network that is not trained at all may be better than a constant by chance.

Proof: the metric is better than a constant's by more than its margin, the smaller one of two:

- `student_margin`, t * s * sqrt(1 + n r), with n trainings of standard error s, validation to
  training rows r, and t the quantile of Student's distribution with n - 1 degrees of freedom at
  0.995: 0.05 shared out to ten trials (Bonferroni). The root corrects for trainings that share rows
  (Nadeau & Bengio, "Inference for the generalization error", 2003, eq. 8). Three folds have a t of
  9.9: there the other one counts. Example: 3 x 5 folds with s = 0.01, so n = 15 and r = 1/4:
  2.98 * 0.01 * sqrt(4.75) = 0.065.
- 1.5 / sqrt(v) for v rows that validate: three times the largest standard error of a share; of the
  constant's metric, for errors. Example: 100 rows, accuracy: 0.15.

Entry point: `LearningWatch.check`; `judge_learning` is the rule, `likely_cause` says what to mend.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import scipy

from ...objectives.data.streams.samples import sample_counts
from ...storage.database.database import Database
from ...storage.ledger.queries import LedgerReader
from ...storage.ledger.slot import SlotRecord, StudyRow, TrialOutcome
from ...storage.study.reference import read_reference_figures
from ...storage.study.untrained import stop_untrained, was_stopped_untrained
from ..goal import Goal
from ..problem.problem import Problem
from .cause import likely_cause
from .record import NO_BETTER_THAN_CONSTANT

FIRST_TRIALS = 10
"""Complete trials by which a study is judged, and then never again."""

MAX_UNTRAINED = 3
"""Of these, trials that have not learned anything, with which the study is stopped."""

FLAT = 1e-3
"""Share of a training loss below which its changes are none."""

_PROOF = 1 - 0.05 / FIRST_TRIALS
_STANDARD_ERRORS = 3
_MAX_SHARE_DEVIATION = 0.5


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What decides how far a validation metric is to be trusted.

    Attributes:
        trainings: Of a candidate, whose mean its value is.
        ratio: Rows that validate a training to rows that it learns from.
        validated: Rows that validate, of all folds together.
        relative: Whether a constant's metric is the unit of the metric's errors; a share, or R², is
            its own.
    """

    trainings: int
    ratio: float
    validated: int
    relative: bool = False

    def margin(self, spread: float | None, constant: float) -> float:
        """Return by how much a metric must beat a constant's to prove that something was learnt.

        Args:
            spread: Standard error of the metric; None for one training.
            constant: The metric of a constant prediction.
        """
        largest = _STANDARD_ERRORS * _MAX_SHARE_DEVIATION / math.sqrt(self.validated)
        largest *= abs(constant) if self.relative else 1.0
        if spread is None or self.trainings < 2:
            return largest
        return min(largest, student_margin(spread, self.trainings, self.ratio))


def student_margin(spread: float, trainings: int, ratio: float) -> float:
    """Return what a mean over trainings exceeds by chance in one of 200 trials.

    Args:
        spread: Its standard error.
        trainings: At least 2.
        ratio: Rows that validate a training to rows that it learns from.
    """
    quantile = float(scipy.stats.t.ppf(_PROOF, trainings - 1))
    return quantile * spread * math.sqrt(1 + trainings * ratio)


def judge_learning(records: Sequence[SlotRecord], goal: Goal, noise: Noise) -> list[SlotRecord]:
    """Return the trials that have not learned, where these are reason to stop; else none.

    Args:
        records: Complete trials, the first of them first.
        goal: Says which of two metrics is better.
        noise: Of their metrics.
    """
    first = records[:FIRST_TRIALS]
    untrained = [record for record in first if not _has_learned(record)]
    if len(untrained) < MAX_UNTRAINED:
        return []
    proven = any(
        _proves_learning(record, goal, noise) for record in first if record not in untrained
    )
    return [] if proven else untrained


def _has_learned(record: SlotRecord) -> bool:
    result = record.result or {}
    if result.get(NO_BETTER_THAN_CONSTANT):
        return False
    return not _is_still(result)


def _is_still(result: Mapping[str, Any]) -> bool:
    """Return whether the training loss did not move: then the network is what chance drew."""
    losses = result.get("losses") or []
    return len(losses) > 1 and max(losses) - min(losses) < FLAT * abs(losses[0])


def _proves_learning(record: SlotRecord, goal: Goal, noise: Noise) -> bool:
    result: Mapping[str, Any] = record.result or {}
    constant = result.get("constant_score")
    if constant is None or record.value is None:
        return True  # of an earlier release, or of a metric that no constant can be asked
    spread = (result.get("attributes") or {}).get("spread")
    gain: float = goal.sign * (record.value - constant)
    return gain > noise.margin(spread, constant)


@final
@dataclass(kw_only=True)
class LearningWatch:
    """Stops one study where it learns nothing.

    Attributes:
        problem: What is searched.
        database: Where the study is.
        study: The study.
        worker: Who watches, for people.
    """

    problem: Problem
    database: Database
    study: StudyRow
    worker: str
    _is_settled: bool = field(default=False, init=False)

    def check(self) -> None:
        """Stop the study if its first trials are reason to.

        Every worker checks after each batch that it has recorded: the one whose results are the
        last to arrive sees all of them.
        """
        if self._is_settled or self.problem.loop_objective is None:
            return  # what a constant prediction has is not known of a training of the user's own
        records = LedgerReader(self.database, self.study).first_complete(FIRST_TRIALS)
        if len(records) < MAX_UNTRAINED:
            return
        self._is_settled = len(records) == FIRST_TRIALS
        untrained = judge_learning(records, self.problem.goal, self._noise())
        if not untrained or was_stopped_untrained(self.database, self.study):
            return
        reason = self._reason(records, untrained)
        numbers = [record.number for record in untrained]
        stop_untrained(
            self.database, self.study, reason, worker=self.worker, figures={"trials": numbers}
        )

    def _noise(self) -> Noise:
        settings, objective = self.problem.settings, self.problem.loop_objective
        assert objective is not None, "what a user's own training learns is not watched"
        train, validation = sample_counts(objective.data)
        has_folds = settings.folds > 1
        metric = objective.metric
        return Noise(
            trainings=settings.splits * settings.replicas,
            ratio=1 / (settings.folds - 1) if has_folds else validation / train,
            validated=train + validation if has_folds else validation,
            relative=metric.task is None or metric.direction == "minimize",
        )

    def _reason(self, records: Sequence[SlotRecord], untrained: Sequence[SlotRecord]) -> str:
        numbers = ", ".join(str(number) for number in sorted(one.number for one in untrained))
        results = [record.result or {} for record in untrained]
        constant = results[0].get("constant_score")
        metric = self.problem.objective.metric.name
        figure = "" if constant is None else f" ({metric} {constant:.4g})"
        still = ", or their loss did not move" if any(map(_is_still, results)) else ""
        reader = LedgerReader(self.database, self.study)
        cause = likely_cause(
            untrained,
            self.problem,
            read_reference_figures(self.database, self.study) or {},
            nan_count=reader.count_outcome(TrialOutcome.NAN),
        )
        return (
            f"Nothing is learned: {len(untrained)} of the first {len(records)} complete trials "
            f"({numbers}) are no better than a constant prediction{figure}{still}, and none is "
            f"better beyond doubt. {cause}"
        )
