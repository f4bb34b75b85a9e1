"""A study as a recommendation looks at it: candidates by their widths, described and compared.

Entry point: `JudgedStudy`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...goal import Goal, GoalKind, cheapest_index, meets_target
from ...sampler.baselines import AGREEING_NAMES
from ...sampler.best_candidate import AnswerPool, answer_pool, judged_moments
from ...sampler.history import History
from ...sampler.posterior import ConstrainedPosterior
from ...space.feasible_set import FeasibleSet, stack_rows
from ...space.limits import Limits
from ...space.neighbourhood import hash_rows
from ...space.space import Space
from ...surrogate.difference import DifferencePosterior, difference_posteriors
from ...surrogate.observations import Floats
from ...trial.history import CompletedTrial
from .candidate import Estimate, JudgedCandidate

CostCounter = Callable[[Mapping[str, int]], Mapping[str, float]]
"""Widths by name → exact costs by name."""
Widths = Mapping[str, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedStudy:
    """A study with at least one completed trial.

    Attributes:
        space: The lattice.
        goal: What was looked for.
        trials: The completed trials.
        history: All trials, the failed ones among them, as the sampler sees them.
        feasible: All that could have been tried.
        posterior: As fitted to the history; None while there are too few trials.
        baselines: Widths of the plain baselines by name.
        count_costs: Counts the costs of untried candidates exactly; None to forecast them.
    """

    space: Space
    goal: Goal
    trials: Sequence[CompletedTrial]
    history: History
    feasible: FeasibleSet
    posterior: ConstrainedPosterior | None
    baselines: Mapping[str, Widths]
    count_costs: CostCounter | None

    @cached_property
    def values(self) -> Floats:
        """The observed metrics, signed so that higher is better, [n]."""
        return np.asarray([self.goal.sign * trial.value for trial in self.trials])

    @cached_property
    def best_observed(self) -> CompletedTrial:
        """The best trial for the goal as it was measured, its luck included."""
        index = None
        if self.goal.kind is GoalKind.SMALLEST and self.goal.target is not None:
            costs = [trial.costs.get(self.goal.cost, 0) for trial in self.trials]
            qualified = meets_target(self.values, self.goal)
            index = cheapest_index(qualified, self.values, np.asarray(costs, dtype=np.float64))
        return self.trials[int(np.argmax(self.values)) if index is None else index]

    @cached_property
    def noise(self) -> float | None:
        """Standard deviation of one training around the surface."""
        return self.posterior.metric.noise_deviation if self.posterior else None

    @cached_property
    def pool(self) -> AnswerPool:
        """The candidates that may be the answer; only with a posterior."""
        assert self.posterior is not None
        return answer_pool(self.feasible, self.goal, self.history, self.posterior)

    @cached_property
    def pool_costs(self) -> Floats:
        """What the goal makes small, of the pool's candidates, [n]."""
        costs = self.feasible.cost_function(self.pool.rows)
        return np.asarray(costs[self.goal.cost], dtype=np.float64)

    @cached_property
    def eligible_baselines(self) -> dict[str, Widths]:
        """The baselines that may be the answer: they keep all limits, and have not failed."""
        return {
            name: widths
            for name, widths in self.baselines.items()
            if self.space.explain(widths) is None
            and (self._is_trained(widths) or self._is_feasible(widths))
            and not self.history.is_excluded(self._row(widths)[None, :])[0]
        }

    @cached_property
    def estimates(self) -> dict[int, Estimate]:
        """The surrogate's posterior by trial number; empty without a surrogate.

        Trials that fell far behind the rest have none: the surrogate knows them as bad, and not how
        bad they are (`Standardisation.floor`).
        """
        if self.posterior is None:
            return {}
        floor = self.posterior.metric.standardisation.floor
        rows = stack_rows([self._row(trial.widths) for trial in self.trials], self.space)
        mean, deviation = self._moments(rows)
        return {
            trial.number: Estimate(mean=self.goal.sign * float(m), deviation=float(s))
            for trial, m, s in zip(self.trials, mean, deviation, strict=True)
            if self.goal.sign * trial.value >= floor
        }

    def estimate(self, widths: Widths) -> Estimate | None:
        """Return what is believed of a candidate, also one beside the lattice; None if nothing."""
        if self.posterior is None or set(widths) != set(self.space.names):
            return None
        row = np.asarray([[widths[name] for name in self.space.names]])
        mean, deviation = self._moments(row)
        return Estimate(mean=self.goal.sign * float(mean[0]), deviation=float(deviation[0]))

    def describe(self, label: str, widths: Widths) -> JudgedCandidate:
        """Return a candidate with its training, its estimate and its exact costs."""
        trial = self._trial_by_widths.get(_key(widths))
        costs: Mapping[str, float]
        if trial is not None:
            costs = trial.costs
        elif self.count_costs is not None:
            costs = self.count_costs(widths)
        elif self.space.explain(widths) is None:
            forecast = self.feasible.cost_function(self._row(widths)[None, :])
            costs = {name: int(values[0]) for name, values in forecast.items()}
        else:
            costs = {}
        return JudgedCandidate(
            label=label,
            widths=dict(widths),
            trial=trial,
            estimate=self.estimates.get(trial.number) if trial else self.estimate(widths),
            costs=dict(costs),
        )

    def differences(
        self, candidates: Sequence[Widths], reference: Widths
    ) -> list[DifferencePosterior]:
        """Return how much better each candidate is than a reference, higher being better."""
        rows = stack_rows([self._row(widths) for widths in candidates], self.space)
        return difference_posteriors(
            self.space.encode(self.history.observed),
            self.history.values,
            self.space.encode(rows),
            self.space.encode(self._row(reference)),
            fidelity=self.history.fidelity,
        )

    def _moments(self, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the metric of candidates, higher being better."""
        assert self.posterior is not None
        return judged_moments(self.posterior, self.history, self.space.encode(rows))

    @cached_property
    def _trial_by_widths(self) -> dict[tuple[tuple[str, int], ...], CompletedTrial]:
        return {_key(trial.widths): trial for trial in self.trials}

    def _is_trained(self, widths: Widths) -> bool:
        return _key(widths) in self._trial_by_widths

    def _is_feasible(self, widths: Widths) -> bool:
        row = self._row(widths)
        return bool(self.feasible.is_feasible(row[None, :])[0]) and self.feasible.confirms(row)

    def _row(self, widths: Widths) -> NDArray[np.int64]:
        return np.asarray(self.space.as_row(widths))


def trained_set(space: Space, trials: Sequence[CompletedTrial]) -> FeasibleSet:
    """Return the candidates that were trained as a feasible set, for a model that is not here.

    Their costs are those of the trials; what was not trained has none.
    """
    rows = stack_rows([space.as_row(trial.widths) for trial in trials], space)
    hashes = hash_rows(rows)
    order = np.argsort(hashes)
    known = hashes[order]
    names = {name for trial in trials for name in trial.costs}
    table = {
        name: np.asarray([trial.costs.get(name, 0) for trial in trials])[order] for name in names
    }

    def cost(candidates: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        wanted = hash_rows(candidates)
        if not np.isin(wanted, known).all():
            return {}
        indices = np.searchsorted(known, wanted)
        return {name: values[indices] for name, values in table.items()}

    return FeasibleSet.from_candidates(space, Limits(), cost, rows)


def trained_baselines(trials: Sequence[CompletedTrial]) -> dict[str, Widths]:
    """Return the widths of the baselines among the trials, by each of their names."""
    return {
        name: trial.widths
        for trial in trials
        if trial.origin.is_baseline
        for name in trial.origin.text.split(AGREEING_NAMES)
    }


def _key(widths: Widths) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(widths.items()))
