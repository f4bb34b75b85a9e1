"""The confirmation of a study: what fresh, long trainings say of its answer.

Entry points: `Confirmation`, and `ContenderResult`, a row of its table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..metric_format import format_metric
from ..verdict import Verdict
from .comparison import Comparison
from .contender import Contender
from .saving import JOULES_PER_FLOP, Saving
from .sequential import MeanInterval
from .words import MetricWords, share_of_cost

TITLES = ("contender", "seeds", "validation", "difference", "test", "FLOPs", "params")
"""Titles of the confirmation's table, `Confirmation.rows`."""


BETTER_MODEL = "Another model is better"
"""How the remark on a model other than a network begins."""


@dataclass(frozen=True, kw_only=True)
class ContenderResult:
    """What the trainings of one contender came to; metrics are signed, higher is better.

    Attributes:
        contender: The contender.
        metric: Mean validation metric with its interval; None where every training failed.
        test: The same of the test metric; None without one.
        against_reference: Compared with the reference of the table; None for the reference.
        failed: Trainings without a metric: not finite, or out of memory.
    """

    contender: Contender
    metric: MeanInterval | None
    test: MeanInterval | None
    against_reference: Comparison | None
    failed: int

    def to_json(self, sign: float) -> dict[str, Any]:
        """Return the row in JSON values, metrics in their own sign."""
        return {
            "label": self.contender.label,
            "labels": list(self.contender.labels or (self.contender.label,)),
            "widths": dict(self.contender.widths),
            "costs": dict(self.contender.costs),
            "seeds": 0 if self.metric is None else self.metric.count,
            "failed": self.failed,
            "validation": _mean_json(self.metric, sign),
            "test": _mean_json(self.test, sign),
        }


def _mean_json(mean: MeanInterval | None, sign: float) -> dict[str, Any] | None:
    if mean is None:
        return None
    error = mean.error if math.isfinite(mean.error) else None
    return {"mean": sign * mean.mean, "standard_error": error}


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """The confirmed answer.

    Attributes:
        verdict: In a word.
        verdict_text: In a sentence with numbers.
        chosen: The network to take; None where nothing was trained.
        complete: Whether the race is over.
        results: A row for each contender.
        comparisons: What the verdict rests on.
        reference: What the table's differences are against; None without a plain baseline.
        remarks: What else is to be known: what the test split says, which other model is better.
        saved: What `saver` saves against the largest that fits.
        trainings: How many came to a metric.
        confidence: Of the intervals, all looks together, in percent.
        metric: How the metric is written.
        margin: What "as good" allows, one standard deviation between seeds; None where unknown.
        saver: The chosen network, or one that is as good and costs a good deal less.
        joules_per_flop: Energy of a FLOP that its savings are told by.
    """

    verdict: Verdict
    verdict_text: str
    chosen: Contender | None
    complete: bool
    results: Sequence[ContenderResult]
    comparisons: Sequence[Comparison]
    reference: Contender | None
    remarks: Sequence[str]
    saved: Sequence[Saving]
    trainings: int
    confidence: int
    metric: MetricWords
    margin: float | None = None
    saver: Contender | None = None
    joules_per_flop: float = JOULES_PER_FLOP

    @property
    def names_better_model(self) -> bool:
        """Whether it says that a model other than a network is better."""
        return any(line.startswith(BETTER_MODEL) for line in self.remarks)

    def to_json(self) -> dict[str, Any]:
        """Return the confirmation in JSON values."""
        sign = self.metric.sign
        return {
            "verdict": str(self.verdict),
            "verdict_text": self.verdict_text,
            "complete": self.complete,
            "trainings": self.trainings,
            "confidence": self.confidence / 100.0,
            "margin": self.margin,
            "chosen": None
            if self.chosen is None
            else {"label": self.chosen.label, "widths": dict(self.chosen.widths)},
            "contenders": [result.to_json(sign) for result in self.results],
            "comparisons": [comparison.to_json(sign) for comparison in self.comparisons],
            "saved_by": self.saver.label if self.saver and self.saved else None,
            "saved": {saving.name: saving.to_json() for saving in self.saved},
            "joules_per_flop": self.joules_per_flop if self.saved else None,
            "remarks": list(self.remarks),
        }

    def sentences(self) -> list[str]:
        """Return what a person reads, the answer first."""
        lines = [self.verdict_text, *self.remarks]
        if self.saved:
            savings = "; ".join(saving.sentence() for saving in self.saved)
            name = "the network" if self.saver is None else self.saver.name
            lines.append(f"{name[:1].upper()}{name[1:]} against the largest that fits: {savings}.")
        if self.trainings:
            lines.append(
                f"{'Confirmed by' if self.complete else 'So far'} {self.trainings} long trainings "
                f"with fresh seeds, compared seed by seed; ± is half a {self.confidence} % "
                "interval that holds at every look of the race."
            )
        return lines

    def rows(self) -> list[list[str]]:
        """Return the table's rows, under `TITLES`; differences in the unit of `difference_unit`."""
        return [self._row(result) for result in self.results]

    @property
    def difference_unit(self) -> str:
        """The unit of the column of differences, with what they are against."""
        unit = "percentage points" if self.metric.is_share else self.metric.name
        reference = self.reference
        against = "" if reference is None else f" against the {reference.baseline_name}"
        return f"difference in {unit}{against}"

    def _row(self, result: ContenderResult) -> list[str]:
        contender, words = result.contender, self.metric
        difference = "—"
        if result.against_reference is not None:
            difference = words.signed(result.against_reference.difference).removesuffix(" points")
        return [
            contender.title,
            "0" if result.metric is None else str(result.metric.count),
            _mean_cell(result.metric, words),
            difference,
            "—" if result.test is None else format_metric(words.sign * result.test.mean),
            *(self._share_cell(contender, cost) for cost in ("flops", "parameters")),
        ]

    def _share_cell(self, contender: Contender, cost: str) -> str:
        if self.reference is None:
            return "—"
        share = share_of_cost(contender.costs, self.reference.costs, cost)
        return "—" if share is None else share.split(" of ", 1)[0]


def _mean_cell(mean: MeanInterval | None, words: MetricWords) -> str:
    """Return mean ± standard error, "—" where there is none."""
    if mean is None:
        return "—"
    error = mean.error if math.isfinite(mean.error) else None
    return words.value(mean.mean, error).removeprefix(f"{words.name} ")
