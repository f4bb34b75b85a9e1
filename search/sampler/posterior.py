"""The posterior under constraints: a candidate's metric, and whether it is likely to be feasible.

The metric comes from the surrogate. Limits that can only be measured (latency, say), and trainings
that failed, each have a surrogate of their own; the probability that a candidate is feasible is the
product of theirs. Source: Gardner et al., Bayesian Optimization with Inequality Constraints (2014).

Entry points: `fit_posterior`, `ConstrainedPosterior`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from ..space.feasible_set import FeasibleSet
from ..space.neighbourhood import Candidates
from ..space.space import Space
from ..surrogate.model_average import ModelAveragePosterior, fit_model_average
from ..surrogate.observations import Floats
from .history import History

FEASIBILITY_THRESHOLD = 0.5
"""Least probability of keeping every measured limit with which a candidate counts as feasible."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ConstrainedPosterior:
    """The posterior of candidates, given by encoded columns (widths, then companions).

    Attributes:
        metric: The metric, higher is better.
        outcome_constraints: Each measured limit, and failure: at most 0 is feasible.
        train_inputs: Encoded candidates with a metric, and pending ones after `condition_on`,
            [n, columns].
    """

    metric: ModelAveragePosterior
    outcome_constraints: Sequence[ModelAveragePosterior]
    train_inputs: Floats

    def condition_on(self, pending: Floats) -> ConstrainedPosterior:
        """Return the posterior if trainings that still run, [m, columns], come out as expected."""
        if not len(pending):
            return self
        return replace(
            self,
            metric=self.metric.condition_on(pending),
            train_inputs=np.vstack([self.train_inputs, pending]),
        )

    def log_probability_feasible(self, encoded: Floats) -> Floats:
        """Return the logarithm of the probability that each candidate is feasible, [n]."""
        log_probability = np.zeros(len(encoded))
        for constraint in self.outcome_constraints:
            log_probability += constraint.log_mixture(_log_probability_negative, encoded)
        return log_probability

    def is_probably_feasible(self, encoded: Floats) -> NDArray[np.bool_]:
        """Return which candidates are more likely feasible than not, [n]."""
        return np.asarray(self.log_probability_feasible(encoded) > np.log(FEASIBILITY_THRESHOLD))


def _log_probability_negative(mean: Floats, deviation: Floats) -> Floats:
    """Return the logarithm of the probability of at most 0, [n]."""
    return np.asarray(log_ndtr(-mean / deviation))


def fit_posterior(space: Space, history: History) -> ConstrainedPosterior:
    """Return the posterior after a history with at least one metric."""
    train_inputs = encode_candidates(space, history.observed, history.encoded_companions)
    width_count = space.dimensions
    outcome_constraints = []
    for violations in () if history.constraint_values is None else history.constraint_values.T:
        is_measured = np.isfinite(violations)
        if is_measured.any():
            outcome_constraints.append(
                fit_model_average(
                    train_inputs[is_measured], violations[is_measured], width_count=width_count
                )
            )
    if len(history.failed) and history.encoded_companions is None:
        inputs_with_failed = np.vstack([train_inputs, space.encode(history.failed)])
        failure_labels = np.concatenate([-np.ones(len(train_inputs)), np.ones(len(history.failed))])
        outcome_constraints.append(
            fit_model_average(inputs_with_failed, failure_labels, width_count=width_count)
        )
    return ConstrainedPosterior(
        metric=fit_model_average(
            train_inputs, history.values, width_count=width_count, fidelity=history.fidelity
        ),
        outcome_constraints=outcome_constraints,
        train_inputs=train_inputs,
    )


def encode_candidates(
    space: Space | FeasibleSet, candidates: Candidates, encoded_companions: Floats | None
) -> Floats:
    """Return the surrogate's columns, [n, columns]: encoded widths, then companions if any."""
    encoded = space.encode(candidates)
    return encoded if encoded_companions is None else np.hstack([encoded, encoded_companions])
