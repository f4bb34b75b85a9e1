"""Which layer stands at the bound of its range, and the range to take instead.

A recommended width at the top of its range says little by itself: quality may have flattened long
before, or a limit may be what stops it. A range is too narrow where, with a probability of 95 %,

* at its top, the last widening by a quarter still gained more per cost than other layers would lose
  that gave up as much of it (where a limit is reached; more than nothing where none is): the
  condition of Karush, Kuhn and Tucker for the optimum under the limits alone
  (Nocedal and Wright, Numerical Optimization, 2006, §12.3), violated only by the range; and the
  next width beyond it keeps the limits by itself;
* at its bottom, the last narrowing still gained; where small networks are looked for, that it lost
  less than the noise of one training is enough.

The range to take instead is an octave longer, or as far as the limits let the layer grow.

Entry point: `diagnose_bounds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ....objectives.errors import ObjectiveError
from ...surrogate.observations import Floats
from .interval import SURE, Effect, effect_of
from .layers import RATE_FACTOR
from .steps import Layer, Row, Step, layers_of, narrower, wider
from .surface import Surface

_TRIED_BOUNDS = 4
"""Bounds up to an octave beyond the present one that are tried against the limits: their costs are
traced, since no polynomial was fitted there."""


@dataclass(frozen=True, kw_only=True)
class BoundDiagnosis:
    """A layer that stands at the bound of its range.

    Attributes:
        layer: The layer.
        width: Its recommended width.
        side: "top" or "bottom".
        last_step: What the last step towards the bound brought.
        from_width: Where that step began.
        stopped_by_limit: Whether no wider network of this layer would keep the limits.
        too_narrow: Whether the range is what holds it.
        bound: The bound to take instead; None where the range is wide enough.
    """

    layer: Layer
    width: int
    side: Literal["top", "bottom"]
    last_step: Effect
    from_width: int
    stopped_by_limit: bool
    too_narrow: bool
    bound: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return {
            "names": list(self.layer.names),
            "width": self.width,
            "side": self.side,
            "last_step": {"from": self.from_width, **self.last_step.to_json()},
            "stopped_by_limit": self.stopped_by_limit,
            "too_narrow": self.too_narrow,
            "bound": self.bound,
        }

    def sentence(self, metric: str) -> str:
        """Return what a person reads."""
        where = f"{self.layer.title} stands at the {self.side} of its range ({self.width})"
        step = f"the last step, from {self.from_width}, brought {self.last_step} {metric}"
        if self.too_narrow:
            key = "high" if self.side == "top" else "low"
            return f"{where}, and {step}: take {key} = {self.bound}."
        if self.stopped_by_limit:
            return f"{where}, but a limit or the model, not the range, stops it: {step}."
        return f"{where}, but nothing shows that more of it would help: {step}."


def diagnose_bounds(surface: Surface, *, wants_small: bool = False) -> list[BoundDiagnosis]:
    """Return the layers that stand at the bound of their range, those too narrow first.

    Args:
        surface: The posterior around the recommended widths.
        wants_small: Whether a small network is looked for, not the best one.
    """
    found = []
    layers = layers_of(surface.space)
    tight = _reached_limits(surface, layers)
    for layer in layers:
        width = int(surface.row[layer.columns[0]])
        if width == layer.values[-1]:
            back = narrower(surface.space, surface.row, layer, RATE_FACTOR)
            side: Literal["top", "bottom"] = "top"
        elif width == layer.values[0]:
            back = wider(surface.space, surface.row, layer, RATE_FACTOR)
            side = "bottom"
        else:
            continue
        if back is not None:
            found.append(
                _judge_top(surface, layer, back, layers, tight)
                if side == "top"
                else _judge_bottom(surface, layer, back, wants_small=wants_small)
            )
    return sorted(found, key=lambda each: not each.too_narrow)


def _judge_top(
    surface: Surface, layer: Layer, back: Step, layers: Sequence[Layer], tight: str | None
) -> BoundDiagnosis:
    gives = _narrowings(surface, layer, layers) if tight else []
    rows = np.vstack([surface.row, back.row, *(step.row for step in gives)])
    draws = surface.draws(rows)
    gain = excess = draws[:, 0] - draws[:, 1]
    if tight is not None:
        costs = surface.costs(rows)[tight].astype(np.float64)
        prices, spent = _prices(draws, costs), costs[0] - costs[1]
        if prices is not None and spent > 0:
            excess = gain / spent - prices
    beyond = _beyond(surface, layer)
    too_narrow = beyond is not None and float((excess > 0).mean()) >= SURE
    return BoundDiagnosis(
        layer=layer,
        width=back.start,
        side="top",
        last_step=effect_of(gain),
        from_width=back.end,
        stopped_by_limit=not too_narrow and not _may_widen(surface, layer),
        too_narrow=too_narrow,
        bound=beyond if too_narrow else None,
    )


def _judge_bottom(
    surface: Surface, layer: Layer, back: Step, *, wants_small: bool
) -> BoundDiagnosis:
    draws = surface.draws(np.vstack([surface.row, back.row]))
    gain = draws[:, 0] - draws[:, 1]
    tolerance = surface.noise if wants_small else 0.0
    below = layer.values[0] // 2
    too_narrow = below > 0 and float((gain > -tolerance).mean()) >= SURE
    return BoundDiagnosis(
        layer=layer,
        width=back.start,
        side="bottom",
        last_step=effect_of(gain),
        from_width=back.end,
        stopped_by_limit=False,
        too_narrow=too_narrow,
        bound=below if too_narrow else None,
    )


def _narrowings(surface: Surface, layer: Layer, layers: Sequence[Layer]) -> list[Step]:
    """Return what the other layers could give up."""
    return [
        step
        for other in layers
        if other is not layer
        and (step := narrower(surface.space, surface.row, other, RATE_FACTOR)) is not None
    ]


def _prices(draws: Floats, costs: Floats) -> Floats | None:
    """Return draws of what the cheapest other layer loses per cost it gives up, [draws]."""
    saved = costs[0] - costs[2:]
    kept = np.flatnonzero(saved > 0)
    if not len(kept):
        return None
    losses = (draws[:, :1] - draws[:, 2:])[:, kept] / saved[kept]
    # The layer to give up is chosen by its mean, as a search would; never is it paid for that.
    return np.asarray(np.maximum(losses[:, int(np.argmin(losses.mean(axis=0)))], 0.0))


def _reached_limits(surface: Surface, layers: Sequence[Layer]) -> str | None:
    """Return the limit used most, where the least widening of some layer breaks one."""
    feasible = surface.feasible
    if feasible is None or not feasible.limits.names():
        return None
    steps = [wider(surface.space, surface.row, layer) for layer in layers]
    rows = [step.row for step in steps if step is not None]
    costs = feasible.cost_function(np.vstack([surface.row, *rows]))
    bounds = feasible.limits.as_dict()
    if not any((costs[name] > bound).any() for name, bound in bounds.items()):
        return None
    return max(bounds, key=lambda name: float(costs[name][0]) / bounds[name])


def _may_widen(surface: Surface, layer: Layer) -> bool:
    """Return whether the layer alone may be wider than its range and keep the limits."""
    row = surface.row.copy()
    row[list(layer.columns)] = layer.values[-1] + max(1, layer.values[-1] - layer.values[-2])
    return _keeps_limits(surface, row)


def _beyond(surface: Surface, layer: Layer) -> int | None:
    """Return the top of the range to take: twice the present one, or what the limits allow.

    None where they allow no wider layer at all, all other widths at their least.
    """
    high = layer.values[-1]
    step = high - layer.values[-2]
    top = None
    steps_in_octave = max(1, high // step)
    for count in np.unique(np.linspace(1, steps_in_octave, _TRIED_BOUNDS).astype(int)).tolist():
        width = high + step * count
        row = surface.space.smallest()
        row[list(layer.columns)] = width
        if not _keeps_limits(surface, row):
            break
        top = width
    return top


def _keeps_limits(surface: Surface, row: Row) -> bool:
    feasible = surface.feasible
    if feasible is None or not feasible.limits.names():
        return True
    try:
        costs = feasible.cost_function(row[None, :])
    except ObjectiveError:
        return False  # the model cannot be built so wide
    return bool(feasible.limits.is_feasible(costs)[0])
