"""Four common beliefs, answered by a study's own numbers.

    more is always better              the largest that fits against the recommended
    all layers must be equal           the best with equal layers against it
    another task's widths will do      published widths, projected onto what fits, against it
    experience replaces the experiment every rule of thumb against it

Entry points: `answer_misconceptions`, `Misconception`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...sampler.baselines import LARGEST_FEASIBLE
from ...space.feasible_set import FeasibleSet
from ..diagnosis.interval import format_amount
from ..diagnosis.shape import layer_columns
from ..diagnosis.surface import Surface
from .judged_rule import JudgedRule, Standing, format_against, format_ratio, judge_targets
from .rule_candidates import RuleTarget

MORE, EQUAL = "more is always better", "all layers must be equal"
OTHER_TASK = "another task's widths will do"
EXPERIENCE = "experience replaces the experiment"


class Answer(enum.StrEnum):
    """What a study says of a belief.

    Attributes:
        NO: It is wrong here.
        HOLDS: It is right here.
        UNDECIDED: The trainings do not tell.
        NOT_ASKED: The study has nothing to judge it by.
    """

    NO = "no"
    HOLDS = "holds here"
    UNDECIDED = "undecided"
    NOT_ASKED = "not asked"


@dataclass(frozen=True, kw_only=True)
class Misconception:
    """A belief and what the study says of it.

    Attributes:
        claim: The belief.
        answer: What the study says.
        text: Why, with numbers.
    """

    claim: str
    answer: Answer
    text: str

    def sentence(self) -> str:
        """Return belief and answer for people."""
        return f"“{self.claim[:1].upper()}{self.claim[1:]}”: {self.answer}. {self.text}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"claim": self.claim, "answer": str(self.answer), "text": self.text}


def answer_misconceptions(
    surface: Surface,
    feasible: FeasibleSet,
    largest: Sequence[float] | None,
    rules: Sequence[JudgedRule],
    published: Sequence[JudgedRule],
) -> list[Misconception]:
    """Return the four answers.

    Args:
        surface: The posterior around the recommended widths.
        feasible: What keeps the limits.
        largest: Widths of the largest that fits; None where it is not known.
        rules: The rules of thumb, judged.
        published: Published widths, judged.
    """
    return [
        _more(surface, feasible, largest),
        _equal(surface, feasible),
        _other_task(published),
        _experience(rules),
    ]


def _more(
    surface: Surface, feasible: FeasibleSet, largest: Sequence[float] | None
) -> Misconception:
    if largest is None:
        return Misconception(
            claim=MORE, answer=Answer.NOT_ASKED, text="The largest that fits is not known."
        )
    target = RuleTarget(rule=LARGEST_FEASIBLE, widths=largest, source="")
    (judged,) = judge_targets([target], surface, feasible)
    if judged.widths == surface.space.as_mapping(surface.row):
        text = "The largest that fits is the recommended one itself."
        return Misconception(claim=MORE, answer=Answer.HOLDS, text=text)
    size = "" if judged.size_ratio is None else f" at {format_ratio(judged.size_ratio)}"
    text = (
        f"The largest that fits ({_format(judged)}) is believed to be "
        f"{format_against(judged.effect)}{size}; the noise of one training is "
        f"± {format_amount(judged.noise)}."
    )
    is_nothing = judged.standing is Standing.AS_GOOD and judged.effect.high < judged.noise
    answer = {
        Standing.BETTER: Answer.HOLDS,
        Standing.WORSE: Answer.NO,
        Standing.AS_GOOD: Answer.NO if is_nothing else Answer.UNDECIDED,
        Standing.UNDECIDED: Answer.UNDECIDED,
    }[judged.standing]
    return Misconception(claim=MORE, answer=answer, text=text)


def _equal(surface: Surface, feasible: FeasibleSet) -> Misconception:
    space = surface.space
    layers = layer_columns(space)
    if len(layers) < 2:
        text = "The study has a single layer."
        return Misconception(claim=EQUAL, answer=Answer.NOT_ASKED, text=text)

    def has_equal_layers(rows: Any) -> Any:
        return np.all(rows[:, layers] == rows[:, layers[:1]], axis=1)

    if bool(has_equal_layers(surface.row[None, :])[0]):
        text = "The recommended layers are equal themselves."
        return Misconception(claim=EQUAL, answer=Answer.HOLDS, text=text)
    # All of them: a draw from a large space would hold next to none.
    shared = sorted(set.intersection(*(set(space.widths[index].values) for index in layers)))
    rows = np.tile(surface.row, (len(shared), 1))
    rows[:, layers] = np.array(shared, dtype=np.int64)[:, None]
    rows = rows[space.contains_rows(rows)]
    rows = rows[feasible.is_feasible(rows)] if len(rows) else rows
    best = surface.best_of(rows)
    if best is None:
        text = "No candidate with equal layers is among those that keep the limits."
        return Misconception(claim=EQUAL, answer=Answer.NOT_ASKED, text=text)
    target = RuleTarget(rule=EQUAL, widths=[float(width) for width in best], source="")
    (judged,) = judge_targets([target], surface, feasible)
    size = "" if judged.size_ratio is None else f" at {format_ratio(judged.size_ratio)}"
    answer = {
        Standing.BETTER: Answer.HOLDS,
        Standing.AS_GOOD: Answer.HOLDS,
        Standing.WORSE: Answer.NO,
        Standing.UNDECIDED: Answer.UNDECIDED,
    }[judged.standing]
    text = (
        f"The best with equal layers ({_format(judged)}) is believed to be "
        f"{format_against(judged.effect)}{size}."
    )
    return Misconception(claim=EQUAL, answer=answer, text=text)


def _other_task(published: Sequence[JudgedRule]) -> Misconception:
    if not published:
        text = "No published widths can be set against it."
        return Misconception(claim=OTHER_TASK, answer=Answer.NOT_ASKED, text=text)
    return Misconception(
        claim=OTHER_TASK,
        answer=_answer_of(published),
        text=f"Of {len(published)} published widths, taken to what fits, {_count(published)}; "
        f"{_ends(published)}.",
    )


def _experience(rules: Sequence[JudgedRule]) -> Misconception:
    if not rules:
        text = "No rule of thumb can be set against it."
        return Misconception(claim=EXPERIENCE, answer=Answer.NOT_ASKED, text=text)
    spread = max(rule.effect.mean for rule in rules) - min(rule.effect.mean for rule in rules)
    text = f"Of {len(rules)} rules of thumb {_count(rules)}; {_ends(rules)}."
    if spread > rules[0].noise / 100:
        text += f" They differ by {format_amount(spread)}, and none says which of them to follow."
    return Misconception(claim=EXPERIENCE, answer=_answer_of(rules), text=text)


def _answer_of(judged: Sequence[JudgedRule]) -> Answer:
    """Return "no" where one is worse, "holds" where none can be: nobody knew which to take."""
    standings = {rule.standing for rule in judged}
    if Standing.WORSE in standings:
        return Answer.NO
    return Answer.UNDECIDED if Standing.UNDECIDED in standings else Answer.HOLDS


def _count(judged: Sequence[JudgedRule]) -> str:
    """Return how many stand how: "3 are worse than the recommended one, 1 is as good"."""
    counts = {standing: sum(rule.standing is standing for rule in judged) for standing in Standing}
    parts = [
        f"{count} {'is' if count == 1 else 'are'} {standing}"
        for standing, count in counts.items()
        if count
    ]
    return ", ".join(parts)


def _ends(judged: Sequence[JudgedRule]) -> str:
    best = max(judged, key=lambda rule: rule.effect.mean)
    worst = min(judged, key=lambda rule: rule.effect.mean)
    if best is worst:
        return f"{best.rule} ({_format(best)}) is {format_against(best.effect)}"
    return (
        f"the best, {best.rule} ({_format(best)}), is {format_against(best.effect)}, the worst, "
        f"{worst.rule} ({_format(worst)}), {format_against(worst.effect)}"
    )


def _format(judged: JudgedRule) -> str:
    return " ".join(f"{name}={width}" for name, width in judged.widths.items())
