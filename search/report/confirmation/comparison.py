"""Paired comparisons: by how much one contender is better than another, seed by seed.

Trainings of the same seed share the split of the data and its order, so their difference has less
noise than either. Entry points: `Comparison`, `compare`, `ConfirmedValues`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...goal import Goal
from .confirmed_run import ConfirmedRun
from .contender import Contender
from .sequential import GAIN_ERROR, SUFFICIENCY_ERROR, MeanInterval, critical_value
from .sequential import repeated_interval as interval


@dataclass(frozen=True, kw_only=True)
class RaceRules:
    """How long a race goes on.

    Attributes:
        first_seeds: Seeds that every contender gets.
        most_seeds: Seeds that one gets at most.
    """

    first_seeds: int = 5
    most_seeds: int = 10

    def mean_interval(
        self, values: Sequence[float], error: float, threshold: float | None = None
    ) -> MeanInterval:
        """Return the mean of values with the interval that holds at every look.

        Args:
            values: One for each seed.
            error: Two-sided error of all looks together.
            threshold: What the mean is judged against; None for nothing.
        """
        return interval(
            values,
            first=self.first_seeds,
            most=self.most_seeds,
            error=error,
            threshold=threshold,
        )


_MIN_MEDIAN_GROUPS = 3
_MEDIAN_EFFICIENCY = 2 / math.pi  # of a median against a mean, of normal values


@dataclass(frozen=True, kw_only=True)
class Margin:
    """How much worse "as good" may be: one standard deviation between seeds, itself an estimate.

    Attributes:
        size: In the metric's unit.
        error: Standard error of the size, size / √(2 ν) for ν degrees of freedom; of a median, ν is
            those of all contenders times its efficiency.
    """

    size: float
    error: float


@dataclass(frozen=True, kw_only=True)
class ConfirmedValues:
    """The metrics of a confirmation by contender and seed, higher being better.

    Attributes:
        goal: Gives the sign.
        rules: Of the race.
        validation: Signed validation metrics by contender's key and seed index.
        test: Signed test metrics, the same way.
        tried: Seed indices that were trained, whatever came of it, by contender's key.
    """

    goal: Goal
    rules: RaceRules
    validation: Mapping[str, Mapping[int, float]]
    test: Mapping[str, Mapping[int, float]]
    tried: Mapping[str, frozenset[int]] = field(default_factory=dict)

    @classmethod
    def from_runs(
        cls, runs: Sequence[ConfirmedRun], goal: Goal, rules: RaceRules
    ) -> ConfirmedValues:
        """Return the metrics of trainings, those that failed left out."""
        validation: dict[str, dict[int, float]] = {}
        test: dict[str, dict[int, float]] = {}
        tried: dict[str, frozenset[int]] = {}
        for run in runs:
            tried[run.key] = tried.get(run.key, frozenset()) | {run.seed_index}
            if run.value is not None and math.isfinite(run.value):
                validation.setdefault(run.key, {})[run.seed_index] = goal.sign * run.value
                if run.test is not None and math.isfinite(run.test):
                    test.setdefault(run.key, {})[run.seed_index] = goal.sign * run.test
        return cls(goal=goal, rules=rules, validation=validation, test=test, tried=tried)

    def of(self, contender: Contender) -> list[float]:
        """Return a contender's signed validation metrics."""
        return list(self.validation.get(contender.key, {}).values())

    def test_of(self, contender: Contender) -> list[float]:
        """Return a contender's signed test metrics."""
        return list(self.test.get(contender.key, {}).values())

    def mean(self, contender: Contender) -> float:
        """Return a contender's mean signed validation metric; −∞ where it has none."""
        values = self.of(contender)
        return float(np.mean(values)) if values else -math.inf

    @property
    def freedom(self) -> int:
        """Degrees of freedom of `seed_deviation`."""
        return sum(len(values) - 1 for values in self.validation.values())

    def seed_deviation(self) -> float | None:
        """Return the standard deviation between seeds, pooled over contenders; None if unknown.

        The square root of the mean of the variances, weighed by their degrees of freedom.
        """
        if self.freedom < 1:
            return None
        groups = [np.asarray(list(values.values())) for values in self.validation.values()]
        squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
        return math.sqrt(squares / self.freedom)

    def margin(self) -> Margin:
        """Return how much worse "as good" may be; nothing while no deviation is known.

        Of three contenders and more it is the median of their variances, each over the median of
        χ²/ν (Wilson and Hilferty, 1931): one whose trainings collapse now and then scatters many
        times as much, and must not make everybody as good as everybody.
        """
        groups = [list(values.values()) for values in self.validation.values() if len(values) > 1]
        if len(groups) < _MIN_MEDIAN_GROUPS:
            deviation, freedom = self.seed_deviation(), float(self.freedom)
        else:
            variances = [
                float(np.var(group, ddof=1)) / (1 - 2 / (9 * (len(group) - 1))) ** 3
                for group in groups
            ]
            deviation = math.sqrt(float(np.median(variances)))
            freedom = _MEDIAN_EFFICIENCY * self.freedom
        if deviation is None:
            return Margin(size=0.0, error=0.0)
        return Margin(size=deviation, error=deviation / math.sqrt(2.0 * freedom))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How much better one contender is than another; differences are signed, positive is better.

    Attributes:
        challenger: The one.
        reference: The other.
        difference: Of the validation metric, the interval that a gain is judged by.
        sufficiency: The same, with the interval that "as good" is judged by.
        test: Of the test metric; None without one.
        rules: Of the race.
    """

    challenger: Contender
    reference: Contender
    difference: MeanInterval
    sufficiency: MeanInterval
    test: MeanInterval | None
    rules: RaceRules

    @property
    def is_gain(self) -> bool:
        """Whether the challenger is better, beyond doubt."""
        return self.difference.low > 0

    @property
    def is_loss(self) -> bool:
        """Whether it is worse, beyond doubt."""
        return self.difference.high < 0

    @property
    def is_hopeless(self) -> bool:
        """Whether more seeds are not going to show a gain.

        So it is where a gain of one standard error more than is measured would, with the same
        spread, not be shown by the last seed. That may end a race early but never claims a gain,
        so it leaves the error rate alone (non-binding futility, Jennison and Turnbull §4.2).
        """
        return is_hopeless_above(self.difference, 0.0, GAIN_ERROR, self.rules)

    def is_as_good(self, margin: Margin) -> bool:
        """Return whether the challenger is worse by less than a margin, beyond doubt.

        Where no seed moves any metric the margin is 0, and only what is level is as good.
        """
        return self._against(margin).low >= 0

    def is_hopelessly_worse(self, margin: Margin) -> bool:
        """Return whether more seeds are not going to show that it is as good."""
        return not self.is_as_good(margin) and is_hopeless_above(
            self._against(margin), 0.0, SUFFICIENCY_ERROR, self.rules
        )

    def _against(self, margin: Margin) -> MeanInterval:
        """Return difference + margin with its interval.

        The mean of normal values and their spread are independent, so the variances add.
        """
        own = self.sufficiency
        if not math.isfinite(own.half_width):
            return replace(own, mean=own.mean + margin.size)
        critical = critical_value(
            own.count,
            first=self.rules.first_seeds,
            most=self.rules.most_seeds,
            error=SUFFICIENCY_ERROR,
        )
        return replace(
            own,
            mean=own.mean + margin.size,
            error=math.hypot(own.error, margin.error),
            half_width=math.hypot(own.half_width, critical * margin.error),
        )

    @property
    def contradicts(self) -> bool:
        """Whether the test split says the opposite, beyond doubt, of a gain or a loss."""
        if self.test is None:
            return False
        return (self.is_gain and self.test.high < 0) or (self.is_loss and self.test.low > 0)

    def to_json(self, sign: float) -> dict[str, Any]:
        """Return the comparison in JSON values; differences in the metric's own sign."""
        return {
            "of": self.challenger.label,
            "with": self.reference.label,
            "seeds": self.difference.count,
            **interval_json(self.difference, sign),
            "test": None if self.test is None else interval_json(self.test, sign),
        }


def interval_json(mean_interval: MeanInterval, sign: float) -> dict[str, Any]:
    """Return difference and interval in JSON values, null where there is no interval yet."""
    finite = math.isfinite(mean_interval.half_width)
    ends = sorted((sign * mean_interval.low, sign * mean_interval.high)) if finite else (None, None)
    return {"difference": sign * mean_interval.mean, "low": ends[0], "high": ends[1]}


def is_hopeless_above(
    mean_interval: MeanInterval, threshold: float, error: float, rules: RaceRules
) -> bool:
    """Return whether more seeds are not going to show a mean above a threshold."""
    if mean_interval.count >= rules.most_seeds:
        return not mean_interval.low > threshold
    if mean_interval.count < 2:
        return False
    optimistic = mean_interval.mean + mean_interval.error - threshold
    last_error = mean_interval.error * math.sqrt(mean_interval.count / rules.most_seeds)
    critical = critical_value(
        rules.most_seeds, first=rules.first_seeds, most=rules.most_seeds, error=error
    )
    return optimistic <= critical * last_error


def compare(
    values: ConfirmedValues, challenger: Contender, reference: Contender
) -> Comparison | None:
    """Compare two contenders over the seeds that both have; None without a common one."""
    rules = values.rules
    differences = _paired(values.validation, challenger, reference)
    if not differences:
        return None
    test = _paired(values.test, challenger, reference)
    return Comparison(
        challenger=challenger,
        reference=reference,
        difference=rules.mean_interval(differences, GAIN_ERROR, 0.0),
        sufficiency=rules.mean_interval(differences, SUFFICIENCY_ERROR, 0.0),
        test=rules.mean_interval(test, GAIN_ERROR, 0.0) if test else None,
        rules=rules,
    )


def _paired(
    values: Mapping[str, Mapping[int, float]], challenger: Contender, reference: Contender
) -> list[float]:
    ours, theirs = values.get(challenger.key, {}), values.get(reference.key, {})
    return [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
