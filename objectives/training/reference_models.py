"""Models that any network should be set against: a constant, a linear model, boosted trees.

Whoever searches the widths of a network should see when it has learnt nothing, and when trees win.
They are fitted to the training rows of the very folds that candidates are trained on, and judged by
the study's own metric.

Entry point: `judge_reference_models`.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from ..data.dataset import Data, Split, Task
from ..data.split import make_folds
from ..data.streams.source import BatchData
from ..errors import ObjectiveError
from ..model.objective import ModuleObjective, Objective
from .constant import gives_quantities, score_constant
from .evaluate import evaluate_metric

MAX_ROWS = 20_000
"""Training rows that linear model and trees are fitted to at most: a study's start should not wait
for them."""

MAX_FEATURES = 2_000
"""Features of a table beyond which only the constant is judged, likewise."""

MAX_TREES = 400
"""Trees of all classes (target columns) together; scikit-learn's own default is 100 of each."""

_MIN_PROBABILITY = 1e-9
"""Least probability that a prediction is taken to mean."""


@dataclass(frozen=True, kw_only=True)
class ReferenceFigure:
    """What a model reaches on the study's data.

    Attributes:
        value: Validation metric, the mean over folds.
        test: Test metric, likewise; None without a test split, or where nobody asked for it.
        scores: The value on each fold.
        ratio: Validation rows to training rows of a fold.
    """

    value: float
    test: float | None
    scores: tuple[float, ...] = ()
    ratio: float = 0.0


class _Estimator(Protocol):
    """What is used of scikit-learn's estimators."""

    def fit(self, inputs: NDArray[Any], targets: NDArray[Any], /) -> object: ...


_Predictor = Callable[[Tensor], Tensor]
"""Inputs of a split to what a network would give: logits, or quantities."""

_Scorer = Callable[[Split], float]
"""A split to the metric of a fitted model there."""


def judge_reference_models(
    objective: ModuleObjective,
    folds: int,
    widths: Mapping[str, int],
    *,
    repeats: int = 1,
    judge_test: bool = False,
) -> dict[str, ReferenceFigure]:
    """Return what models other than a network reach: "constant", "linear" and "trees".

    The last two are for tables, samples of one axis. What the metric cannot judge is left out. One
    of the user's own may mean other outputs than these models have, and give a figure all the same:
    it is asked for quantities only, where a network's outputs are just these. Data that comes in
    batches is set against no other model.

    Args:
        objective: Data and metric.
        folds: As candidates are validated with.
        widths: A small candidate, which is built and called where the metric is the user's own.
        repeats: Of the folds.
        judge_test: Whether to judge them on the test split, too.
    """
    arrays = objective.data
    if isinstance(arrays, BatchData):
        return {}
    if objective.metric.task is None and not gives_quantities(objective, widths):
        return {}
    figures: dict[str, ReferenceFigure] = {}
    fold_data = make_folds(arrays, folds, repeats)
    for name, fit in _fitters(objective, arrays).items():
        try:
            # Threads of a few hundred rows wait for each other, and on a busy machine do little
            # else: boosted trees took a hundred times as long there.
            with threadpool_limits(limits=1):
                scores = [_judge(data, fit(data), judge_test) for data in fold_data]
            figure = _mean_figure(scores, len(fold_data[0].validation) / len(fold_data[0].train))
        except (ObjectiveError, ValueError, TypeError, RuntimeError):
            continue
        if figure is not None:
            figures[name] = figure
    return figures


def _fitters(objective: Objective, arrays: Data) -> Mapping[str, Callable[[Data], _Scorer]]:
    def scorer(fit: Callable[[Data], _Predictor]) -> Callable[[Data], _Scorer]:
        def fit_to(data: Data) -> _Scorer:
            predict = fit(data)
            return lambda split: evaluate_metric(objective, predict(split.inputs), split.targets)

        return fit_to

    constant = {"constant": lambda data: partial(score_constant, objective, data)}
    train = arrays.train
    is_table = train.inputs.ndim == 2 and train.inputs.is_floating_point()
    has_plain_targets = (
        train.targets.ndim == 1 and not train.targets.is_floating_point()
        if arrays.task == Task.CLASSIFICATION
        else train.targets.ndim <= 2
    )
    if not is_table or not has_plain_targets or train.inputs.shape[1] > MAX_FEATURES:
        return constant
    return {**constant, "linear": scorer(_fit_linear), "trees": scorer(_fit_trees)}


def _judge(data: Data, score: _Scorer, judge_test: bool) -> tuple[float, float | None]:
    return score(data.validation), score(data.test) if judge_test and len(data.test) else None


def _mean_figure(
    scores: Iterable[tuple[float, float | None]], ratio: float
) -> ReferenceFigure | None:
    values, tests = zip(*scores, strict=True)
    if not all(map(math.isfinite, values)):
        return None
    has_test = all(test is not None and math.isfinite(test) for test in tests)
    return ReferenceFigure(
        value=fmean(values),
        test=fmean(tests) if has_test else None,
        scores=tuple(values),
        ratio=ratio,
    )


def _fit_linear(data: Data) -> _Predictor:
    """Return a logistic or a ridge regression; the features are standardised already."""
    from sklearn.linear_model import LogisticRegression, RidgeCV

    if data.task == Task.CLASSIFICATION:
        return _classifier(LogisticRegression(max_iter=1_000), data)
    return _regressor(RidgeCV(alphas=np.logspace(-2, 4, 13)), data)


def _fit_trees(data: Data) -> _Predictor:
    """Return histogram gradient boosting."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.multioutput import MultiOutputRegressor

    # Two classes take one tree a round, more of them one each.
    trees_per_round = 1 if data.classes is not None and data.outputs == 2 else data.outputs
    rounds = max(10, min(100, MAX_TREES // trees_per_round))
    if data.task == Task.CLASSIFICATION:
        return _classifier(HistGradientBoostingClassifier(max_iter=rounds, random_state=0), data)
    trees = HistGradientBoostingRegressor(max_iter=rounds, random_state=0)
    return _regressor(trees if data.train.targets.ndim == 1 else MultiOutputRegressor(trees), data)


def _classifier(estimator: Any, data: Data) -> _Predictor:
    """Fit a classifier; return its log-probabilities of all classes."""
    _fit(estimator, data)

    def predict(inputs: Tensor) -> Tensor:
        known = torch.from_numpy(estimator.predict_proba(_array(inputs))).float()
        probabilities = torch.zeros(len(inputs), data.outputs)
        probabilities[:, torch.from_numpy(estimator.classes_)] = known
        return probabilities.clamp_min(_MIN_PROBABILITY).log()

    return predict


def _regressor(estimator: Any, data: Data) -> _Predictor:
    """Fit a regressor; return its predictions, in the unit of the data set's targets."""
    _fit(estimator, data)
    return lambda inputs: torch.from_numpy(
        np.asarray(estimator.predict(_array(inputs)), dtype=np.float32)
    )


def _fit(estimator: _Estimator, data: Data) -> None:
    inputs, targets = data.train.inputs, data.train.targets
    if len(inputs) > MAX_ROWS:
        rows = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))[:MAX_ROWS]
        inputs, targets = inputs[rows], targets[rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a regression that has not converged to the last digit
        estimator.fit(_array(inputs), _array(targets))


def _array(values: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = values.cpu().numpy()
    return array
