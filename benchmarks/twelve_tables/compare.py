"""A network against scikit-learn's models on the same rows, over several splits of a table.

Each split is another seed of the product's own division into training, validation and test. The
network is trained as a candidate of a study is, from seeds that no study used; the other models are
fitted by scikit-learn directly to the training rows of the same folds. All are judged on the same
test rows, by scikit-learn's own accuracy or R².

Entry points: `compare`, `corrected_test`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from widthwise.objectives.data.dataset import Data, Task
from widthwise.objectives.data.split import make_folds
from widthwise.objectives.engines.registry import ENGINES
from widthwise.objectives.loop.train import train
from widthwise.search.problem.problem import Problem
from widthwise.search.spec.from_data import sections_from_data
from widthwise.search.spec.spec import parse_spec

FIRST_SEED = 1_000
"""Of the trainings: none that a search used. The splits have the seeds from 0 up."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A mean difference over splits that share rows.

    Attributes:
        mean: Of the differences.
        error: Its standard error, corrected.
        p: Two-sided probability of one as large by chance.
    """

    mean: float
    error: float
    p: float


def corrected_test(differences: NDArray[np.float64], ratio: float) -> Difference:
    """Return the corrected resampled t-test.

    t = mean / sqrt((1/J + n_test/n_train) s²), with J - 1 degrees of freedom (Nadeau & Bengio,
    "Inference for the generalization error", Machine Learning 52, 2003, section 3).

    Args:
        differences: One for each of J splits.
        ratio: Test rows to training rows.
    """
    count, mean = len(differences), float(differences.mean())
    error = math.sqrt(float(differences.var(ddof=1)) * (1 / count + ratio))
    if error == 0.0:
        return Difference(mean=mean, error=0.0, p=1.0 if mean == 0.0 else 0.0)
    return Difference(mean=mean, error=error, p=float(2 * stats.t.sf(abs(mean) / error, count - 1)))


def compare(path: Path, target: str, widths: Mapping[str, int], splits: int) -> dict[str, Any]:
    """Return test figures of all models, and the network's difference from each of the others."""
    scores: dict[str, list[float]] = {"network": [], "linear": [], "trees": []}
    ratio = 0.0
    for split in range(splits):
        sections = sections_from_data(str(path), family="mlp", target=target)
        sections["study"]["seed"] = split
        # As many rows as the default trains on, whose repeats only lower a study's noise.
        sections["proxy"]["repeats"] = 1
        problem = Problem.load(parse_spec(sections), Path(), judge_test=True)
        result = train(
            problem.objective,
            widths,
            problem.settings,
            seed=FIRST_SEED + split,
            engine=ENGINES["dense"].create(),
            parametrisation=problem.parametrisation,
        )
        assert result.test_value is not None
        scores["network"].append(result.test_value)
        folds = make_folds(problem.objective.data, problem.settings.folds)
        for name in ("linear", "trees"):
            scores[name].append(float(np.mean([_score(name, fold) for fold in folds])))
        ratio = len(folds[0].test) / len(folds[0].train)
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    network = np.array(scores["network"])
    against = {
        name: vars(corrected_test(network - np.array(scores[name]), ratio))
        for name in ("linear", "trees")
    }
    return {"test": means, "against": against, "splits": scores}


def _score(name: str, fold: Data) -> float:
    """Return scikit-learn's own score on the test rows of a model fitted to the training rows."""
    classes = fold.task == Task.CLASSIFICATION
    models: dict[str, Any] = {
        "linear": LogisticRegression(max_iter=5_000)
        if classes
        else RidgeCV(alphas=np.logspace(-3, 4, 15)),
        "trees": HistGradientBoostingClassifier(random_state=0)
        if classes
        else HistGradientBoostingRegressor(random_state=0),
    }
    model = models[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(fold.train.inputs.numpy(), fold.train.targets.numpy())
    return float(model.score(fold.test.inputs.numpy(), fold.test.targets.numpy()))
