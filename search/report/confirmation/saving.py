"""What the chosen network saves against the largest that fits.

Costs are counted; the time of a training is measured, as its mean over the confirmation; energy is
an estimate, at a stated rate for each FLOP. Entry points: `Saving`, `find_savings`,
`stated_joules_per_flop`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import SpecError
from ...units import COST_BY_NAME, format_cost, format_duration
from .confirmed_run import ConfirmedRun
from .contender import Contender
from .words import cost_title

JOULES_PER_FLOP = 2.05e-11
"""Energy of a FLOP: NVIDIA's A100 by its data sheet (2020), 400 W at 19.5 TFLOPS of FP32. A
network that does not fill its device takes more: a lower bound; the ratio of two networks holds."""

JOULES_VARIABLE = "WIDTHWISE_JOULES_PER_FLOP"
"""What states another rate, for the device that the network will run on."""

INFERENCES = 1_000_000
"""Inferences that energy is told for."""

_COUNTED = ("parameters", "flops", "train_memory", "inference_memory", "latency")


@dataclass(frozen=True, kw_only=True)
class Saving:
    """One cost of the chosen network beside that of the largest that fits.

    Attributes:
        name: Of the cost in JSON.
        title: For people.
        unit: Of the numbers.
        chosen: Its amount for the chosen network.
        largest: Its amount for the largest that fits.
        chosen_deviation: Standard deviation over the trainings, of what is measured; else None.
        largest_deviation: The same of the largest.
    """

    name: str
    title: str
    unit: str
    chosen: float
    largest: float
    chosen_deviation: float | None = None
    largest_deviation: float | None = None

    @property
    def share(self) -> float:
        """The chosen network's amount over the largest one's."""
        return self.chosen / self.largest

    def to_json(self) -> dict[str, Any]:
        """Return the saving in JSON values."""
        return {
            "unit": self.unit,
            "chosen": self.chosen,
            "largest": self.largest,
            "share": self.share,
            "chosen_deviation": self.chosen_deviation,
            "largest_deviation": self.largest_deviation,
        }

    def sentence(self) -> str:
        """Return it in words: "FLOPs 40k instead of 99.1k (41 %)"."""
        chosen = self._format(self.chosen, self.chosen_deviation)
        largest = self._format(self.largest, self.largest_deviation)
        percent = 100 * self.share
        share = f"{percent:.0f}" if percent >= 1 else f"{percent:.1g}"
        return f"{self.title} {chosen} instead of {largest} ({share} %)"

    def _format(self, amount: float, deviation: float | None) -> str:
        if self.unit == "J":
            return f"{amount:.2g} J"
        if self.name in COST_BY_NAME:
            return format_cost(self.name, amount)
        spread = f" ± {format_duration(deviation)}" if deviation else ""
        return f"{format_duration(amount)}{spread}"


def stated_joules_per_flop(environment: Mapping[str, str] = os.environ) -> float:
    """Return the energy of a FLOP that the environment states, in joules; else the A100's.

    Raises:
        SpecError: What it states is no amount.
    """
    text = environment.get(JOULES_VARIABLE, "").strip()
    if not text:
        return JOULES_PER_FLOP
    try:
        joules = float(text)
    except ValueError:
        joules = math.nan
    if not 0 < joules < math.inf:
        raise SpecError(
            f'{JOULES_VARIABLE}: found "{text[:60]}", expected the joules that a FLOP takes on '
            "your device, such as 2.05e-11 (its watts over its FLOPs a second)"
        )
    return joules


def find_savings(
    chosen: Contender,
    largest: Contender,
    runs: Sequence[ConfirmedRun],
    *,
    joules_per_flop: float = JOULES_PER_FLOP,
) -> list[Saving]:
    """Return what a network costs beside the largest that fits, as far as both are known.

    Args:
        chosen: The network to take.
        largest: The largest that fits.
        runs: The confirmation's trainings, whose time was measured.
        joules_per_flop: Energy of a floating-point operation, in joules.
    """
    chosen_costs = {**chosen.costs, **_measured(chosen, runs)}
    largest_costs = {**largest.costs, **_measured(largest, runs)}
    savings = [
        Saving(
            name=name,
            title=cost_title(name),
            unit=str(COST_BY_NAME[name].unit),
            chosen=chosen_costs[name],
            largest=largest_costs[name],
        )
        for name in _COUNTED
        if name in chosen_costs and largest_costs.get(name)
    ]
    ours, theirs = _seconds(chosen, runs), _seconds(largest, runs)
    if ours and theirs and np.mean(theirs) > 0:
        savings.append(
            Saving(
                name="training_seconds",
                title="training time",
                unit="s",
                chosen=float(np.mean(ours)),
                largest=float(np.mean(theirs)),
                chosen_deviation=_deviation(ours),
                largest_deviation=_deviation(theirs),
            )
        )
    if "flops" in chosen_costs and largest_costs.get("flops"):
        rate = INFERENCES * joules_per_flop
        savings.append(
            Saving(
                name="inference_joules",
                title="energy of a million inferences",
                unit="J",
                chosen=rate * chosen_costs["flops"],
                largest=rate * largest_costs["flops"],
            )
        )
    return savings


def _measured(contender: Contender, runs: Sequence[ConfirmedRun]) -> Mapping[str, float]:
    """Return the mean latency of a contender, where trainings measured it."""
    latencies = [
        run.costs["latency"]
        for run in runs
        if run.key == contender.key and run.costs and "latency" in run.costs
    ]
    return {"latency": float(np.mean(latencies))} if latencies else {}


def _seconds(contender: Contender, runs: Sequence[ConfirmedRun]) -> list[float]:
    return [
        run.seconds
        for run in runs
        if run.key == contender.key
        and run.value is not None
        and run.seconds is not None
        and math.isfinite(run.seconds)
    ]


def _deviation(seconds: Sequence[float]) -> float | None:
    return float(np.std(seconds, ddof=1)) if len(seconds) > 1 else None
