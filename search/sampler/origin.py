"""The origin of a candidate: who chose it, and what follows from that.

A ledger keeps an origin's text; `Origin.parse` reads it back, also that of a study made before.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import final

from .baselines import LARGEST_FEASIBLE, RULE_OF_THUMB, TODAY, UNIFORM_SCALING

_BASELINE_NAMES = (LARGEST_FEASIBLE, UNIFORM_SCALING, RULE_OF_THUMB, TODAY)


class OriginKind(enum.Enum):
    """Who chooses candidates.

    Attributes:
        BASELINE: A rule without any search.
        INITIAL_DESIGN: A random draw before there is anything to learn from.
        SAMPLER: The acquisition function.
        CONFIRMATION: The recommendation, trained because it never was.
        UNKNOWN: Somebody that this version knows nothing of.
    """

    BASELINE = enum.auto()
    INITIAL_DESIGN = enum.auto()
    SAMPLER = enum.auto()
    CONFIRMATION = enum.auto()
    UNKNOWN = enum.auto()


@final
@dataclass(frozen=True, kw_only=True)
class Origin:
    """Who chose a candidate.

    Attributes:
        kind: Decides how its training is treated.
        text: As stored and shown; a baseline's names all of those that agree on the candidate.
    """

    kind: OriginKind
    text: str

    @classmethod
    def baseline(cls, name: str) -> Origin:
        """Return the origin of a baseline's candidate."""
        return cls(kind=OriginKind.BASELINE, text=name)

    @classmethod
    def parse(cls, text: str | None) -> Origin:
        """Return the origin with a stored text."""
        text = text or ""
        if text.startswith(_BASELINE_NAMES):
            return cls.baseline(text)
        return _BY_TEXT.get(text, cls(kind=OriginKind.UNKNOWN, text=text))

    @property
    def is_baseline(self) -> bool:
        """Whether the candidate was chosen without any search."""
        return self.kind is OriginKind.BASELINE

    @property
    def never_pruned(self) -> bool:
        """Whether it is trained to the end: others are judged by it, or it is to be confirmed."""
        return self.kind not in (OriginKind.SAMPLER, OriginKind.INITIAL_DESIGN)

    def __str__(self) -> str:
        return self.text


SAMPLER = Origin(kind=OriginKind.SAMPLER, text="sampler")
INITIAL_DESIGN = Origin(kind=OriginKind.INITIAL_DESIGN, text="start-up design")
CONFIRMATION = Origin(kind=OriginKind.CONFIRMATION, text="confirmation")
_BY_TEXT = {origin.text: origin for origin in (SAMPLER, INITIAL_DESIGN, CONFIRMATION)}
