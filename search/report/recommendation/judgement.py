"""A judgement: what a goal's rule makes of a study, before it is put together and described."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What is recommended, and how sure that is.

    Attributes:
        recommended: Widths of the candidate to take.
        runner_up: Of the next best that is no twin of it; None without one.
        verdict: In a word.
        verdict_text: In a sentence.
        in_question: Where it is undecided: the candidates that may each be the best.
        more_trainings: Where it is undecided: how many trainings of these would decide.
    """

    recommended: Mapping[str, int]
    runner_up: Mapping[str, int] | None = None
    verdict: Verdict
    verdict_text: str
    in_question: Sequence[Mapping[str, int]] = ()
    more_trainings: int | None = None
