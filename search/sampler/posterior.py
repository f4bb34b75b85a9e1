"""The belief: what a history makes one believe of any candidate, its metric and whether it will do.

The metric comes from the surrogate. Limits that can only be measured (latency, say), and trainings
that failed, each have a surrogate of their own; the chance that a candidate keeps them all is the
product of theirs. Source: Gardner et al., Bayesian Optimization with Inequality Constraints (2014).

Entry points: `fit_posterior`, `ConstrainedPosterior`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, logsumexp

from ..space.feasible_set import Candidates, FeasibleSet
from ..space.space import Space
from ..surrogate.model_average import ModelAveragePosterior, fit_model_average
from ..surrogate.observations import Floats
from .history import History

FEASIBILITY_THRESHOLD = 0.5
"""Least chance of keeping every measured limit with which a candidate counts as fit to use."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ConstrainedPosterior:
    """What is believed of candidates, given by encoded columns (widths, then companions).

    Attributes:
        metric: The metric, higher is better.
        outcome_constraints: Each measured limit: at most 0 keeps it.
        train_inputs: Encoded candidates with a metric, and pending ones once `condition_on` them, [n, columns].
    """

    metric: ModelAveragePosterior
    outcome_constraints: Sequence[ModelAveragePosterior]
    train_inputs: Floats

    def condition_on(self, pending: Floats) -> ConstrainedPosterior:
        """The belief if trainings that still run come out as expected, [m, columns]."""
        if not len(pending):
            return self
        return ConstrainedPosterior(
            metric=self.metric.condition_on(pending),
            outcome_constraints=self.outcome_constraints,
            train_inputs=np.vstack([self.train_inputs, pending]),
        )

    def log_probability_feasible(self, encoded: Floats) -> Floats:
        """Logarithm of the chance that each candidate keeps every measured limit, [n]."""
        log_probability = np.zeros(len(encoded))
        for constraint in self.outcome_constraints:
            component_terms = [
                weight + log_ndtr(-mean / np.maximum(deviation, 1e-12))
                for weight, mean, deviation in constraint.mixture_components(encoded)
            ]
            log_probability += logsumexp(np.array(component_terms), axis=0)
        return log_probability

    def is_probably_feasible(self, encoded: Floats) -> NDArray[np.bool_]:
        """Which candidates keep the measured limits more likely than not, [n]."""
        return np.asarray(self.log_probability_feasible(encoded) > np.log(FEASIBILITY_THRESHOLD))


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
