"""Evaluation of members in training: metric and loss over a split, member by member.

A split of arrays is predicted as a whole, one that comes in batches is gone through once for all
members together. What a member's model, metric or loss raises is its own failure.

Entry points: `Evaluation`; `Validation`, what it finds on the validation split.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeVar, final

import torch
from torch import Tensor

from ..data.dataset import Data, Split
from ..data.streams.batch import Batch
from ..data.streams.order import to_device
from ..data.streams.source import BatchData, close_batches
from ..engines.base import Member, Session, TrainingSetup
from ..engines.module_network import ModuleSession
from ..errors import as_exception
from ..model.metrics import Metric
from ..model.objective import has_built_in_loss
from ..randomness import Randomness
from ..training.evaluate import BatchEvaluation, evaluate_metric

_Figures = TypeVar("_Figures")


class Validation(NamedTuple):
    """What a validation gives: the metric, and the mean loss, over the whole split."""

    metric: float
    loss: float


@final
class Evaluation:
    """The splits of a fold, on which members are judged as they stand.

    Each method returns the figures of those members that gave some; what the others raised is in
    `failures`, which the caller takes.

    Attributes:
        failures: Member to what it raised since the failures were taken last.
    """

    def __init__(self, training: TrainingSetup, members: Sequence[Member]) -> None:
        """Begin without failures.

        Args:
            training: The data and the objective.
            members: Those of the session, for their seeds.
        """
        self._training, self._members = training, members
        self.failures: dict[int, Exception] = {}

    def take_failures(self) -> Mapping[int, Exception]:
        """Return the failures so far, and forget them."""
        failures, self.failures = self.failures, {}
        return failures

    def validate(self, members: Sequence[int], session: Session) -> dict[int, Validation]:
        """Return metric and loss on the validation split."""
        data, objective = self._training.data, self._training.objective

        def judge(output: Any, targets: Tensor) -> Validation:
            metric = evaluate_metric(objective, output, targets)
            with torch.no_grad():
                return Validation(metric, float(objective.loss(output, targets)))

        if isinstance(data, BatchData):
            return self._judge_batches(
                members,
                session,
                data.validation.batches(0, 0),
                lambda evaluation: Validation(evaluation.metric(), evaluation.loss),
            )
        return self._judge_split(members, session, data.validation, judge)

    def test(self, members: Sequence[int], session: Session) -> dict[int, float | None]:
        """Return the metric on the test split, None where it is not finite; none without one."""
        data = self._training.data
        if isinstance(data, BatchData):
            if data.test is None:
                return {}
            return self._judge_batches(
                members,
                session,
                data.test.batches(0, 0),
                lambda evaluation: _finite(evaluation.metric()),
            )
        if not len(data.test):
            return {}
        metric = partial(evaluate_metric, self._training.objective)
        return self._judge_split(members, session, data.test, lambda *rows: _finite(metric(*rows)))

    def train(self, members: Sequence[int], session: Session) -> dict[int, float | None]:
        """Return the metric on rows that were trained on, about as many as validate.

        None where it cannot be judged: that is for people, and no training fails for it.
        """
        data, objective = self._training.data, self._training.objective
        if isinstance(data, BatchData):
            batches = data.train.batches(0, 0, 0, min(data.train.steps, data.validation.steps))
            return self._judge_batches(
                members, session, batches, lambda evaluation: _finite_or_none(evaluation.metric)
            )
        return self._judge_split(
            members,
            session,
            self._training_sample,
            lambda *rows: _finite_or_none(partial(evaluate_metric, objective, *rows)),
        )

    def report(self, members: Sequence[int], session: Session) -> dict[int, dict[str, float]]:
        """Return the further metrics that were asked for on the validation split, by name.

        What cannot be judged, or is not finite, is left out: it was tried before the study, and
        decides nothing.
        """
        data, objective = self._training.data, self._training.objective
        metrics = objective.reported
        if not metrics:
            return {}

        def judge(output: Any, targets: Tensor) -> dict[str, float]:
            return _figures(
                metrics, lambda metric: evaluate_metric(objective, output, targets, metric)
            )

        def judge_batches(evaluation: BatchEvaluation) -> dict[str, float]:
            return _figures(metrics, lambda metric: evaluation.metric(metrics.index(metric)))

        if isinstance(data, BatchData):
            batches = data.validation.batches(0, 0)
            return self._judge_batches(members, session, batches, judge_batches, metrics)
        return self._judge_split(members, session, data.validation, judge)

    @cached_property
    def _training_sample(self) -> Split:
        """As many of the training rows as validate, evenly spread: no more memory, little time."""
        data = self._training.data
        assert isinstance(data, Data), "batches are asked for by themselves"
        count = min(len(data.train), len(data.validation))
        inputs, targets = data.train.inputs, data.train.targets
        rows = torch.linspace(0, len(data.train) - 1, count).round().long().to(inputs.device)
        return Split(inputs=inputs[rows], targets=targets[rows.to(targets.device)])

    def _judge_split(
        self,
        members: Sequence[int],
        session: Session,
        split: Split,
        judge: Callable[[Any, Tensor], _Figures],
    ) -> dict[int, _Figures]:
        """Return what `judge` makes of members' outputs and a split's targets."""
        figures, targets = {}, split.targets.to(self._training.device)
        for index, output in session.predict(members, split.inputs).items():
            try:
                with self._metric_randomness(index):
                    figures[index] = judge(output, targets)
            except BaseException as error:
                self.failures[index] = as_exception(error)
        self._note_failures(members, session)
        return figures

    def _judge_batches(
        self,
        members: Sequence[int],
        session: Session,
        batches: Iterator[Batch],
        judge: Callable[[BatchEvaluation], _Figures],
        metrics: Sequence[Metric] | None = None,
    ) -> dict[int, _Figures]:
        """Return what `judge` makes of what members gave for all batches of a split."""
        assert isinstance(session, ModuleSession), "only the plain engine is given batches"
        objective = self._training.objective
        evaluations = {index: BatchEvaluation(objective, metrics) for index in members}
        figures: dict[int, _Figures] = {}
        try:
            for batch in batches:
                if not evaluations:
                    break
                on_device = to_device(batch, self._training.device)
                for index, output in session.predict_batch([*evaluations], on_device).items():
                    with self._own_failure(index, evaluations):
                        evaluations[index].update(output, on_device)
                for index in session.failures:
                    evaluations.pop(index, None)
        except BaseException as error:  # of the data: nobody can be judged on it
            failure = as_exception(error)
            self.failures |= dict.fromkeys(evaluations, failure)
            evaluations.clear()
        finally:
            close_batches(batches)
        for index, evaluation in list(evaluations.items()):
            with self._own_failure(index, evaluations):
                figures[index] = judge(evaluation)
        self._note_failures(members, session)
        return figures

    @contextmanager
    def _own_failure(self, index: int, working: dict[int, Any]) -> Iterator[None]:
        """Catch what a member's metric or loss raises: it takes no further part."""
        try:
            with self._metric_randomness(index):
                yield
        except BaseException as error:
            self.failures[index] = as_exception(error)
            working.pop(index, None)

    def _note_failures(self, members: Sequence[int], session: Session) -> None:
        """Take over what models raised while they predicted."""
        for index in members:
            if index in session.failures:
                self.failures[index] = session.failures[index]

    def _metric_randomness(self, index: int) -> AbstractContextManager[None]:
        """Return the random streams of metrics and loss: the user's own may draw from them."""
        objective = self._training.objective
        metrics = (objective.metric, *objective.reported)
        if all(metric.task is not None for metric in metrics) and has_built_in_loss(objective):
            return nullcontext()
        return Randomness(self._members[index].seed, self._training.device)


def _figures(metrics: Sequence[Metric], judge: Callable[[Metric], float]) -> dict[str, float]:
    """Return the metrics that can be judged and are finite, by their names in the record."""
    values = {metric.key: _finite_or_none(partial(judge, metric)) for metric in metrics}
    return {key: value for key, value in values.items() if value is not None}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _finite_or_none(judge: Callable[[], float]) -> float | None:
    try:
        return _finite(judge())
    except Exception:
        return None
