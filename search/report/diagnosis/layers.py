"""Layer by layer: what widening each is worth, which one is the bottleneck, which could shrink.

All effects are differences of the surrogate's posterior at the recommended widths, drawn jointly:
two candidates a step apart share most of their uncertainty. A layer's *rate* is its gain per added
cost: of the least widening by a quarter, or, at the top of its range, what the least narrowing by a
quarter loses. Under a limit that is well used all rates are alike (the condition of Karush, Kuhn
and Tucker for an optimum under one constraint: Nocedal and Wright, Numerical Optimization, 2006,
§12.3), and then no layer is a bottleneck.

* The bottleneck has the greatest rate with a probability of 90 %, and a doubling of it would bring
  more than the noise of one training.
* A layer could shrink for nothing where, with a probability of 95 %, narrowing it to a half (a
  quarter, an eighth) loses less than the noise of one training.

Entry point: `diagnose_layers`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...goal import CONFIDENCE
from ...space.width import ABSENT
from ...surrogate.observations import Floats
from ...units import COST_BY_NAME, format_cost
from .interval import SURE, Effect, effect_of, format_amount
from .steps import Layer, Step, layers_of, narrower, wider
from .surface import Surface

RATE_FACTOR = 1.25
"""Least change of a width by which rates are told: a finer step of the lattice drowns in doubt."""

SHRINK_FACTORS = (2.0, 4.0, 8.0)
"""By how much a layer is narrowed to see whether it could shrink for nothing."""

TENTH = 0.1
"""Share of the recommended network's cost that a rate is told for."""


@dataclass(frozen=True, kw_only=True)
class StepEffect:
    """A change of one layer, and what it brings.

    Attributes:
        width: Width of the layer after it.
        moved_along: Other widths that an order moves with it.
        effect: What it brings; a loss is negative.
        cost: What the network costs after it; None where costs cannot be counted.
    """

    width: int
    moved_along: tuple[str, ...]
    effect: Effect
    cost: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return {
            "width": self.width,
            "moved_along": list(self.moved_along),
            "cost": self.cost,
            **self.effect.to_json(),
        }


@dataclass(frozen=True, kw_only=True)
class LayerDiagnosis:
    """What widening or narrowing one layer at the recommended widths is worth.

    Attributes:
        layer: The layer.
        width: Its recommended width.
        step: Widening it by the least step; None where the space allows none.
        doubling: Widening it by a factor of two at least; None where the space allows none.
        halving: Narrowing it by a factor of two at least; None where the space allows none.
        rate: Gain of a tenth more cost spent on it; of a tenth more width where costs are unknown;
            None where the space allows no change.
        probability_greatest: Probability that its rate is the greatest of all layers'.
        shrinks_to: Least width that it could have for nothing; None where narrowing costs quality,
            or where that is not clear.
    """

    layer: Layer
    width: int
    step: StepEffect | None
    doubling: StepEffect | None
    halving: StepEffect | None
    rate: Effect | None
    probability_greatest: float
    shrinks_to: StepEffect | None

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return {
            "names": list(self.layer.names),
            "width": self.width,
            "low": self.layer.values[0],
            "high": self.layer.values[-1],
            **{
                name: part.to_json() if part else None
                for name, part in (
                    ("step", self.step),
                    ("doubling", self.doubling),
                    ("halving", self.halving),
                    ("tenth_more_cost", self.rate),
                    ("shrinks_to", self.shrinks_to),
                )
            },
            "probability_greatest": self.probability_greatest,
        }


@dataclass(frozen=True, kw_only=True)
class LayersDiagnosis:
    """All layers at the recommended widths.

    Attributes:
        layers: Those that can be changed, in the order of the space.
        bottleneck: The one whose widening brings most per cost; None where none is clear.
        cost: The cost that rates are told per; None where costs cannot be counted.
        noise: Standard deviation of one training.
        metric: What a gain is in, `gain_unit`.
    """

    layers: Sequence[LayerDiagnosis]
    bottleneck: LayerDiagnosis | None
    cost: str | None
    noise: float
    metric: str

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return {
            "bottleneck": list(self.bottleneck.layer.names) if self.bottleneck else None,
            "cost": self.cost,
            "noise": self.noise,
            "layers": [layer.to_json() for layer in self.layers],
        }

    def sentences(self) -> list[str]:
        """Return what a person reads: the bottleneck, what could shrink, and each layer."""
        return [
            self.bottleneck_sentence(),
            *self.shrinking_sentences(),
            *(self._layer_sentence(layer) for layer in self.layers),
        ]

    def bottleneck_sentence(self) -> str:
        """Return which layer is the bottleneck, or that none is."""
        spent = f"tenth more {COST_BY_NAME[self.cost].title if self.cost else 'width'}"
        layer = self.bottleneck
        if layer is None:
            gaining = [each for each in self.layers if each.rate is not None and each.rate.is_gain]
            if len(gaining) > 1:
                brings = "about the same in several, as it should in a good network"
            elif gaining:
                brings = f"{gaining[0].rate} {self.metric} in {gaining[0].layer.title}"
            else:
                brings = "nothing clear in any"
            if len(self.layers) == 1:
                return f"A {spent} brings {brings}."
            return f"No layer is the bottleneck: a {spent} brings {brings}."
        at_top = " It stands at the top of its range." if layer.step is None else ""
        return (
            f"Bottleneck: {layer.layer.title} (now {layer.width}). A {spent} spent on it brings "
            f"{layer.rate} {self.metric}, the most of all layers with "
            f"{_percent(layer.probability_greatest)} probability.{at_top}"
        )

    def shrinking_line(self) -> str | None:
        """Return all layers that could be narrower for nothing, in one line; None for none."""
        changes = [
            f"{layer.layer.title} from {layer.width} to {layer.shrinks_to.width}"
            for layer in self.layers
            if layer.shrinks_to is not None
        ]
        if not changes:
            return None
        each = "each alone " if len(changes) > 1 else ""
        return (
            f"Could shrink, {each}within the noise of one training (± "
            f"{format_amount(self.noise)}): {', '.join(changes)}."
        )

    def shrinking_sentences(self) -> list[str]:
        """Return which layers could be narrower for nothing."""
        sentences = []
        for layer in self.layers:
            change = layer.shrinks_to
            if change is None:
                continue
            cost = (
                f" and has {format_cost(self.cost, change.cost)} {COST_BY_NAME[self.cost].title}"
                if self.cost and change.cost is not None
                else ""
            )
            sentences.append(
                f"{layer.layer.title} could shrink from {layer.width} to {change.width}: that "
                f"changes {self.metric} by {change.effect}, within the noise of one training "
                f"(± {format_amount(self.noise)}){cost}."
            )
        return sentences

    def _layer_sentence(self, layer: LayerDiagnosis) -> str:
        if layer.width == ABSENT:
            return f"{layer.layer.title} is absent (0)."
        parts = []
        for verb, change in (
            ("a step wider", layer.step),
            ("twice as wide", layer.doubling),
            ("half as wide", layer.halving),
        ):
            if change is not None:
                along = f" with {', '.join(change.moved_along)}" if change.moved_along else ""
                parts.append(f"{verb} ({change.width}{along}) {change.effect}")
        told = "; ".join(parts) or "the space allows no change of it alone"
        return f"{layer.layer.title}, now {layer.width}: {told}."


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plan:
    """The steps of one layer that are looked at.

    Attributes:
        layer: The layer.
        step: The least widening.
        doubling: The least widening to twice the width.
        halving: The least narrowing to half the width.
        rate: What its rate is told by.
        shrinks: Narrowings, the least first.
    """

    layer: Layer
    step: Step | None
    doubling: Step | None
    halving: Step | None
    rate: Step | None
    shrinks: Sequence[Step]

    @property
    def steps(self) -> list[Step]:
        """All of them."""
        single = (self.step, self.doubling, self.halving, self.rate)
        return [*(step for step in single if step is not None), *self.shrinks]


def _plan(surface: Surface, layer: Layer) -> _Plan:
    space, row = surface.space, surface.row
    shrinks = (narrower(space, row, layer, factor) for factor in SHRINK_FACTORS)
    return _Plan(
        layer=layer,
        step=wider(space, row, layer),
        doubling=wider(space, row, layer, 2.0),
        halving=narrower(space, row, layer, 2.0),
        rate=wider(space, row, layer, RATE_FACTOR) or narrower(space, row, layer, RATE_FACTOR),
        shrinks=[step for step in shrinks if step is not None],
    )


class _Changes:
    """Steps with joint draws of what they bring, and what they cost.

    Attributes:
        gains: Of each step over the recommended widths, by the step's identity, each [draws].
        costs: Of each step's network, likewise; empty where costs cannot be counted.
        cost: Of the recommended network; None where it cannot be counted.
    """

    def __init__(self, surface: Surface, steps: Sequence[Step], cost: str | None) -> None:
        rows = np.vstack([surface.row, *(step.row for step in steps)])
        draws = surface.draws(rows)
        self.gains = {
            id(step): draws[:, index] - draws[:, 0] for index, step in enumerate(steps, start=1)
        }
        figures = None if cost is None else surface.costs(rows).get(cost)
        self.cost = None if figures is None else float(figures[0])
        self.costs = (
            {}
            if figures is None
            else {id(step): float(figures[index]) for index, step in enumerate(steps, start=1)}
        )

    def effect(self, step: Step | None) -> StepEffect | None:
        """Return what a step brings, with its cost."""
        if step is None:
            return None
        return StepEffect(
            width=step.end,
            moved_along=step.moved_along,
            effect=effect_of(self.gains[id(step)]),
            cost=self.costs.get(id(step)),
        )

    def rate(self, step: Step | None) -> Floats | None:
        """Return draws of the gain of a tenth more cost, or width, spent as by a step; [draws]."""
        if step is None:
            return None
        spent = step.octaves * step.sign / math.log2(1.0 + TENTH)
        if self.cost is not None:
            spent = (self.costs[id(step)] - self.cost) / (TENTH * self.cost)
        # A builder that branches may have a narrower network that costs more: no rate to speak of.
        return self.gains[id(step)] / spent if spent * step.sign > 0 else None

    def octave_gain(self, step: Step) -> float:
        """Return the expected gain of a doubling, as by a step."""
        return float(self.gains[id(step)].mean()) / (step.sign * step.octaves)


def diagnose_layers(surface: Surface, cost: str | None, metric: str) -> LayersDiagnosis:
    """Judge each layer at the recommended widths.

    Args:
        surface: The posterior around them.
        cost: What rates are told per; None for their widths.
        metric: What a gain is in, `gain_unit`.
    """
    plans = [_plan(surface, layer) for layer in layers_of(surface.space)]
    changes = _Changes(surface, [step for plan in plans for step in plan.steps], cost)
    rates = [changes.rate(plan.rate) for plan in plans]
    greatest = _share_greatest(rates)
    layers = [
        LayerDiagnosis(
            layer=plan.layer,
            width=int(surface.row[plan.layer.columns[0]]),
            step=changes.effect(plan.step),
            doubling=changes.effect(plan.doubling),
            halving=changes.effect(plan.halving),
            rate=None if rate is None else effect_of(rate),
            probability_greatest=share,
            shrinks_to=changes.effect(_last_free(plan.shrinks, changes, surface.noise)),
        )
        for plan, rate, share in zip(plans, rates, greatest, strict=True)
    ]
    bottleneck = None
    if len(layers) > 1:
        top = int(np.argmax(greatest))
        step = plans[top].rate
        is_material = step is not None and changes.octave_gain(step) > surface.noise
        if greatest[top] >= CONFIDENCE and is_material:
            bottleneck = layers[top]
    return LayersDiagnosis(
        layers=layers,
        bottleneck=bottleneck,
        cost=None if changes.cost is None else cost,
        noise=surface.noise,
        metric=metric,
    )


def _last_free(shrinks: Sequence[Step], changes: _Changes, noise: float) -> Step | None:
    """Return the furthest narrowing that loses less than the noise, as all before it do."""
    free = None
    for step in shrinks:
        if (changes.gains[id(step)] > -noise).mean() < SURE:
            break
        free = step
    return free


def _share_greatest(rates: Sequence[Floats | None]) -> list[float]:
    """Return the share of draws in which each layer's rate is the greatest and a gain."""
    known = [rate for rate in rates if rate is not None]
    if not known:
        return [0.0] * len(rates)
    # Nought stands for no gain at all: it takes the draws in which no rate is one.
    stacked = np.stack([np.zeros_like(known[0]), *known])
    shares = iter(np.bincount(np.argmax(stacked, axis=0), minlength=len(stacked))[1:].tolist())
    return [0.0 if rate is None else next(shares) / len(rate) for rate in rates]


def _percent(probability: float) -> str:
    return f"over {0.99:.0%}" if probability > 0.99 else f"{probability:.0%}"
