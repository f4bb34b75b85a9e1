"""A rule judged by a study: what its candidate is believed to lose against the recommended one.

Entry points: `JudgedRule`, `judge_targets`; `Standing`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...space.feasible_set import FeasibleSet
from ...space.width import log_sizes
from ..diagnosis.interval import Effect
from ..diagnosis.steps import Row
from ..diagnosis.surface import Surface
from .rule_candidates import RuleTarget, nearest_row

SIZE = "parameters"
"""The cost that candidates are compared by."""

NO_EFFECT = Effect(mean=0.0, low=0.0, high=0.0, probability_positive=0.0)
"""Of the recommended candidate over itself, where draws would show rounding."""

NEAR_OCTAVES = 1.0
"""A candidate is near a trial whose every width is within a factor of 2. Of farther ones the
surrogate extrapolates, which is said; docs/rules.md has how often its intervals hold there."""


class Standing(enum.StrEnum):
    """How a candidate stands against the recommended one.

    Attributes:
        BETTER: Its gain is above 0 in the 90 % interval.
        AS_GOOD: It loses less than the noise of one training, likewise.
        WORSE: Its gain is below 0, likewise.
        UNDECIDED: The interval allows for more than one of these.
    """

    BETTER = "better"
    AS_GOOD = "as good"
    WORSE = "worse"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class JudgedRule:
    """A candidate that somebody would have taken without the search.

    Attributes:
        rule: Who says so.
        source: Where it stands.
        asked: The widths asked for, by name, rounded.
        widths: The nearest that keep the limits.
        effect: Its gain over the recommended candidate.
        size_ratio: Its parameters over the recommended one's; None where they are not counted.
        noise: Standard deviation of one training.
        extrapolated: Whether no trial is near.
    """

    rule: str
    source: str
    asked: Mapping[str, int]
    widths: Mapping[str, int]
    effect: Effect
    size_ratio: float | None
    noise: float
    extrapolated: bool = False

    @property
    def standing(self) -> Standing:
        """How it stands."""
        if self.effect.low > 0:
            return Standing.BETTER
        if self.effect.low > -self.noise:
            return Standing.AS_GOOD
        return Standing.WORSE if self.effect.high < 0 else Standing.UNDECIDED

    @property
    def is_recommended(self) -> bool:
        """Whether its candidate is the recommended one."""
        return self.effect == NO_EFFECT

    def describe(self) -> str:
        """Return the candidate's standing: "worse: −0.012 (−0.02 to −0.004), at 3.1 × …"."""
        size = "" if self.size_ratio is None else f", at {format_ratio(self.size_ratio)}"
        if self.is_recommended:
            return f"{self.standing}: it is the recommended candidate itself"
        far = ", extrapolated: no trial within a factor of 2" if self.extrapolated else ""
        return f"{self.standing}: {self.effect}{size}{far}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "rule": self.rule,
            "source": self.source,
            "asked": dict(self.asked),
            "widths": dict(self.widths),
            "standing": str(self.standing),
            **self.effect.to_json(),
            "parameters_ratio": self.size_ratio,
            "extrapolated": self.extrapolated,
        }


def judge_targets(
    targets: Sequence[RuleTarget], surface: Surface, feasible: FeasibleSet
) -> list[JudgedRule]:
    """Return the targets, each projected onto what keeps the limits and judged there."""
    if not targets:
        return []
    pool = feasible.candidate_pool(np.random.default_rng(0), surface.row[None, :])
    rows = [nearest_row(feasible, pool, target.widths, surface.row) for target in targets]
    ratios = [size_ratio(surface, row) for row in rows]
    names = surface.space.names
    return [
        JudgedRule(
            rule=target.rule,
            source=target.source,
            asked={
                name: max(1, round(width)) for name, width in zip(names, target.widths, strict=True)
            },
            widths=surface.space.as_mapping(row),
            effect=NO_EFFECT if np.array_equal(row, surface.row) else effect,
            size_ratio=ratio,
            noise=surface.noise,
            extrapolated=_is_far(surface, row),
        )
        for target, row, effect, ratio in zip(
            targets, rows, surface.effects(rows), ratios, strict=True
        )
    ]


def _is_far(surface: Surface, row: Row) -> bool:
    """Return whether no trial is within `NEAR_OCTAVES` of a row in every width."""
    octaves = np.abs(log_sizes(surface.history.observed) - log_sizes(row)).max(axis=1)
    return bool(octaves.min() > NEAR_OCTAVES)


def size_ratio(surface: Surface, row: Row) -> float | None:
    """Return a row's parameters over the recommended one's; None where they are not counted."""
    costs = surface.costs(row[None, :]).get(SIZE)
    base = surface.costs(surface.row[None, :]).get(SIZE)
    if costs is None or base is None or not int(base[0]):
        return None
    return int(costs[0]) / int(base[0])


def format_against(effect: Effect) -> str:
    """Return an effect in words: "0.0030 (0.0008 to 0.0054) worse than the recommended one"."""
    if effect == NO_EFFECT:
        return "the recommended one itself"
    if effect.mean >= 0:
        return f"{str(effect).removeprefix('+')} better than the recommended one"
    loss = replace(effect, mean=-effect.mean, low=-effect.high, high=-effect.low)
    return f"{str(loss).removeprefix('+')} worse than the recommended one"


def format_ratio(ratio: float) -> str:
    """Return a ratio of parameters for people."""
    return f"{ratio:.3g} × the parameters" if ratio >= 1 else f"{ratio:.0%} of the parameters"
