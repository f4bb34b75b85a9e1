"""The confirmation of a study as its evidence holds it, for whoever reports on the study.

Entry point: `read_confirmation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...follow_up_kind import FollowUpKind
from .comparison import RaceRules
from .confirmation import Confirmation
from .confirmed_run import read_runs
from .contender import Answer, choose_contenders
from .judgement import judge_confirmation
from .proxy_fidelity import ProxyFidelity, judge_proxy
from .race import FIRST_SEEDS, MOST_SEEDS
from .saving import stated_joules_per_flop

if TYPE_CHECKING:
    from ..evidence import StudyEvidence


def read_confirmation(
    evidence: StudyEvidence, recommendation: Answer | None
) -> tuple[Confirmation | None, ProxyFidelity | None]:
    """Judge the confirmation of a study, and the short trainings by it; None where there is none.

    The contenders are those of the study's present recommendation. What was confirmed before, and
    is none of them any more, tells nothing about it.
    """
    records = evidence.follow_ups.get(FollowUpKind.CONFIRMATION, ())
    if recommendation is None or not any(record.outcome for record in records):
        return None, None
    race = evidence.race or {}
    rules = RaceRules(
        first_seeds=race.get("first_seeds", FIRST_SEEDS),
        most_seeds=race.get("most_seeds", MOST_SEEDS),
    )
    contenders = choose_contenders(evidence, recommendation, spread=race.get("spread", 0))
    runs = read_runs(records, evidence.spec.study.seed)
    confirmation = judge_confirmation(
        contenders,
        runs,
        evidence,
        first_seeds=rules.first_seeds,
        most_seeds=rules.most_seeds,
        joules_per_flop=stated_joules_per_flop(),
    )
    return confirmation, judge_proxy(contenders, runs, evidence, rules=rules)
