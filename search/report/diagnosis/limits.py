"""Which limit binds, and what a tenth more of it would bring.

A limit is *reached* at the recommended widths where the least widening of some layer would break
it. It *binds* where it is reached and a tenth more of it would make a better network possible with
a probability of 95 %: the best posterior mean among the candidates that keep the relaxed limit, and
all others, less the best within the limits as they are, its interval from the joint posterior of
the two. Both networks are what the surrogate believes to be best, so the gain is what one would get
by acting on what is known now.

Several limits may be reached at once, so that more of one alone allows nothing: where none binds by
itself, a tenth more of all that are reached is looked at together.

Entry point: `diagnose_limits`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import NothingFeasible
from ...goal import pareto_front
from ...space.feasible_set import FeasibleSet
from ...space.limits import Limits
from ...units import COST_BY_NAME, format_cost
from .interval import Effect, gain_unit
from .steps import Row, layers_of, wider
from .surface import MAX_LISTED, MIN_BATCH, Surface

if TYPE_CHECKING:
    from ...trial.history import CompletedTrial
    from ..evidence import StudyEvidence

RELAXATION = 1.1
"""A tenth more of a limit."""

REACHED_SHARE = 0.95
"""Share of a limit from which on a network of the front counts as one that reaches it."""


@dataclass(frozen=True, kw_only=True)
class LimitDiagnosis:
    """One limit of a study.

    Attributes:
        name: Of the cost.
        limit: The bound.
        used: Share of it that the recommended network needs; None where that is not known.
        reached: Whether the least widening of some layer would break it; None where not known.
        front_share: Share of the networks that nothing else beats in this cost and the metric that
            come within 5 % of the limit; None where costs are not known.
        tenth_more: What a tenth more of it would bring; None where that cannot be told.
        widths: The network that would bring it.
    """

    name: str
    limit: float
    used: float | None
    reached: bool | None
    front_share: float | None
    tenth_more: Effect | None
    widths: Mapping[str, int] | None

    @property
    def binds(self) -> bool:
        """Whether it is reached, and more of it would bring something."""
        return bool(self.reached) and self.tenth_more is not None and self.tenth_more.is_gain

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return {
            "name": self.name,
            "limit": self.limit,
            "used": self.used,
            "reached": self.reached,
            "binds": self.binds,
            "front_share": self.front_share,
            "tenth_more": self.tenth_more.to_json() if self.tenth_more else None,
            "widths": dict(self.widths) if self.widths else None,
        }


@dataclass(frozen=True, kw_only=True)
class LimitsDiagnosis:
    """All limits of a study.

    Attributes:
        limits: One by one, in the order of the spec.
        together: What a tenth more of all that are reached would bring, where none binds by itself
            and more than one is reached; else None.
        metric: What a gain is in, `gain_unit`.
    """

    limits: Sequence[LimitDiagnosis]
    together: Effect | None
    metric: str

    @property
    def binding(self) -> list[LimitDiagnosis]:
        """Those that bind, the one that more of would bring most first."""
        binding = [limit for limit in self.limits if limit.binds]
        return sorted(binding, key=lambda limit: -limit.tenth_more.mean if limit.tenth_more else 0)

    @property
    def binds_together(self) -> bool:
        """Whether none binds by itself, and all that are reached do together."""
        return self.together is not None and self.together.is_gain

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return {
            "binding": [limit.name for limit in self.binding],
            "together": self.together.to_json() if self.together else None,
            "limits": [limit.to_json() for limit in self.limits],
        }

    def sentences(self) -> list[str]:
        """Return what a person reads, the limit that binds most first."""
        if not self.limits:
            return ["No limit is set, so none binds."]
        binding = self.binding
        others = [limit for limit in self.limits if limit not in binding]
        sentences = [self._sentence(limit) for limit in [*binding, *others]]
        if self.binds_together:
            titles = [COST_BY_NAME[limit.name].title for limit in self.limits if limit.reached]
            sentences.insert(
                0,
                f"Limits that bind together: {', '.join(titles)}. A tenth more of each brings "
                f"{self.together} {self.metric}; of one alone, nothing clear.",
            )
        elif not binding:
            sentences.insert(0, "No limit is known to hold quality back.")
        return sentences

    def _sentence(self, limit: LimitDiagnosis) -> str:
        title = COST_BY_NAME[limit.name].title
        bound = format_cost(limit.name, limit.limit)
        used = "" if limit.used is None else f", {limit.used:.0%} used"
        front = (
            ""
            if limit.front_share is None
            else f" {limit.front_share:.0%} of the networks on the front come within 5 % of it."
        )
        name = f"{title} ≤ {bound}{used}"
        if limit.binds:
            return f"Limit that binds: {name}. A tenth more brings {self._gain(limit)}.{front}"
        if limit.reached is None:
            return f"Limit {name}: whether it binds cannot be told here."
        if not limit.reached:
            return f"Limit {name}: it does not bind; no next wider network breaks it."
        if limit.tenth_more is None:
            return f"Limit {name}: it is reached; what more of it would bring cannot be told."
        if limit.tenth_more.low == limit.tenth_more.high:
            return f"Limit {name}: it is reached, but a tenth more of it alone changes nothing."
        return (
            f"Limit {name}: it is reached, but that a tenth more would help is not clear: "
            f"{self._gain(limit)}."
        )

    def _gain(self, limit: LimitDiagnosis) -> str:
        return f"{limit.tenth_more} {self.metric}"


def diagnose_limits(evidence: StudyEvidence, surface: Surface) -> LimitsDiagnosis:
    """Judge each limit at the recommended widths of a surface."""
    bounds = evidence.spec.limits.bounds
    counted = {name: bound for name, bound in bounds.items() if not isinstance(bound, str)}
    costs = _recommended_costs(evidence, surface)
    refused = _limits_that_refuse_wider(surface, counted)
    trial_costs = _trial_costs(evidence.trials, counted)
    means = _trial_means(evidence.trials, surface)
    present = None if surface.feasible is None else surface.best(surface.feasible)
    limits = []
    for name, bound in counted.items():
        reached = None if refused is None or name not in costs else name in refused
        tenth, widths = None, None
        if present is not None and reached:
            relaxed_row = _best_with_more(surface, [name])
            if relaxed_row is not None:
                (tenth,) = surface.effects([relaxed_row], present)
                widths = surface.space.as_mapping(relaxed_row)
        limits.append(
            LimitDiagnosis(
                name=name,
                limit=bound,
                used=costs[name] / bound if name in costs else None,
                reached=reached,
                front_share=_front_share(trial_costs.get(name), means, bound),
                tenth_more=tenth,
                widths=widths,
            )
        )
    reached_names = [limit.name for limit in limits if limit.reached]
    together = None
    if present is not None and len(reached_names) > 1 and not any(each.binds for each in limits):
        relaxed_row = _best_with_more(surface, reached_names)
        if relaxed_row is not None:
            (together,) = surface.effects([relaxed_row], present)
    return LimitsDiagnosis(
        limits=limits, together=together, metric=gain_unit(evidence.spec.metric, evidence.goal)
    )


def main_cost(evidence: StudyEvidence, surface: Surface) -> str:
    """Return the cost that matters most: the goal's, else that of the limit used most.

    Where there is no limit that can be counted it is the number of parameters.
    """
    if evidence.goal.kind.uses_cost:
        return evidence.goal.cost
    costs = _recommended_costs(evidence, surface)
    bounds = evidence.spec.limits.bounds
    used = {
        name: costs[name] / bounds[name]
        for name in evidence.spec.limits.counted_limits
        if name in costs and not isinstance(bounds[name], str)
    }
    return max(used, key=used.__getitem__) if used else "parameters"


def _recommended_costs(evidence: StudyEvidence, surface: Surface) -> dict[str, float]:
    """Return what the recommended network costs; measured costs where it was trained."""
    widths = surface.space.as_mapping(surface.row)
    costs = {
        name: float(figures[0]) for name, figures in surface.costs(surface.row[None, :]).items()
    }
    trained = [trial.costs for trial in evidence.trials if dict(trial.widths) == widths]
    return costs | {name: float(value) for each in trained for name, value in each.items()}


def _limits_that_refuse_wider(surface: Surface, bounds: Mapping[str, float]) -> set[str] | None:
    """Return the limits that the least widening of some layer breaks; None where not known."""
    if surface.feasible is None:
        return None
    steps = [
        step
        for layer in layers_of(surface.space)
        if (step := wider(surface.space, surface.row, layer)) is not None
    ]
    if not steps:
        return set()
    costs = surface.costs(np.stack([step.row for step in steps]))
    return {name for name, bound in bounds.items() if name in costs and (costs[name] > bound).any()}


def _best_with_more(surface: Surface, names: Collection[str]) -> Row | None:
    """Return the row believed to be best with a tenth more of some limits; None where unknown."""
    feasible = surface.feasible
    assert feasible is not None
    if feasible.cost_batch_size < MIN_BATCH:
        return None
    bounds = feasible.limits.as_dict()
    bounds |= {name: math.floor(bounds[name] * RELAXATION) for name in names}
    try:
        relaxed = FeasibleSet(
            surface.space,
            Limits(**bounds),
            feasible.cost_function,
            cost_batch_size=min(feasible.cost_batch_size, MAX_LISTED),
        )
    except NothingFeasible:
        return None
    return surface.best(relaxed)


def _trial_costs(
    trials: Sequence[CompletedTrial], names: Collection[str]
) -> dict[str, NDArray[np.float64]]:
    """Return the costs of all trials, each [n], by the names of those that all of them have."""
    return {
        name: np.array([float(trial.costs[name]) for trial in trials])
        for name in names
        if all(name in trial.costs for trial in trials)
    }


def _trial_means(trials: Sequence[CompletedTrial], surface: Surface) -> NDArray[np.float64]:
    """Return the posterior means of all trials, [n]."""
    names = surface.space.names
    rows = np.array([[trial.widths[name] for name in names] for trial in trials])
    means, _ = surface.posterior.metric.predict(surface.space.encode(rows))
    return means


def _front_share(
    costs: NDArray[np.float64] | None, means: NDArray[np.float64], bound: float
) -> float | None:
    """Return the share of the front of cost and mean, [n], that comes within 5 % of a limit."""
    if costs is None:
        return None
    front = costs[pareto_front(costs, means)]
    return float((front >= REACHED_SHARE * bound).mean())
