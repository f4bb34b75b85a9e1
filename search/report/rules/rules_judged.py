"""Rules of thumb judged against a study.

    judged = judge_rules(evidence, recommendation)
    judged.sentences()       # the four beliefs, then rule by rule

Estimates are the surrogate's, with joint intervals of 90 %; a confirmation's trainings are not
asked. Entry points: `judge_rules`, `RulesJudged`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...sampler.baselines import LARGEST_FEASIBLE
from ...surrogate.blas_threads import single_blas_thread
from ..diagnosis.interval import format_amount
from ..diagnosis.surface import make_surface
from .judged_rule import JudgedRule, judge_targets
from .misconceptions import Misconception, answer_misconceptions
from .rule_candidates import published_targets, rule_targets

if TYPE_CHECKING:
    from ..evidence import StudyEvidence
    from ..recommendation.recommendation import Recommendation


@dataclass(frozen=True, kw_only=True)
class RulesJudged:
    """How rules of thumb did in a study.

    Attributes:
        rules: Those that are meant for the study's models.
        published: Widths of published networks.
        misconceptions: The four beliefs, answered.
        noise: Standard deviation of one training, in the metric's unit.
        metric: Its name.
    """

    rules: Sequence[JudgedRule]
    published: Sequence[JudgedRule]
    misconceptions: Sequence[Misconception]
    noise: float
    metric: str

    def to_json(self) -> dict[str, Any]:
        """Return it as `report --json` writes it; gains are over the recommended candidate."""
        return {
            "misconceptions": [belief.to_json() for belief in self.misconceptions],
            "rules": [rule.to_json() for rule in self.rules],
            "published": [rule.to_json() for rule in self.published],
            "noise": self.noise,
            "confidence": 0.9,
            "sentences": self.sentences(),
        }

    def sentences(self) -> list[str]:
        """Return the four beliefs, then what each rule's candidate is believed to gain or lose."""
        lines = [belief.sentence() for belief in self.misconceptions]
        for rule in (*self.rules, *self.published):
            asked, widths = _format(rule.asked), _format(rule.widths)
            taken = widths if asked == widths else f"{asked}, nearest that fits {widths}"
            lines.append(f"{rule.rule} ({taken}): {rule.describe()}.")
        lines.append(
            f"Gains are in {self.metric}, over the recommended candidate, with 90 % intervals; the "
            f"noise of one training is ± {format_amount(self.noise)}."
        )
        return lines


@single_blas_thread()
def judge_rules(
    evidence: StudyEvidence, recommendation: Recommendation | None
) -> RulesJudged | None:
    """Judge the rules of thumb by what a study found.

    Args:
        evidence: The study.
        recommendation: Its answer.

    Returns:
        The judgement; None where there is no surrogate, no list of what fits, or nothing learnt.
    """
    feasible = evidence.feasible
    if recommendation is None or feasible is None:
        return None
    learned = [trial for trial in evidence.trials if not trial.no_better_than_constant]
    if evidence.untrained_reason is not None or not learned:
        return None
    surface = make_surface(evidence, recommendation.recommended.widths)
    if surface is None:
        return None
    names = evidence.space.names
    largest = evidence.baselines.get(LARGEST_FEASIBLE)
    if largest is None:
        trials = [
            trial.widths for trial in evidence.trials if LARGEST_FEASIBLE in str(trial.origin)
        ]
        largest = trials[0] if trials else None
    rules = judge_targets(list(rule_targets(evidence)), surface, feasible)
    published = judge_targets(list(published_targets(evidence.space)), surface, feasible)
    return RulesJudged(
        rules=rules,
        published=published,
        misconceptions=answer_misconceptions(
            surface,
            feasible,
            None if largest is None else [float(largest[name]) for name in names],
            rules,
            published,
        ),
        noise=surface.noise,
        metric=evidence.spec.metric,
    )


def _format(widths: Any) -> str:
    return " ".join(f"{name}={width}" for name, width in widths.items())
