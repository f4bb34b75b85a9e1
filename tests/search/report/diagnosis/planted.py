"""Studies with a known truth: planted surfaces, as records of a ledger and the evidence of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from widthwise.search.report.diagnosis.surface import make_surface
from widthwise.search.report.evidence import StudyEvidence
from widthwise.search.report.recommendation.recommendation import Recommendation, recommend
from widthwise.search.space.feasible_set import FeasibleSet
from widthwise.search.spec.spec import Spec, parse_spec
from widthwise.storage.ledger.slot import (
    SlotCounts,
    SlotRecord,
    SlotState,
    StudyRow,
    TrialOutcome,
)
from widthwise.storage.ledger.tried import TriedSlot

Truth = Callable[[Mapping[str, int]], float]


def mlp_costs(inputs: int, outputs: int) -> Callable[[np.ndarray], Mapping[str, np.ndarray]]:
    """Parameters and FLOPs of a perceptron with biases, as they are counted."""

    def costs(candidates: np.ndarray) -> Mapping[str, np.ndarray]:
        ends = np.ones((len(candidates), 1), dtype=np.int64)
        sizes = np.hstack([inputs * ends, candidates, outputs * ends])
        macs = (sizes[:, :-1] * sizes[:, 1:]).sum(axis=1)
        parameters = macs + sizes[:, 1:].sum(axis=1)
        return {"parameters": parameters, "flops": 2 * macs, "macs": macs}

    return costs


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A planted study.

    Attributes:
        widths: As in a spec's `[widths]`.
        truth: The metric of a network, without noise.
        noise: Standard deviation of one training.
        trials: How many there are.
        limits: As in a spec's `[limits]`.
        result: What a training of some widths reports besides costs.
    """

    widths: Mapping[str, Any]
    truth: Truth
    noise: float = 0.004
    trials: int = 40
    limits: Mapping[str, int] = field(default_factory=dict)
    study: Mapping[str, Any] = field(default_factory=dict)
    proxy: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=lambda: {"family": "mlp"})
    result: Callable[[Mapping[str, int], np.random.Generator], Mapping[str, Any]] = field(
        default=lambda _widths, _rng: {}
    )
    direction: str = "maximize"
    inputs: int = 64
    outputs: int = 10

    @property
    def spec(self) -> Spec:
        return parse_spec(
            {
                "study": {"name": "planted", "trials": self.trials, **self.study},
                "model": self.model,
                "widths": self.widths,
                "limits": self.limits,
                "proxy": {"data": "digits", "metric": "accuracy", **self.proxy},
            }
        )

    def feasible(self) -> FeasibleSet:
        spec = self.spec
        return FeasibleSet(
            spec.widths.to_space(), spec.limits.to_limits(), mlp_costs(self.inputs, self.outputs)
        )

    def evidence(self, seed: int) -> StudyEvidence:
        """Return a study whose trials are random feasible networks, some of them large ones."""
        feasible, rng = self.feasible(), np.random.default_rng(seed)
        pool = feasible.candidate_pool(rng, np.empty((0, feasible.space.dimensions), np.int64))
        size = np.log2(np.maximum(feasible.evaluate_costs(pool)["parameters"], 1)).astype(float)
        # Searches try more of what is large, where large is good: half of the trials do.
        weights = (
            0.5 / len(pool) + 0.5 * np.exp(size - size.max()) / np.exp(size - size.max()).sum()
        )
        chosen = rng.choice(
            len(pool), size=min(self.trials, len(pool)), replace=False, p=weights / weights.sum()
        )
        widths = [feasible.space.as_mapping(pool[index]) for index in chosen]
        records = [self.record(number, each, feasible, rng) for number, each in enumerate(widths)]
        return make_evidence(self.spec, records, feasible, direction=self.direction)

    def record(
        self,
        number: int,
        widths: Mapping[str, int],
        feasible: FeasibleSet,
        rng: np.random.Generator,
    ) -> SlotRecord:
        costs = feasible.cost_function(feasible.space.as_row(widths)[None, :])
        value = self.truth(widths) + float(rng.normal(0, self.noise))
        return make_record(
            number,
            widths,
            value,
            {
                "costs": {name: int(figure[0]) for name, figure in costs.items()},
                "seed": number,
                **self.result(widths, rng),
            },
        )


def make_record(
    number: int, widths: Mapping[str, int], value: float, result: Mapping[str, Any]
) -> SlotRecord:
    return SlotRecord(
        number=number,
        state=SlotState.DONE,
        outcome=TrialOutcome.COMPLETE,
        widths=dict(widths),
        origin="sampler",
        value=value,
        result=json.loads(json.dumps(dict(result))),
        trial_id=number,
        worker="w",
        attempts=1,
        failures=0,
        started_at=0.0,
        finished_at=1.0,
        lease_until=None,
    )


def make_evidence(
    spec: Spec,
    records: Sequence[SlotRecord],
    feasible: FeasibleSet | None,
    *,
    direction: str = "maximize",
    **fields: Any,
) -> StudyEvidence:
    row = StudyRow(
        id=1,
        name=spec.name,
        spec=spec.to_json(),
        fingerprint="0" * 64,
        optuna_study_id=1,
        direction=direction,  # type: ignore[arg-type]
        base=".",
        created_at=0.0,
    )
    tried = [
        TriedSlot(
            number=record.number,
            state=record.state,
            outcome=record.outcome,
            widths=record.widths or {},
            value=record.value,
            score=None,
            fidelity=None,
            spread=None,
            measured={},
            rungs=(),
        )
        for record in records
    ]
    counts = SlotCounts(complete=len(records), running=0, failed=0, pruned=0, waiting=0)
    return StudyEvidence(
        row=row, spec=spec, records=records, counts=counts, tried=tried, feasible=feasible, **fields
    )


def best_widths(evidence: StudyEvidence) -> dict[str, int]:
    """The best of all feasible candidates as believed: what a study recommends for "best"."""
    assert evidence.feasible is not None
    surface = make_surface(evidence, evidence.trials[0].widths)
    assert surface is not None
    row = surface.best(evidence.feasible)
    assert row is not None
    return evidence.space.as_mapping(row)


def power_truth(top: float = 0.95, **layers: tuple[float, float]) -> Truth:
    """Every layer takes amplitude × width^(−exponent) from the metric."""
    return lambda widths: (
        top - sum(amplitude * widths[name] ** -power for name, (amplitude, power) in layers.items())
    )


def recommendation_of(evidence: StudyEvidence) -> Recommendation | None:
    """What the study recommends."""
    return recommend(evidence)
