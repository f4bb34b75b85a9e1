"""The shape of the recommended widths in words, and whether it matters.

Widths are compared in the order of the spec, by their ratio: two that differ by less than a quarter
count as equal. The shape matters where the recommended network beats the best of every other shape
that keeps the limits with a probability of 95 %; it does not where the best of another one is known
to be as good, within the noise of one training.

Widths that are no layer's (those that divide another, such as heads, and those on a linear scale,
such as kernels) have no part in a shape.

Entry points: `diagnose_shape`, `shapes_of`, `layer_columns`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...space.constraints import Divisible
from ...space.neighbourhood import Candidates
from ...space.space import Space
from .interval import SURE, Effect, effect_of, gain_unit
from .surface import Surface

if TYPE_CHECKING:
    from ..evidence import StudyEvidence

SAME_WIDTH_RATIO = 1.25
"""Ratio below which two widths count as equal, as one step of a lattice often is."""


class Shape(enum.StrEnum):
    """How the widths run from the first layer to the last.

    Attributes:
        EVEN: All about equal.
        FALLING: Never wider, and narrower at the end.
        RISING: Never narrower, and wider at the end.
        HOURGLASS: First narrower, then wider: a waist.
        SPINDLE: First wider, then narrower: a belly.
        UNEVEN: Up and down more than once.
    """

    EVEN = "even"
    FALLING = "falling"
    RISING = "rising"
    HOURGLASS = "hourglass"
    SPINDLE = "spindle"
    UNEVEN = "uneven"


@dataclass(frozen=True, kw_only=True)
class ShapeDiagnosis:
    """The shape of the recommended widths.

    Attributes:
        shape: It.
        others: The best network of each other shape: its widths, and what the recommended one has
            over it.
        matters: True where it beats all of them, False where one is as good; None where that is
            not clear, or nothing else can be had.
        metric: What a gain is in, `gain_unit`.
        is_searched: Whether others were looked for: model and data are on this machine.
    """

    shape: Shape
    others: Mapping[Shape, tuple[Mapping[str, int], Effect]]
    matters: bool | None
    metric: str
    is_searched: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return {
            "shape": str(self.shape),
            "matters": self.matters,
            "others": {
                str(shape): {"widths": dict(widths), "lead": effect.to_json()}
                for shape, (widths, effect) in self.others.items()
            },
        }

    def sentence(self) -> str:
        """Return what a person reads."""
        if not self.is_searched:
            return f"Shape: {self.shape}. Whether another is better cannot be told here."
        if not self.others:
            return f"Shape: {self.shape}. No other shape can be had in this space."
        shape, (_, effect) = min(self.others.items(), key=lambda item: item[1][1].mean)
        lead = f"over the best {shape} network it has {effect} {self.metric}"
        if self.matters:
            return f"Shape: {self.shape}, and it matters: {lead}."
        if self.matters is False:
            return f"Shape: {self.shape}, but it does not matter: {lead}."
        return f"Shape: {self.shape}; whether it matters is not clear: {lead}."


def diagnose_shape(evidence: StudyEvidence, surface: Surface) -> ShapeDiagnosis | None:
    """Name the shape of the recommended widths; None where fewer than two widths have a part."""
    columns = layer_columns(surface.space)
    if len(columns) < 2:
        return None
    shape = shapes_of(surface.row[None, :], columns)[0]
    rows, others = [], []
    if surface.feasible is not None:
        for other in Shape:

            def is_other(candidates: Candidates, other: Shape = other) -> NDArray[np.bool_]:
                return np.asarray(shapes_of(candidates, columns) == other)

            if other != shape:
                row = surface.best(surface.feasible, is_other)
                if row is not None and is_other(row[None, :])[0]:
                    rows.append(row)
                    others.append(other)
    matters = None
    effects: list[Effect] = []
    if rows:
        draws = surface.draws(np.vstack([surface.row, *rows]))
        leads = draws[:, :1] - draws[:, 1:]
        effects = [effect_of(lead) for lead in leads.T]
        if (leads > 0).all(axis=1).mean() >= SURE:
            matters = True
        elif ((leads < surface.noise).mean(axis=0) >= SURE).any():
            matters = False
    return ShapeDiagnosis(
        shape=Shape(shape),
        others={
            other: (surface.space.as_mapping(row), effect)
            for other, row, effect in zip(others, rows, effects, strict=True)
        },
        matters=matters,
        metric=gain_unit(evidence.spec.metric, evidence.goal),
        is_searched=surface.feasible is not None,
    )


def shapes_of(candidates: Candidates, columns: NDArray[np.intp]) -> NDArray[np.str_]:
    """Return the shape of each candidate, [n].

    Args:
        candidates: Widths, [n, d].
        columns: Those that have a part in the shape, in their order, [k], k ≥ 2.
    """
    logs = np.log2(_layers_there(candidates[:, columns]).astype(np.float64))
    limit = np.log2(SAME_WIDTH_RATIO)
    # A turn is told against the widest and narrowest so far, so that many small steps add up.
    rises = (logs - np.minimum.accumulate(logs, axis=1)).max(axis=1) >= limit
    falls = (np.maximum.accumulate(logs, axis=1) - logs).max(axis=1) >= limit
    low, high = logs.argmin(axis=1), logs.argmax(axis=1)
    shapes = np.full(len(candidates), str(Shape.UNEVEN), dtype="U16")
    shapes[~rises & ~falls] = str(Shape.EVEN)
    shapes[rises & ~falls] = str(Shape.RISING)
    shapes[falls & ~rises] = str(Shape.FALLING)
    both = rises & falls
    shapes[both & _turns_once(logs, low, limit)] = str(Shape.HOURGLASS)
    shapes[both & _turns_once(-logs, high, limit)] = str(Shape.SPINDLE)
    return shapes


def _layers_there(widths: Candidates) -> Candidates:
    """Return widths [n, k] in which an absent layer has the width of the one before it.

    That changes no shape. Before the first layer that is there stands its width; where none is, 1.
    """
    columns = np.arange(widths.shape[1])
    there = widths > 0
    last = np.maximum.accumulate(np.where(there, columns, -1), axis=1)
    source = np.where(last >= 0, last, there.argmax(axis=1)[:, None])
    return np.maximum(np.take_along_axis(widths, source, axis=1), 1)


def _turns_once(
    logs: NDArray[np.float64], turn: NDArray[np.intp], limit: float
) -> NDArray[np.bool_]:
    """Return which rows [n, k] fall up to their turn [n], and rise after it, each by the limit."""
    position = np.arange(logs.shape[1])
    before, after = position <= turn[:, None], position >= turn[:, None]
    left = np.where(before, logs, np.nan)
    right = np.where(after, logs, np.nan)
    lowest = np.fmin.accumulate(left, axis=1)
    highest = np.fmax.accumulate(right, axis=1)
    rise_before = np.nanmax(left - lowest, axis=1)
    fall_after = np.nanmax(highest - right, axis=1)
    falls = np.nanmax(left, axis=1) - np.nanmin(left, axis=1) >= limit
    rises = np.nanmax(right, axis=1) - np.nanmin(right, axis=1) >= limit
    return np.asarray((rise_before < limit) & (fall_after < limit) & falls & rises)


def layer_columns(space: Space) -> NDArray[np.intp]:
    """Return the columns of the widths that are layers', [k]."""
    divisors = {each.by for each in space.constraints if isinstance(each, Divisible)}
    return np.array(
        [
            column
            for column, width in enumerate(space.widths)
            if width.name not in divisors and width.scale == "log"
        ],
        dtype=np.intp,
    )
