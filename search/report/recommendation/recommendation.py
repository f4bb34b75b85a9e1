"""The recommendation: which of all feasible candidates to take, and whether the search gained.

The luckiest training is not the best network: with more trials the best *observed* one gets truly
worse (the winner's curse). So the answer is drawn from the surrogate, over all feasible candidates,
tried or not (`best_candidate`), and set against the plain baselines with all that is not known
about either (`difference_posteriors`). Where that does not decide, it says so, and what would.

Entry points: `recommend`, of a study's evidence; `recommend_among`, of its parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...goal import Goal, GoalKind
from ...sampler.best_candidate import MIN_TRAININGS
from ...sampler.history import History
from ...sampler.posterior import ConstrainedPosterior, fit_posterior
from ...space.feasible_set import FeasibleSet
from ...space.space import Space
from ...surrogate.blas_threads import single_blas_thread
from ...trial.history import CompletedTrial
from ..verdict import Verdict
from .candidate import Estimate, JudgedCandidate
from .front import describe_front
from .gain import judge_best
from .judged_study import CostCounter, JudgedStudy, Widths, trained_baselines, trained_set
from .judgement import Judgement
from .luck import describe_luck
from .sufficiency import judge_smallest

if TYPE_CHECKING:
    from ..evidence import StudyEvidence


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The study's answer.

    Attributes:
        best_observed: Best observed trial for the goal, its luck included.
        recommended: The candidate to take; it may be untried.
        runner_up: The next best that is no twin of it; None where there is none, or no surrogate.
        baselines: The plain baselines by name, tried or not; one that two of them agree on stands
            under both names.
        verdict: What the search has come to, in a word.
        verdict_text: The sentence for it, with its numbers.
        reason: Why it is not the best observed; None where it is.
        estimates: The surrogate's posterior by trial number; empty while there are too few.
        noise: Standard deviation of one training around the surface; None while there are too few.
        front: For the goal "front": the candidates that none is believed to beat in both cost and
            metric, by rising cost.
        knee: Of the front: where a little more cost stops to bring much.
        in_question: Where it is undecided: the candidates that may each be the best.
        more_trainings: Where it is undecided: how many trainings of these are expected to decide.
    """

    best_observed: JudgedCandidate
    recommended: JudgedCandidate
    runner_up: JudgedCandidate | None = None
    baselines: Mapping[str, JudgedCandidate] = field(default_factory=dict)
    verdict: Verdict
    verdict_text: str
    reason: str | None = None
    estimates: Mapping[int, Estimate] = field(default_factory=dict)
    noise: float | None = None
    front: Sequence[JudgedCandidate] = ()
    knee: JudgedCandidate | None = None
    in_question: Sequence[JudgedCandidate] = ()
    more_trainings: int | None = None

    def to_json(self, metric: str) -> dict[str, Any]:
        """Return what `report.json` holds of it besides verdict and baselines.

        Args:
            metric: The metric's name.
        """
        return {
            "best": self.best_observed.to_json(metric),
            "recommended": self.recommended.to_json(metric),
            "runner_up": self.runner_up.to_json(metric) if self.runner_up else None,
            "noise": self.noise,
            "reason": self.reason,
            "front": [candidate.to_json(metric) for candidate in self.front],
            "knee": self.knee.to_json(metric) if self.knee else None,
            "in_question": [candidate.to_json(metric) for candidate in self.in_question],
            "more_trainings": self.more_trainings,
        }

    def sentences(self) -> list[str]:
        """Return the verdict and what explains it, for people."""
        return [self.verdict_text, *([self.reason] if self.reason else [])]


def recommend(evidence: StudyEvidence) -> Recommendation | None:
    """Judge a study; None while no trial is complete."""
    recommendation = recommend_among(
        evidence.space,
        evidence.goal,
        evidence.trials,
        evidence.history,
        evidence.feasible,
        posterior=evidence.posterior,
        baselines=evidence.baselines,
        count_costs=evidence.problem.exact_costs if evidence.problem else None,
    )
    if recommendation is None or evidence.untrained_reason is None:
        return recommendation
    return replace(
        recommendation,
        verdict=Verdict.NOT_TRAINED,
        verdict_text=f"Not trained. {evidence.untrained_reason}",
        reason=None,
    )


@single_blas_thread()
def recommend_among(
    space: Space,
    goal: Goal,
    trials: Sequence[CompletedTrial],
    history: History,
    feasible: FeasibleSet | None = None,
    *,
    posterior: ConstrainedPosterior | None = None,
    baselines: Mapping[str, Widths] | None = None,
    count_costs: CostCounter | None = None,
) -> Recommendation | None:
    """Judge the completed trials of a study.

    Args:
        space: The lattice.
        goal: What was looked for.
        trials: The completed trials.
        history: All trials, the failed ones among them, as the sampler sees them.
        feasible: All that could have been tried; without it only trained candidates are judged.
        posterior: As fitted to the history; None to have it fitted here.
        baselines: Widths of the plain baselines by name, besides those among the trials.
        count_costs: Counts the costs of untried candidates exactly; else they are forecast.

    Returns:
        The recommendation, or None while no trial is complete.
    """
    if not trials:
        return None
    if posterior is None and len(trials) >= MIN_TRAININGS:
        posterior = fit_posterior(space, history)
    study = JudgedStudy(
        space=space,
        goal=goal,
        trials=trials,
        history=history,
        feasible=feasible or trained_set(space, trials),
        posterior=posterior,
        baselines={**(baselines or {}), **trained_baselines(trials)},
        count_costs=count_costs,
    )
    if posterior is None:
        judgement = _judge_few(study)
    elif goal.kind is GoalKind.SMALLEST:
        judgement = judge_smallest(study)
    else:
        judgement = judge_best(study)
    return _put_together(study, _check_trained(study, judgement))


def _judge_few(study: JudgedStudy) -> Judgement:
    """Judge a study with too few trials for a surrogate: nothing tells a width from luck yet."""
    trained = trained_baselines(study.trials)
    values = {
        name: study.goal.sign * candidate.value
        for name, widths in trained.items()
        if (candidate := study.describe(name, widths)).value is not None
    }
    best = max(values, key=lambda name: values[name], default=None)
    more = MIN_TRAININGS - len(study.trials)
    return Judgement(
        recommended=study.best_observed.widths if best is None else trained[best],
        verdict=Verdict.UNDECIDED,
        verdict_text=f"Undecided: {len(study.trials)} trainings are too few to tell a gain from "
        f"the luck of a training; at least {more} more are needed.",
        in_question=[trial.widths for trial in study.trials],
        more_trainings=more,
    )


def _check_trained(study: JudgedStudy, judgement: Judgement) -> Judgement:
    """Return the judgement; "not trained" where even the best trial learned nothing."""
    best = max(study.trials, key=lambda trial: study.goal.sign * trial.value)
    if not best.no_better_than_constant:
        return judgement
    constant = "" if best.constant_score is None else f" ({best.constant_score:.4g})"
    return Judgement(
        recommended=judgement.recommended,
        runner_up=judgement.runner_up,
        verdict=Verdict.NOT_TRAINED,
        verdict_text="Not trained: no trial is better than a constant prediction"
        f"{constant}, so nothing can be said about widths. Look at the target and its scale first, "
        "then at the learning rate and the length of the training.",
    )


def _put_together(study: JudgedStudy, judgement: Judgement) -> Recommendation:
    """Describe what a judgement names."""
    recommended = study.describe("recommended", judgement.recommended)
    best_observed = study.describe("best observed", study.best_observed.widths)
    reason = None
    if study.noise is not None and judgement.verdict is not Verdict.NOT_TRAINED:
        reason = describe_luck(
            recommended, best_observed, study.goal, study.noise, len(study.trials)
        )
    front, knee = describe_front(study) if study.goal.kind is GoalKind.FRONT else ((), None)
    return Recommendation(
        best_observed=best_observed,
        recommended=recommended,
        runner_up=study.describe("runner-up", judgement.runner_up) if judgement.runner_up else None,
        baselines={name: study.describe(name, widths) for name, widths in study.baselines.items()},
        verdict=judgement.verdict,
        verdict_text=judgement.verdict_text,
        reason=reason,
        estimates=study.estimates,
        noise=study.noise,
        front=front,
        knee=knee,
        in_question=[study.describe("in question", widths) for widths in judgement.in_question],
        more_trainings=judgement.more_trainings,
    )
