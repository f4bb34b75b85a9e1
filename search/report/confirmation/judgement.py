"""The judgement: from the trainings of a confirmation to the verdict.

The choice is made by the validation split alone. What the test split says of the same trainings is
shown beside it, and said where it contradicts the choice beyond doubt. Entry point:
`judge_confirmation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from ...command import format_command
from ...goal import Goal, GoalKind
from ...sampler.baselines import LARGEST_FEASIBLE
from ..reference import Reference
from ..verdict import Verdict
from .comparison import Comparison, ConfirmedValues, RaceRules, compare
from .confirmation import BETTER_MODEL, Confirmation, ContenderResult
from .confirmed_run import ConfirmedRun
from .contender import RECOMMENDED, SPREAD, Contender
from .race import FIRST_SEEDS, MOST_SEEDS, constant_score, next_trainings
from .saving import JOULES_PER_FLOP, find_savings
from .sequential import GAIN_ERROR, SUFFICIENCY_ERROR
from .standing import Standing, State, beats_constant, judge_standings
from .words import MetricWords, share_of_cost

if TYPE_CHECKING:
    from ..evidence import StudyEvidence

_WORTHWHILE_SHARE = 0.9
"""Of the cost: a network that is as good and costs more than that is not worth a sentence."""


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """The verdict, what it rests on, and what is as good as the chosen one for a good deal less."""

    verdict: Verdict
    text: str
    chosen: Contender | None = None
    comparisons: Sequence[Comparison] = ()
    thriftier: Contender | None = None


@dataclass(frozen=True, kw_only=True)
class _Case:
    """All that a verdict is drawn from.

    Attributes:
        study: The study's name.
        goal: What was looked for.
        contenders: Those that are judged.
        values: Their metrics.
        words: How the metric is written.
        standings: Where the contenders stand.
        missing: Trainings that the race still asks for.
        folds: That a training's metric is the mean of; 0 where that is unknown.
    """

    study: str
    goal: Goal
    contenders: Sequence[Contender]
    values: ConfirmedValues
    words: MetricWords
    standings: Sequence[Standing]
    missing: int
    folds: int

    @property
    def baselines(self) -> list[Contender]:
        """The plain baselines that have a metric."""
        return [
            contender
            for contender in self.contenders
            if contender.is_baseline and self.values.of(contender)
        ]

    @property
    def largest(self) -> Contender | None:
        """The largest that fits, where it is among them."""
        return next((item for item in self.baselines if LARGEST_FEASIBLE in item.title), None)

    @property
    def best_baseline(self) -> Contender:
        """The plain baseline with the best mean."""
        return max(self.baselines, key=self.values.mean)

    @property
    def reference(self) -> Contender | None:
        """What differences are told against: the largest that fits, else the best baseline."""
        return self.largest or (self.best_baseline if self.baselines else None)


def judge_confirmation(
    contenders: Sequence[Contender],
    runs: Sequence[ConfirmedRun],
    evidence: StudyEvidence,
    *,
    first_seeds: int = FIRST_SEEDS,
    most_seeds: int = MOST_SEEDS,
    joules_per_flop: float = JOULES_PER_FLOP,
) -> Confirmation:
    """Judge a study's answer by its confirmation.

    Args:
        contenders: As `choose_contenders` chose them.
        runs: Their trainings, all of them or so far.
        evidence: Of the study: its goal, metric and reference models.
        first_seeds: As given to `next_trainings`.
        most_seeds: As given to it.
        joules_per_flop: Energy of a floating-point operation.
    """
    goal, most_seeds = evidence.goal, max(first_seeds, most_seeds)
    rules = RaceRules(first_seeds=first_seeds, most_seeds=most_seeds)
    keys = {contender.key for contender in contenders}
    runs = [run for run in runs if run.key in keys]
    values = ConfirmedValues.from_runs(runs, goal, rules)
    words = MetricWords(name=evidence.spec.metric, sign=goal.sign)
    missing = next_trainings(contenders, runs, goal, first_seeds=first_seeds, most_seeds=most_seeds)
    case = _Case(
        study=evidence.row.name,
        goal=goal,
        contenders=[contender for contender in contenders if contender.label != SPREAD],
        values=values,
        words=words,
        standings=judge_standings(contenders, values, goal),
        missing=len(missing),
        folds=max((run.folds for run in runs), default=0),
    )
    constant = constant_score(runs)
    answer = _answer(case, constant)
    saver = answer.thriftier or answer.chosen
    error = SUFFICIENCY_ERROR if goal.kind is GoalKind.SMALLEST else GAIN_ERROR
    return Confirmation(
        verdict=answer.verdict,
        verdict_text=answer.text,
        chosen=answer.chosen,
        complete=not missing,
        results=[_result(case, contender, runs, error) for contender in contenders],
        comparisons=answer.comparisons,
        reference=case.reference,
        remarks=_remarks(case, answer, evidence.references),
        saver=saver,
        saved=()
        if saver is None or case.largest in (None, saver)
        else find_savings(saver, case.largest, runs, joules_per_flop=joules_per_flop),
        trainings=sum(run.value is not None for run in runs),
        confidence=round(100 * (1 - error)),
        metric=words,
        margin=values.margin().size if values.freedom else None,
        joules_per_flop=joules_per_flop,
    )


def _answer(case: _Case, constant: float | None) -> _Answer:
    if not any(case.values.of(contender) for contender in case.contenders):
        return _Answer(
            verdict=Verdict.UNDECIDED,
            text="Undecided: no training of the confirmation has come to a metric.",
        )
    if case.missing:
        return _Answer(
            verdict=Verdict.UNDECIDED,
            text=f"Undecided as yet: {case.missing} trainings of the confirmation are to come; "
            f"`{format_command('confirm', case.study)}` goes on.",
        )
    if constant is not None and not beats_constant(
        case.contenders, case.values, case.goal.sign * constant
    ):
        return _Answer(
            verdict=Verdict.NOT_TRAINED,
            text=f"Not trained: even long trainings are no better than a constant prediction "
            f"({case.words.value(case.goal.sign * constant)}). Try another learning rate, look at "
            "the scaling of inputs and targets, and whether the inputs tell the target at all.",
        )
    if case.goal.kind is GoalKind.SMALLEST:
        return _smallest_answer(case)
    if not case.baselines:
        best = max(case.contenders, key=case.values.mean)
        return _Answer(
            verdict=Verdict.UNDECIDED,
            text="Undecided: no plain baseline has a metric to compare with; the best is "
            f"{best.description}.",
            chosen=best,
        )
    return _gain_answer(case)


def _gain_answer(case: _Case) -> _Answer:
    proven = [standing for standing in case.standings if standing.state is State.PROVEN]
    reference = case.reference
    assert reference is not None, "there are baselines"
    if proven:
        winner = proven[0]
        chosen = winner.contender
        against = next(item for item in winner.comparisons if item.reference == reference)
        difference = against.difference
        text = (
            f"Better than the {reference.baseline_name} by "
            f"{case.words.amount(difference.mean, difference.half_width)} of {case.words.name}"
            f"{_at_share(case, chosen, reference)}: take {chosen.description}."
        )
        return _Answer(
            verdict=Verdict.GAIN, text=text, chosen=chosen, comparisons=winner.comparisons
        )
    chosen = _baseline_to_take(case, reference)
    comparisons = [
        item
        for standing in case.standings
        if (item := compare(case.values, standing.contender, chosen)) is not None
    ]
    thriftier = _as_good_for_less(case, comparisons, chosen)
    sentences = [
        f"No gain found: take the {chosen.baseline_name} ({chosen.widths_text}).",
        *(_distance(case, item) for item in comparisons[:1]),
    ]
    if thriftier is not None:
        share = share_of_cost(thriftier.costs, chosen.costs, case.goal.cost)
        sentences.append(
            "As good, to within one standard deviation between seeds "
            f"({case.words.amount(case.values.margin().size)}), is {thriftier.description} with "
            f"{share}."
        )
    if not comparisons:
        sentences.append("The search found nothing but this baseline to set against the others.")
    return _Answer(
        verdict=Verdict.NO_GAIN,
        text=" ".join(sentences),
        chosen=chosen,
        comparisons=comparisons,
        thriftier=thriftier,
    )


def _baseline_to_take(case: _Case, reference: Contender) -> Contender:
    """Return the baseline to take where nothing is better than all of them.

    It is the recommended one, where that is a baseline, else the largest that fits; unless the best
    of them is better beyond doubt.
    """
    usual = next((item for item in case.baselines if item.label == RECOMMENDED), reference)
    best = compare(case.values, case.best_baseline, usual)
    return case.best_baseline if best is not None and best.is_gain else usual


def _distance(case: _Case, comparison: Comparison) -> str:
    """Return by how much a challenger that won nothing differs."""
    difference = comparison.difference
    return (
        f"{comparison.challenger.name.replace('the ', 'The ', 1)} differs from it by "
        f"{case.words.signed(difference)} of {case.words.name} (95 %, {difference.count} seeds)."
    )


def _as_good_for_less(
    case: _Case, comparisons: Sequence[Comparison], chosen: Contender
) -> Contender | None:
    """Return a challenger that is as good as the chosen network and costs a good deal less."""
    margin, cost = case.values.margin(), case.goal.cost
    for comparison in comparisons:
        challenger = comparison.challenger
        ours, theirs = challenger.costs.get(cost), chosen.costs.get(cost)
        if ours is None or theirs is None or ours > _WORTHWHILE_SHARE * theirs:
            continue
        if comparison.is_as_good(margin):
            return challenger
    return None


def _smallest_answer(case: _Case) -> _Answer:
    chosen = next((standing for standing in case.standings if standing.state is State.PROVEN), None)
    target = case.goal.target
    if chosen is None:
        return _no_sufficient(case)
    contender = chosen.contender
    assert chosen.metric is not None, "what is proven was trained"
    value = case.words.value(chosen.metric.mean, chosen.metric.half_width)
    share = _share_of_largest(case, contender)
    if target is not None:
        text = f"The smallest that meets the target {target:g}: {value}{share}"
    elif not chosen.comparisons:
        text = f"Nothing smaller is known to be as good: {value}{share}"
    else:
        margin = case.values.margin()
        text = (
            f"The smallest that is as good, to within one standard deviation between seeds "
            f"({case.words.amount(margin.size)}): {value}{share}"
        )
    if contender.is_baseline:
        return _Answer(
            verdict=Verdict.NO_GAIN,
            text=f"No gain found: take the {contender.baseline_name} ({contender.widths_text}). "
            f"{text}.",
            chosen=contender,
            comparisons=chosen.comparisons,
        )
    return _Answer(
        verdict=Verdict.SMALLEST_SUFFICIENT,
        text=f"{text}: take {contender.description}.",
        chosen=contender,
        comparisons=chosen.comparisons,
    )


def _no_sufficient(case: _Case) -> _Answer:
    """Return the answer where no contender is known to be good enough."""
    best = max(
        (standing for standing in case.standings if standing.metric is not None),
        key=lambda standing: case.values.mean(standing.contender),
    )
    assert best.metric is not None
    value = case.words.value(best.metric.mean, best.metric.half_width)
    target = case.goal.target
    if target is None:
        return _Answer(
            verdict=Verdict.UNDECIDED,
            text=f"Undecided: none is known to be as good as the others; the best is "
            f"{best.contender.description} with {value}.",
            chosen=best.contender,
        )
    if best.metric.high < case.goal.signed_target:
        return _Answer(
            verdict=Verdict.TARGET_MISSED,
            text=f"Nothing reaches the target {target:g}: the best is "
            f"{best.contender.description} with {value}. Lower the target, raise the limits, or "
            "train longer.",
            chosen=best.contender,
        )
    return _Answer(
        verdict=Verdict.UNDECIDED,
        text=f"Undecided: no network is known to meet the target {target:g}; "
        f"{best.contender.description} comes nearest with {value} ({best.metric.count} seeds).",
        chosen=best.contender,
    )


def _remarks(case: _Case, answer: _Answer, references: Sequence[Reference]) -> list[str]:
    remarks = [
        f"The test split says the opposite: there {comparison.challenger.description} differs "
        f"from the {comparison.reference.title} by {case.words.signed(comparison.test)}. The "
        "validation split may have been fitted by choice; more data would tell."
        for comparison in answer.comparisons
        if comparison.contradicts and comparison.test is not None
    ]
    constant = next((item.test for item in references if item.name == "constant"), None)
    own = [] if answer.chosen is None else case.values.test_of(answer.chosen)
    if constant is not None and own and fmean(own) <= case.goal.sign * constant:
        told = f"{case.words.value(fmean(own))} against {constant:.4g}"
        remarks.append(f"On the test split the network is no better than a constant: {told}.")
    better = _better_reference(case, answer, references)
    return [*remarks, *([better] if better else [])]


def _better_reference(case: _Case, answer: _Answer, references: Sequence[Reference]) -> str | None:
    """Return the sentence on a model other than a network that is better, beyond its interval."""
    others = [item for item in references if item.name != "constant"]
    if answer.chosen is None or not others:
        return None
    own = case.values.rules.mean_interval(case.values.of(answer.chosen), GAIN_ERROR)
    values = {item.title: item.value_on_first(case.folds) for item in others}
    best = max(values, key=lambda title: case.goal.sign * values[title])
    if case.goal.sign * values[best] <= own.high:
        return None
    return (
        f"{BETTER_MODEL} here: {best} with {case.words.name} {values[best]:.4g}, "
        f"the network has {case.words.value(own.mean, own.half_width)}."
    )


def _result(
    case: _Case, contender: Contender, runs: Sequence[ConfirmedRun], error: float
) -> ContenderResult:
    own, test = case.values.of(contender), case.values.test_of(contender)
    rules, reference = case.values.rules, case.reference
    return ContenderResult(
        contender=contender,
        metric=rules.mean_interval(own, error) if own else None,
        test=rules.mean_interval(test, error) if test else None,
        against_reference=None
        if reference is None or reference == contender
        else compare(case.values, contender, reference),
        failed=sum(run.key == contender.key and run.value is None for run in runs),
    )


def _at_share(case: _Case, chosen: Contender, reference: Contender) -> str:
    cost = case.goal.cost if case.goal.kind.uses_cost else "flops"
    share = share_of_cost(chosen.costs, reference.costs, cost)
    return "" if share is None else f" at {share.replace(' of the ', ' of its ')}"


def _share_of_largest(case: _Case, chosen: Contender) -> str:
    largest = case.largest
    if largest is None or largest == chosen:
        return ""
    share = share_of_cost(chosen.costs, largest.costs, case.goal.cost)
    return "" if share is None else f" at {share} of the largest that fits"
