"""The view: what figures and pages show of a study, whatever part of a report found it.

Entry point: `StudyView`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ....objectives.cost.registry import COSTS
from ....storage.ledger.slot import widths_key
from ...goal import Goal, GoalKind
from ...space.feasible_set import stack_rows
from ...surrogate.blas_threads import single_blas_thread
from ...trial.history import CompletedTrial
from ..evidence import StudyEvidence
from ..recommendation.candidate import JudgedCandidate
from ..reference import Reference
from ..summary import StudySummary

INTERVAL = 1.96
"""Standard deviations on either side of the mean that hold 95 % of a normal distribution."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One network that a figure points at.

    Attributes:
        label: What it is called: "recommended", "largest that fits".
        widths: Its widths.
        value: Validation metric that was observed; None where it was not trained.
        mean: The surrogate's mean of the metric; None where there is no surrogate.
        deviation: Standard deviation of that.
        test: Test metric; None where it is not known.
        costs: Costs by name.
        number: Of its trial; None where it was not trained.
    """

    label: str
    widths: Mapping[str, int]
    value: float | None
    mean: float | None
    deviation: float | None
    test: float | None
    costs: Mapping[str, float]
    number: int | None

    @property
    def height(self) -> float | None:
        """The metric at which it is drawn: as observed, or else as the surrogate expects it."""
        return self.mean if self.value is None else self.value


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyView:
    """A study as its figures see it.

    Attributes:
        evidence: All that it has found.
        summary: What was made of it.
    """

    evidence: StudyEvidence
    summary: StudySummary

    @property
    def goal(self) -> Goal:
        """What was looked for."""
        return self.summary.goal

    @property
    def metric(self) -> str:
        """The metric's name."""
        return self.summary.metric

    @property
    def metric_axis(self) -> str:
        """The title of an axis of the metric."""
        return f"validation {self.metric} ({self.better} is better)"

    @property
    def better(self) -> str:
        """Which metric is better: "higher" or "lower"."""
        return "higher" if self.goal.sign > 0 else "lower"

    @property
    def trials(self) -> Sequence[CompletedTrial]:
        """The completed trials, by number."""
        return self.summary.trials

    @property
    def references(self) -> Sequence[Reference]:
        """Models other than a network, on the same splits."""
        return self.summary.references

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The trials' validation metrics, [n]."""
        return np.asarray([trial.value for trial in self.trials], dtype=np.float64)

    @cached_property
    def beliefs(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """The surrogate's means and deviations of the trials' metrics, [n]; None without one."""
        if self.evidence.posterior is None:
            return None
        space = self.evidence.space
        rows = stack_rows([space.as_row(trial.widths) for trial in self.trials], space)
        mean, deviation = self.predict(rows)
        return mean, deviation

    @single_blas_thread()
    def predict(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return means and deviations of the metric of candidates, [n, d], in its own sign."""
        posterior = self.evidence.posterior
        assert posterior is not None
        mean, deviation = posterior.metric.predict(self.evidence.space.encode(rows))
        return self.goal.sign * mean, deviation

    @cached_property
    def span(self) -> tuple[float, float]:
        """Least and greatest metric that figures show.

        Trials that learnt nothing would press all others into one line: what lies more than three
        interquartile ranges outside the quartiles (Tukey's far out, 1977) is left out, and so is
        a reference model further away than the trials are wide.
        """
        low, high = np.quantile(self.values, [0.25, 0.75])
        reach = 3.0 * (high - low) or np.inf
        shown = [value for value in self.values if low - reach <= value <= high + reach]
        marked = [self.recommended, self.best_observed, *self.baselines]
        shown += [entry.value for entry in marked if entry is not None and entry.value is not None]
        least, greatest = min(shown), max(shown)
        width = (greatest - least) or abs(greatest) * 0.1 or 0.1
        near = [
            reference.value
            for reference in self.references
            if least - width <= reference.value <= greatest + width
        ]
        return min([least, *near]), max([greatest, *near])

    def outside(self, value: float) -> str | None:
        """Return on which side of the shown metrics a value lies; None where it is shown."""
        low, high = self.span
        return "below" if value < low else "above" if value > high else None

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """Indices of the trials from the best to the worst; of equals the earlier one first."""
        return np.argsort(-self.goal.sign * self.values, kind="stable")

    @cached_property
    def limits(self) -> dict[str, float]:
        """The limits by the name of their cost."""
        known = {cost.name for cost in COSTS}
        return {name: bound for name, bound in self.summary.limits.items() if name in known}

    @cached_property
    def cost(self) -> str:
        """The cost that quality is drawn against: the goal's, else the first that is limited."""
        if self.goal.kind is not GoalKind.BEST:
            return self.goal.cost
        return next(iter(self.limits), "parameters")

    @cached_property
    def drawn_costs(self) -> list[str]:
        """The costs that the trials have, limited ones first."""
        counted = {name for trial in self.trials for name in trial.costs}
        names = [*self.limits, self.cost, "parameters", "flops", "train_memory"]
        return [name for name in dict.fromkeys(names) if name in counted]

    @property
    def verdict_word(self) -> str:
        """The verdict in a word or two."""
        return str(self.summary.verdict)

    @property
    def verdict_text(self) -> str:
        """The verdict in a sentence."""
        return self.summary.verdict_text

    @cached_property
    def recommended(self) -> Candidate | None:
        """The network to take, by its confirmation or the search; None while there is none."""
        taken = self.summary.recommended
        return None if taken is None else _drawn(taken)

    @property
    def recommended_title(self) -> str:
        """What the network to take is called: by what a confirmation chose, else "recommended"."""
        confirmation = self.summary.confirmation
        if self.summary.is_pick_recommended or confirmation is None or confirmation.chosen is None:
            return "recommended"
        return confirmation.chosen.title

    @cached_property
    def best_observed(self) -> Candidate | None:
        """The best observed trial, its luck included."""
        answer = self.summary.recommendation
        return None if answer is None else _drawn(answer.best_observed)

    @cached_property
    def baselines(self) -> list[Candidate]:
        """The baselines, trained or not; one network that is several of them is there once."""
        names: dict[str, list[str]] = {}
        judged: dict[str, JudgedCandidate] = {}
        for name, candidate in self.summary.baselines.items():
            key = widths_key(candidate.widths)
            names.setdefault(key, []).append(name)
            judged[key] = candidate
        return [
            replace(_drawn(candidate), label=" = ".join(names[key]))
            for key, candidate in judged.items()
        ]

    @cached_property
    def front(self) -> list[CompletedTrial]:
        """The trials that no other beats in both the metric and the drawn cost, cheapest first."""
        from ...goal import pareto_front

        trials = [trial for trial in self.trials if self.cost in trial.costs]
        if not trials:
            return []
        cost = np.asarray([trial.costs[self.cost] for trial in trials], dtype=np.float64)
        signed = np.asarray([self.goal.sign * trial.value for trial in trials])
        return [trials[index] for index in pareto_front(cost, signed)]


def _drawn(judged: JudgedCandidate) -> Candidate:
    estimate, trial = judged.estimate, judged.trial
    return Candidate(
        label=judged.label,
        widths=judged.widths,
        value=judged.value,
        mean=None if estimate is None else estimate.mean,
        deviation=None if estimate is None else estimate.deviation,
        test=None if trial is None else trial.test,
        costs=judged.costs,
        number=None if trial is None else trial.number,
    )
