"""The models that a study's networks are set against: a constant, a linear one, boosted trees.

Entry points: `Reference`, `read_references`, `better_model`; `compare_models` tells better from
level.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import scipy

from ...storage.database.database import Database
from ...storage.ledger.slot import StudyRow
from ...storage.study.reference import read_reference_figures
from ..goal import Goal
from ..trial.history import CompletedTrial

TITLES = {
    "constant": "constant prediction",
    "linear": "linear model",
    "trees": "boosted trees",
}
"""What reference models are called in tables, by their stored names."""


SIGNIFICANT = 0.05
"""Probability by chance below which a difference is one."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a model other than a network reaches on the study's data.

    Attributes:
        name: "constant", "linear" or "trees".
        value: Validation metric, the mean over the folds that candidates are validated with.
        test: Test metric; None without a test split, or while nothing is confirmed.
        scores: Validation metric on each of these folds, draw after draw; empty where unknown.
        ratio: Validation rows a training row of a fold, by which folds that share rows vary more;
            0 where unknown.
    """

    name: str
    value: float
    test: float | None
    scores: Sequence[float] = ()
    ratio: float = 0.0

    @property
    def title(self) -> str:
        """What people call it."""
        return TITLES[self.name]

    def value_on_first(self, folds: int) -> float:
        """Return the mean metric on the first folds; on all of them where these are not known.

        Folds are drawn several times for a search, once for a long training: the first of them.
        """
        is_known = 0 < folds < len(self.scores)
        return statistics.fmean(self.scores[:folds]) if is_known else self.value


def read_references(
    database: Database, row: StudyRow, confirmation: StudyRow | None = None
) -> list[Reference]:
    """Return the reference models of a study; none for a study of an earlier release.

    Args:
        database: Where it is.
        row: The study.
        confirmation: The study that confirms it: with it test figures are known.
    """
    confirmed = confirmation and read_reference_figures(database, confirmation)
    figures = confirmed or read_reference_figures(database, row) or {}
    return [
        Reference(
            name=name,
            value=value,
            test=figure.get("test") if confirmed else None,
            scores=tuple(figure.get("scores", ())),
            ratio=float(figure.get("ratio", 0.0)),
        )
        for name, figure in figures.items()
        if name in TITLES and (value := figure.get("value")) is not None
    ]


def better_model(references: Sequence[Reference], value: float, goal: Goal) -> Reference | None:
    """Return the best reference model where it is better than a network with this metric."""
    if not references:
        return None
    best = max(references, key=lambda reference: goal.sign * reference.value)
    return best if goal.sign * (best.value - value) > 0 else None


@dataclass(frozen=True, kw_only=True)
class ModelComparison:
    """The best other model against the recommended network, on the same validation rows.

    Attributes:
        model: The best of the others.
        value: The network's metric.
        difference: Network less model, in the metric's unit; above 0 the network is better.
        error: Its standard error; None where the figures of the folds are not known.
        p: Two-sided probability of as large a difference by chance; None likewise.
        metric: The metric's name.
    """

    model: Reference
    value: float
    difference: float
    error: float | None
    p: float | None
    metric: str

    @property
    def winner(self) -> str:
        """The name of the better one: "network", "linear", "trees" or "constant"; else "level"."""
        if self.difference == 0 or (self.p is not None and self.p >= SIGNIFICANT):
            return "level"
        return "network" if self.difference > 0 else self.model.name

    def to_json(self) -> dict[str, Any]:
        """Return it as `report.json` holds it."""
        return {
            "name": self.winner,
            "model": self.model.name,
            "network": self.value,
            "value": self.model.value,
            "difference": self.difference,
            "error": self.error,
            "p": self.p,
            "text": self.sentence(),
        }

    def sentence(self) -> str:
        """Return which of the two is better, or that they are level."""
        model, title = self.model, self.model.title
        figures = f"{self.metric} {model.value:.4g}"
        error = "" if self.error is None else f" ± {self.error:.2g} (standard error)"
        gap = f"{abs(self.difference):.2g}{error}"
        if self.winner == "level":
            luck = ", which chance explains" if self.difference else ""
            return (
                f"The recommended network and the {title} are level: {self.metric} "
                f"{self.value:.4g} and {model.value:.4g}, a difference of {gap}{luck}."
            )
        tested = "" if self.p is not None else " (on one validation split, not tested)"
        if self.winner == "network":
            return (
                f"The recommended network is better than the {title} here: {self.metric} "
                f"{self.value:.4g} against {model.value:.4g}, by {gap}{tested}."
            )
        verb = "are" if model.name == "trees" else "is"
        return (
            f"Another model is better here: the {title} {verb}, with {figures} against "
            f"{self.value:.4g} of the recommended network, by {gap}{tested}."
        )


def compare_models(
    references: Sequence[Reference], trial: CompletedTrial, goal: Goal, metric: str
) -> ModelComparison | None:
    """Compare the recommended network with the best of the other models, fold by fold.

    The folds' differences share rows: t = mean / sqrt((1/J + n_v/n_t) s²) with J - 1 degrees of
    freedom, J folds of n_v validation and n_t training rows (Nadeau & Bengio, "Inference for the
    generalization error", Machine Learning 52, 2003, section 3). The network was chosen by these
    rows, the others were not, which favours it a little.

    Args:
        references: The other models.
        trial: The network's.
        goal: Says which of two metrics is better.
        metric: Its name.
    """
    if not references:
        return None
    best = max(references, key=lambda reference: goal.sign * reference.value)
    difference = goal.sign * (trial.value - best.value)
    count, error, p = len(trial.scores), None, None
    if 1 < count == len(best.scores):
        pairs = zip(trial.scores, best.scores, strict=True)
        variance = statistics.variance(network - other for network, other in pairs)
        error = math.sqrt(variance * (1 / count + best.ratio))
        p = 1.0 if difference == 0 else 0.0
        if error > 0:
            p = float(2 * scipy.stats.t.sf(abs(difference) / error, count - 1))
    return ModelComparison(
        model=best, value=trial.value, difference=difference, error=error, p=p, metric=metric
    )
