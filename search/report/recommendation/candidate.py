"""A judged candidate: what it is called, what it costs, and what is believed of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...sampler.best_candidate import INTERVAL_DEVIATIONS
from ...trial.history import CompletedTrial

KNEE = "knee of the front"
"""Label of the candidate where a little more cost stops to bring much."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The surrogate's posterior of a candidate, in the metric's unit and sign.

    Attributes:
        mean: Metric without the luck of one training.
        deviation: Standard deviation.
    """

    mean: float
    deviation: float

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.mean - INTERVAL_DEVIATIONS * self.deviation

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.mean + INTERVAL_DEVIATIONS * self.deviation

    def to_json(self) -> dict[str, float]:
        """Return mean, deviation and the ends of the interval."""
        return {
            "mean": self.mean,
            "deviation": self.deviation,
            "low": self.low,
            "high": self.high,
        }


@dataclass(frozen=True, kw_only=True)
class JudgedCandidate:
    """A candidate that an answer names, trained or not.

    Attributes:
        label: What it is called: "recommended", "runner-up", a baseline's name.
        widths: Its widths by name.
        trial: Its training; None where it was never trained.
        estimate: What the surrogate believes of it; None while there is no surrogate.
        costs: Costs by name, counted by its own trace; empty where its model is not here.
    """

    label: str
    widths: Mapping[str, int]
    trial: CompletedTrial | None
    estimate: Estimate | None
    costs: Mapping[str, float]

    @property
    def value(self) -> float | None:
        """The validation metric of its training."""
        return self.trial.value if self.trial else None

    def to_json(self, metric: str) -> dict[str, Any]:
        """Return it as JSON; "trial" and what a training tells are null where it has none.

        Args:
            metric: The metric's name.
        """
        trial = self.trial
        return {
            "trial": trial.number if trial else None,
            "origin": str(trial.origin) if trial else None,
            "widths": dict(self.widths),
            "metric": {"name": metric, "value": trial.value if trial else None},
            "test": trial.test if trial else None,
            "reported": dict(trial.reported) if trial else {},
            "estimate": self.estimate.to_json() if self.estimate else None,
            "costs": dict(self.costs),
            "seed": trial.seed if trial else None,
            "constant": trial.constant_score if trial else None,
            "no_better_than_constant": trial.no_better_than_constant if trial else False,
        }
