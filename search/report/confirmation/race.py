"""The race: who gets more seeds, and when it is over.

Every contender gets `first_seeds` trainings with the same fresh seeds. After that only those get
more on whom the answer still hangs, all up to the next look (`sequential.looks`), until it is
known, until more seeds are not going to tell, or until `most_seeds`. Nothing is random: the same
trainings ask for the same next ones. Entry point: `next_trainings`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...goal import Goal
from .comparison import ConfirmedValues, RaceRules
from .confirmed_run import ConfirmedRun
from .contender import SPREAD, Contender
from .sequential import looks
from .standing import beats_constant, judge_standings, undecided

FIRST_SEEDS = 5
"""Seeds of every contender: below five, an interval of t is several times as wide."""

MOST_SEEDS = 10
"""Seeds of one contender at most."""


def next_trainings(
    contenders: Sequence[Contender],
    runs: Sequence[ConfirmedRun],
    goal: Goal,
    *,
    first_seeds: int = FIRST_SEEDS,
    most_seeds: int = MOST_SEEDS,
) -> list[tuple[Contender, int]]:
    """Return what to train next: contenders with numbers of seeds; none once it is decided.

    Args:
        contenders: Who takes part.
        runs: The trainings that are done. One that failed, or was cancelled, counts as tried: it
            is not asked for again.
        goal: What was looked for.
        first_seeds: Seeds that everybody gets.
        most_seeds: Seeds that one gets at most; at least `first_seeds`.
    """
    most_seeds = max(first_seeds, most_seeds)
    values = ConfirmedValues.from_runs(
        runs, goal, RaceRules(first_seeds=first_seeds, most_seeds=most_seeds)
    )
    beginning = _missing(contenders, values, first_seeds)
    if beginning:
        return beginning
    constant = constant_score(runs)
    # Those that are judged, as in the verdict: else one of the two ends it and the other does not.
    judged = [contender for contender in contenders if contender.label != SPREAD]
    if constant is not None and not beats_constant(judged, values, goal.sign * constant):
        return []
    racing: dict[str, Contender] = {}
    for standing in undecided(judge_standings(contenders, values, goal), goal):
        for contender in (standing.contender, *standing.open_references):
            racing.setdefault(contender.key, contender)
    for count in looks(first_seeds, most_seeds):
        missing = _missing(list(racing.values()), values, count)
        if missing:
            return missing
    return []


def constant_score(runs: Sequence[ConfirmedRun]) -> float | None:
    """Return the metric of a constant prediction on these trainings' data; None where unknown."""
    scores = [run.constant_score for run in runs if run.constant_score is not None]
    return sum(scores) / len(scores) if scores else None


def _missing(
    contenders: Sequence[Contender], values: ConfirmedValues, count: int
) -> list[tuple[Contender, int]]:
    """Return the trainings that are missing until all contenders have so many seeds."""
    return [
        (contender, index)
        for index in range(count)
        for contender in contenders
        if index not in values.tried.get(contender.key, frozenset())
    ]
