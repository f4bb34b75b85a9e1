"""The goal "smallest": the least cost that is good enough, and whether that is known.

With a target a candidate is good enough that meets it with confidence (`goal.CONFIDENCE`); without
one, whose mean is within one standard error of the best (`goal.settle_target`).
Entry point: `judge_smallest`.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from ...goal import CONFIDENCE, Goal, GoalKind
from ...sampler.best_candidate import best_candidate
from ...units import format_widths
from ..metric_format import format_difference, format_metric
from ..verdict import Verdict
from .candidate import Estimate
from .decision import SURE, trainings_each, trainings_to_settle
from .judged_study import JudgedStudy, Widths
from .judgement import Judgement
from .rivals import runner_up_widths


def judge_smallest(study: JudgedStudy) -> Judgement:
    """Judge the smallest candidate that is good enough, in a study with a surrogate."""
    assert study.posterior is not None
    smallest = best_candidate(
        study.feasible, study.goal, study.history, study.posterior, pool=study.pool
    )
    if smallest is None:
        return Judgement(
            recommended=study.best_observed.widths,
            verdict=Verdict.UNDECIDED,
            verdict_text="Undecided: every candidate that is known failed or broke a measured "
            "limit; recommended is the trial with the best metric, whatever it broke.",
        )
    # The safe alternative to the smallest that suffices is the best.
    runner_up = runner_up_widths(study, smallest.widths)
    estimate = Estimate(mean=smallest.mean, deviation=smallest.deviation)
    if study.goal.target is None:
        return _judge_without_target(study, smallest.widths, runner_up)
    return _judge_with_target(study, smallest.widths, estimate, runner_up)


def _judge_with_target(
    study: JudgedStudy, widths: Widths, estimate: Estimate, runner_up: Widths | None
) -> Judgement:
    goal = study.goal
    assert goal.target is not None
    margin = goal.sign * (estimate.mean - goal.target)
    probability = float(ndtr(margin / estimate.deviation))
    believed = format_metric(estimate.mean, estimate.deviation, with_deviation=True)
    if probability >= CONFIDENCE - 1e-3:
        reached = f"reaches the target {goal.target:g} with {CONFIDENCE:.0%} confidence"
        return _sufficient(study, widths, runner_up, f"{reached}: believed to be at {believed}")
    if probability > 1.0 - CONFIDENCE:
        assert study.noise is not None
        count = trainings_to_settle(margin, estimate.deviation, study.noise)
        text = (
            f"Undecided: {format_widths(widths)} is believed to be at {believed} and reaches the "
            f"target {goal.target:g} with {probability:.0%}, not with the {CONFIDENCE:.0%} asked "
            f"for; about {count} more trainings of it would decide. It is the likeliest, not the "
            "smallest network."
        )
        return Judgement(
            recommended=widths,
            runner_up=runner_up,
            verdict=Verdict.UNDECIDED,
            verdict_text=text,
            in_question=[widths],
            more_trainings=count,
        )
    best = study.trials[int(np.argmax(study.values))]
    was_measured = goal.sign * (best.value - goal.target) >= 0
    text = (
        f"No trial is believed to reach the target {goal.target:g}, though trial {best.number} was "
        f"measured at {best.value:.4g}: "
        if was_measured
        else f"Nothing reaches the target {goal.target:g}: the best is {best.value:.4g}, of trial "
        f"{best.number}. "
    )
    return Judgement(
        recommended=widths,
        runner_up=runner_up,
        verdict=Verdict.TARGET_MISSED,
        verdict_text=f"{text}Recommended is what is believed to come nearest ({believed}), not the "
        "smallest network; lower the target, raise the limits, or train longer.",
    )


def _judge_without_target(
    study: JudgedStudy, widths: Widths, runner_up: Widths | None
) -> Judgement:
    assert study.posterior is not None
    best = best_candidate(
        study.feasible,
        Goal(kind=GoalKind.BEST, direction=study.goal.direction),
        study.history,
        study.posterior,
        pool=study.pool,
    )
    if best is None:
        return Judgement(
            recommended=widths,
            runner_up=runner_up,
            verdict=Verdict.UNDECIDED,
            verdict_text=f"Undecided: no best is known to compare {format_widths(widths)} with, "
            "since what is believed to be better breaks a limit by its own costs.",
        )
    standard_error = best.deviation
    best_shown = format_metric(best.mean, best.deviation, with_deviation=True)
    if dict(best.widths) == dict(widths):
        return _sufficient(
            study, widths, runner_up, f"is the best itself, believed to be at {best_shown}"
        )
    shortfall = study.differences([best.widths], widths)[0]
    if shortfall.probability_within_noise >= SURE:
        lacking = format_difference(shortfall.mean, shortfall.deviation, signed=False)
        reason = (
            f"is within one standard error "
            f"({format_difference(standard_error, standard_error, signed=False)}) of the best, "
            f"{format_widths(best.widths)} at {best_shown}: it lacks {lacking} ± "
            f"{format_difference(shortfall.deviation, shortfall.deviation, signed=False)}"
        )
        return _sufficient(study, widths, runner_up, reason)
    each = trainings_each(shortfall.mean, shortfall.deviation, shortfall.noise_deviation)
    low, high = shortfall.interval()
    spread = shortfall.deviation
    text = (
        f"Undecided: {len(study.trials)} trainings cannot tell whether {format_widths(widths)} is "
        f"as good as {format_widths(best.widths)}, the best: it is believed to lack "
        f"{format_difference(shortfall.mean, spread)} (95 %: {format_difference(low, spread)} to "
        f"{format_difference(high, spread)}); about {2 * each} more trainings, {each} of each, "
        "would decide."
    )
    return Judgement(
        recommended=widths,
        runner_up=best.widths,
        verdict=Verdict.UNDECIDED,
        verdict_text=text,
        in_question=[widths, best.widths],
        more_trainings=2 * each,
    )


def _sufficient(
    study: JudgedStudy, widths: Widths, runner_up: Widths | None, reason: str
) -> Judgement:
    """Return that a candidate is the smallest that suffices, and what it saves."""
    cost = study.goal.cost
    for name, baseline in study.eligible_baselines.items():
        if dict(baseline) == dict(widths):
            return Judgement(
                recommended=widths,
                runner_up=runner_up,
                verdict=Verdict.NO_GAIN,
                verdict_text=f"No gain found: take “{name}”, the smallest that is good enough; it "
                f"{reason}.",
            )
    own = study.describe("", widths).costs.get(cost)
    baseline_costs = {
        name: baseline_cost
        for name, baseline in study.eligible_baselines.items()
        if (baseline_cost := study.describe("", baseline).costs.get(cost))
        and _is_sufficient(study, baseline)
    }
    saving = ""
    if own and baseline_costs:
        cheapest = min(baseline_costs, key=lambda name: baseline_costs[name])
        saving = (
            f", {own / baseline_costs[cheapest]:.0%} of the {cost} of “{cheapest}”, the cheapest "
            "baseline that is"
        )
    return Judgement(
        recommended=widths,
        runner_up=runner_up,
        verdict=Verdict.SMALLEST_SUFFICIENT,
        verdict_text=f"The smallest that is good enough: {format_widths(widths)}{saving}; it "
        f"{reason}.",
    )


def _is_sufficient(study: JudgedStudy, baseline: Widths) -> bool:
    """Return whether a baseline is good enough, too; any where there is no target."""
    estimate = study.estimate(baseline)
    if study.goal.target is None or estimate is None:
        return True
    margin = study.goal.sign * (estimate.mean - study.goal.target)
    return bool(ndtr(margin / estimate.deviation) >= CONFIDENCE)
