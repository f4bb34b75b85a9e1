"""The goals "best" and "front": whether the best candidate beats the plain baselines.

Entry point: `judge_best`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...sampler.best_candidate import best_candidate
from ...units import format_widths
from ..metric_format import format_difference
from ..verdict import Verdict
from .decision import SURE, judge_gain, trainings_each
from .judged_study import JudgedStudy, Widths
from .judgement import Judgement
from .rivals import runner_up_widths


def judge_best(study: JudgedStudy) -> Judgement:
    """Judge the best candidate of a study with a surrogate against the best baseline."""
    assert study.posterior is not None
    best = best_candidate(
        study.feasible, study.goal, study.history, study.posterior, pool=study.pool
    )
    if best is None:
        return Judgement(
            recommended=study.best_observed.widths,
            verdict=Verdict.UNDECIDED,
            verdict_text="Undecided: every candidate that is known failed or broke a measured "
            "limit; recommended is the trial with the best metric, whatever it broke.",
        )
    runner_up = runner_up_widths(study, best.widths)
    baseline_name = _best_baseline(study)
    if baseline_name is None:
        return Judgement(
            recommended=best.widths,
            runner_up=runner_up,
            verdict=Verdict.UNDECIDED,
            verdict_text="Undecided: there is no baseline to judge it against, since none of them "
            "keeps the limits; recommended is the best of all candidates, as believed.",
        )
    baseline = study.baselines[baseline_name]
    # What the search has to say for itself is the best candidate that is no baseline.
    is_baseline = any(
        dict(best.widths) == dict(widths) for widths in study.eligible_baselines.values()
    )
    challenger: Widths | None = best.widths
    if is_baseline:
        challenger = runner_up_widths(study, best.widths, study.eligible_baselines.values())
        baseline = best.widths
        baseline_name = next(
            name
            for name, widths in study.eligible_baselines.items()
            if dict(widths) == dict(best.widths)
        )
    if challenger is None:
        return Judgement(
            recommended=baseline,
            runner_up=runner_up,
            verdict=Verdict.NO_GAIN,
            verdict_text=f"No gain found: “{baseline_name}” is the best, and there is no other "
            "candidate that is neither its twin nor a baseline.",
        )
    return _judge_against(study, best.widths, runner_up, challenger, baseline, baseline_name)


def _judge_against(
    study: JudgedStudy,
    best: Widths,
    runner_up: Widths | None,
    challenger: Widths,
    baseline: Widths,
    baseline_name: str,
) -> Judgement:
    """Judge a candidate that was searched against the best baseline."""
    difference = study.differences([challenger], baseline)[0]
    verdict = judge_gain(difference)
    low, high = difference.interval()
    spread = difference.deviation

    def shown(value: float, *, signed: bool = True) -> str:
        return format_difference(value, spread, signed=signed)

    interval = f"95 %: {shown(low)} to {shown(high)}"
    luck = f"±{shown(difference.noise_deviation, signed=False)}"
    title = format_widths(challenger)
    if verdict is Verdict.GAIN:
        share = _cost_share(study, challenger, baseline)
        text = (
            f"A gain: {title} is believed to be better than “{baseline_name}” by "
            f"{shown(abs(difference.mean), signed=False)} ({interval}){share}; the luck of one "
            f"training is {luck}."
        )
        return Judgement(
            recommended=challenger,
            runner_up=runner_up if dict(challenger) == dict(best) else best,
            verdict=verdict,
            verdict_text=text,
        )
    if verdict is Verdict.NO_GAIN:
        text = (
            f"No gain found: take “{baseline_name}”. The best candidate that is no baseline, "
            f"{title}, is believed to be {shown(abs(difference.mean), signed=False)} "
            f"{'better' if difference.mean > 0 else 'worse'} (gain, {interval}); the "
            f"luck of one training is {luck}."
        )
        return Judgement(
            recommended=baseline,
            runner_up=challenger,
            verdict=verdict,
            verdict_text=text,
        )
    return _undecided(study, best, runner_up, challenger, baseline, baseline_name)


def _undecided(
    study: JudgedStudy,
    best: Widths,
    runner_up: Widths | None,
    challenger: Widths,
    baseline: Widths,
    baseline_name: str,
) -> Judgement:
    """Say which candidates are in question, and how many trainings of them would decide."""
    rivals: list[Mapping[str, int]] = []
    for widths in (
        challenger,
        baseline,
        *study.eligible_baselines.values(),
        study.best_observed.widths,
        runner_up,
    ):
        if widths is not None and dict(widths) not in [dict(best), *map(dict, rivals)]:
            rivals.append(widths)
    differences = study.differences(rivals, best)
    pairs = list(zip(rivals, differences, strict=True))
    # In question is what may be better; and the pair that the verdict is about, in any case.
    in_question = [
        (widths, difference)
        for widths, difference in pairs
        if difference.probability_above(0.0) > 1.0 - SURE
        or dict(widths) in (dict(challenger), dict(baseline))
    ]
    # What was searched less the baseline; where that is the best, the others less it.
    sign = -1.0 if dict(challenger) == dict(best) else 1.0
    each = max(
        trainings_each(sign * difference.mean, difference.deviation, difference.noise_deviation)
        for _, difference in in_question
    )
    decisive = next(
        difference
        for widths, difference in in_question
        if dict(widths) in (dict(challenger), dict(baseline))
    )
    low, high = decisive.interval()
    spread = decisive.deviation
    low, high = sorted((sign * low, sign * high))
    count = each * (len(in_question) + 1)
    trainings = len(study.trials)
    text = (
        f"Undecided: {trainings} trainings cannot tell {format_widths(challenger)} from "
        f"“{baseline_name}” ({format_widths(baseline)}): its gain is believed to be "
        f"{format_difference(sign * decisive.mean, spread)} (95 %: "
        f"{format_difference(low, spread)} to {format_difference(high, spread)}), and the luck of "
        f"one training is ±{format_difference(decisive.noise_deviation, spread, signed=False)}. "
        f"{len(in_question) + 1} candidates are in question; about {count} more trainings, {each} "
        "of each, would decide."
    )
    return Judgement(
        recommended=best,
        runner_up=challenger if dict(challenger) != dict(best) else runner_up,
        verdict=Verdict.UNDECIDED,
        verdict_text=text,
        in_question=[best, *(widths for widths, _ in in_question)],
        more_trainings=count,
    )


def _best_baseline(study: JudgedStudy) -> str | None:
    """Return the name of the eligible baseline with the best mean; None without any."""
    means = {}
    for name, widths in study.eligible_baselines.items():
        estimate = study.estimate(widths)
        assert estimate is not None
        means[name] = study.goal.sign * estimate.mean
    return max(means, key=lambda name: means[name], default=None)


def _cost_share(study: JudgedStudy, candidate: Widths, baseline: Widths) -> str:
    """Return ", at 41 % of its flops"; nothing where costs are not known."""
    names = [study.goal.cost] if study.goal.kind.uses_cost else ["flops", "parameters"]
    costs = study.describe("", candidate).costs, study.describe("", baseline).costs
    for name in names:
        own, other = costs[0].get(name), costs[1].get(name)
        if own and other:
            return f", at {own / other:.0%} of its {name}"
    return ""
