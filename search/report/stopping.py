"""When a search could have ended, and whether it ended itself: what trainings that saved.

A fixed budget is never cut: there it is a remark. Entry points: `review_stopping`, `StoppingNote`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..surrogate.blas_threads import single_blas_thread

if TYPE_CHECKING:
    from .evidence import StudyEvidence


@dataclass(frozen=True, kw_only=True)
class StoppingNote:
    """When the search has, or could have, ended.

    Attributes:
        ended_itself: Whether it did.
        trainings: Trainings after which it did, or could have; None while it should go on.
        saved: Trainings that this saved, or would have saved.
        most: Trainings that it might have taken.
        exhausted: Whether it ended because every feasible candidate was tried.
    """

    ended_itself: bool
    trainings: int | None
    saved: int
    most: int
    exhausted: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the note in JSON values."""
        return {
            "ended_itself": self.ended_itself,
            "trainings": self.trainings,
            "saved": self.saved,
            "most": self.most,
            "exhausted": self.exhausted,
        }

    def sentences(self) -> list[str]:
        """Return what a person reads; nothing while the search should go on."""
        if self.ended_itself:
            reason = (
                "every feasible candidate was tried"
                if self.exhausted
                else "what more trainings were expected to gain was below the noise of one"
            )
            return [
                f"The search ended itself after {self.trainings} trainings: {reason}; that saved "
                f"{self.saved} of {self.most}."
            ]
        if self.trainings is None or not self.saved:
            return []
        return [
            f"The last {self.saved} trainings could have been saved: after {self.trainings}, what "
            'more were expected to gain was below the noise of one; trials = "auto" ends there.'
        ]


@single_blas_thread()
def review_stopping(evidence: StudyEvidence) -> StoppingNote | None:
    """Return when a study has ended itself, or could have; None where that cannot be told."""
    if (closing := evidence.closing) is not None:
        return StoppingNote(
            ended_itself=True,
            trainings=int(closing["before"]) - int(closing["saved"]),
            saved=int(closing["saved"]),
            most=int(closing["before"]),
            exhausted=bool(closing.get("exhausted")),
        )
    if evidence.problem is None or evidence.counts.running or evidence.counts.waiting:
        return None
    from ..trial.stopping import StoppingRule

    rule = StoppingRule(suggester=evidence.problem.suggester)
    count = len(evidence.history.values)
    needed = rule.trainings_needed(evidence.history)
    return StoppingNote(
        ended_itself=False,
        trainings=needed,
        saved=0 if needed is None else count - needed,
        most=evidence.counts.budget,
    )
