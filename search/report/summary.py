"""The report of a study: what was tried, what is best, what is recommended and why.

`build_summary` draws it from a study's evidence as a `StudySummary`; `StudySummary.to_json` gives
it to programs, `page.document` to people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from ...objectives import errors
from ...objectives.cost.registry import COSTS
from ...storage.ledger.slot import SlotCounts, SlotRecord, TrialOutcome
from ..command import format_command
from ..goal import Goal
from ..sampler.baselines import AGREEING_NAMES
from ..trial.history import CompletedTrial
from ..units import COST_BY_NAME, format_cost
from ..units import format_widths as format_widths
from .confirmation.contender import SEARCH_PICK
from .metric_format import format_metric
from .recommendation.candidate import KNEE, Estimate, JudgedCandidate
from .reference import ModelComparison, Reference, compare_models
from .verdict import Verdict

if TYPE_CHECKING:
    from .confirmation.confirmation import Confirmation
    from .diagnosis.diagnosis import Diagnosis
    from .evidence import StudyEvidence
    from .recommendation.recommendation import Recommendation
    from .stopping import StoppingNote

FLOPS_NOTE = "FLOPs = 2 × MACs; both forward and per sample."
NO_ANSWER: Mapping[str, Any] = {
    "best": None,
    "recommended": None,
    "runner_up": None,
    "noise": None,
    "reason": None,
    "front": [],
    "knee": None,
    "in_question": [],
    "more_trainings": None,
}
"""What stands in the place of `Recommendation.to_json` while no trial is complete."""


class ReportPart(Protocol):
    """A part of a report that another room draws from a study's evidence."""

    def to_json(self) -> dict[str, Any]:
        """Return it as `report.json` holds it: plain JSON, no NaN."""
        ...

    def sentences(self) -> list[str]:
        """Return what a person reads of it, with numbers, units and spreads."""
        ...


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """All that a study has found.

    Attributes:
        study: Its name.
        goal: What was looked for.
        metric: The metric's name.
        counts: The trials by state, and the budget.
        limits: The bounds that are set, by name.
        trials: The completed trials, by number.
        failed: The slots that failed.
        recommendation: The answer; None while no trial is complete.
        exhausted: Whether every feasible candidate is known to have been tried.
        references: Models other than a network, on the same splits.
        confirmation: What trainings with fresh seeds showed; None while there are none.
        proxy_fidelity: How far the short trainings can be trusted; None while it is not known.
        diagnosis: What holds the quality back, per layer and per study; None where it is not drawn.
        rules: Rules of thumb judged against the study; None where they are not drawn.
        stopping: When the search ended itself, or could have; None where it cannot be told.
    """

    study: str
    goal: Goal
    metric: str
    counts: SlotCounts
    limits: Mapping[str, float]
    trials: Sequence[CompletedTrial]
    failed: Sequence[SlotRecord]
    recommendation: Recommendation | None
    exhausted: bool = False
    references: Sequence[Reference] = ()
    confirmation: Confirmation | None = None
    proxy_fidelity: ReportPart | None = None
    diagnosis: Diagnosis | None = None
    rules: ReportPart | None = None
    stopping: StoppingNote | None = None

    @property
    def verdict(self) -> Verdict:
        """What the study has come to, in a word: by its confirmation where there is one."""
        if self.confirmation is not None and self.confirmation.complete:
            return self.confirmation.verdict
        return self.recommendation.verdict if self.recommendation else Verdict.NO_TRIALS

    @property
    def verdict_text(self) -> str:
        """The verdict in a sentence, with its numbers."""
        if self.confirmation is not None and self.confirmation.complete:
            return self.confirmation.verdict_text
        if self.recommendation is None:
            return self._no_answer_text
        return self.recommendation.verdict_text

    @property
    def _no_answer_text(self) -> str:
        nan = sum(record.outcome is TrialOutcome.NAN for record in self.failed)
        if self.counts.running or self.counts.waiting or not nan:
            return "No trial is complete yet."
        again = format_command("resume", self.study, options=["--trials", f"+{nan}"])
        return (
            f"No training gave a value: in {nan} of {self.counts.budget} the loss or the metric "
            "became nan. Lower the learning rate (`proxy.learning_rate`) or mend the model, and "
            f"run that under another name; `{again}` tries other candidates as it is."
        )

    @property
    def recommended(self) -> JudgedCandidate | None:
        """The candidate to take: what a complete confirmation chose, else what the search did."""
        answer, confirmation = self.recommendation, self.confirmation
        chosen = confirmation.chosen if confirmation and confirmation.complete else None
        if answer is None or chosen is None:
            return answer.recommended if answer else None
        # It is one of those that the answer names: they are whom a confirmation is held among.
        named = [answer.recommended, answer.runner_up, answer.knee, *answer.baselines.values()]
        taken = next(
            candidate
            for candidate in named
            if candidate is not None and dict(candidate.widths) == dict(chosen.widths)
        )
        return replace(taken, label=answer.recommended.label)

    @property
    def is_pick_recommended(self) -> bool:
        """Whether what the search would have taken is what is recommended."""
        taken, answer = self.recommended, self.recommendation
        if taken is None or answer is None:
            return True
        return dict(taken.widths) == dict(answer.recommended.widths)

    @property
    def no_better_than_constant(self) -> list[CompletedTrial]:
        """The completed trials that are no better than a constant prediction."""
        return [trial for trial in self.trials if trial.no_better_than_constant]

    @property
    def baselines(self) -> Mapping[str, JudgedCandidate]:
        """The plain baselines by name, tried or not."""
        return self.recommendation.baselines if self.recommendation else {}

    @property
    def comparison(self) -> ModelComparison | None:
        """The recommended network against the best other model; None while it is not trained."""
        trial = self.recommended.trial if self.recommended else None
        if trial is None:
            return None
        return compare_models(self.references, trial, self.goal, self.metric)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as `report --json` writes it, a mapping of JSON values."""
        answer, taken = self.recommendation, self.recommended
        return {
            "study": self.study,
            "goal": str(self.goal.kind),
            "target": self.goal.target,
            "metric": {"name": self.metric, "direction": str(self.goal.direction)},
            **progress_summary(self.counts),
            "limits": dict(self.limits),
            "verdict": str(self.verdict),
            "verdict_text": self.verdict_text,
            **(answer.to_json(self.metric) if answer else NO_ANSWER),
            "recommended": taken.to_json(self.metric) if taken else None,
            "search_pick": answer.recommended.to_json(self.metric) if answer else None,
            "baselines": self._baselines_json(),
            "better_model": self.comparison.to_json() if self.comparison else None,
            "confirmation": _part_json(self.confirmation),
            "proxy_fidelity": _part_json(self.proxy_fidelity),
            "diagnosis": _part_json(self.diagnosis),
            "rules": _part_json(self.rules),
            "stopping": _part_json(self.stopping),
            "no_better_than_constant": len(self.no_better_than_constant),
            "failures": [_failure_json(record) for record in self.failed],
            "history": [self.trial_json(trial) for trial in self.trials],
        }

    def _baselines_json(self) -> dict[str, Any]:
        """Return the networks among the baselines by name, then the models that are no networks."""
        networks = {
            name: {"value": candidate.value, **candidate.to_json(self.metric)}
            for name, candidate in self.baselines.items()
        }
        models = {
            reference.name: {"value": reference.value, "test": reference.test}
            for reference in self.references
        }
        return {**networks, **models}

    def trial_json(self, trial: CompletedTrial) -> dict[str, Any]:
        """Return a trial as JSON, with the surrogate's estimate where there is one."""
        estimate = self.estimate(trial)
        return JudgedCandidate(
            label="", widths=trial.widths, trial=trial, estimate=estimate, costs=trial.costs
        ).to_json(self.metric)

    def estimate(self, trial: CompletedTrial) -> Estimate | None:
        """Return the surrogate's posterior of a trial's candidate, None where there is none."""
        return self.recommendation.estimates.get(trial.number) if self.recommendation else None


def _part_json(part: ReportPart | None) -> dict[str, Any] | None:
    return part.to_json() if part else None


def build_summary(evidence: StudyEvidence) -> StudySummary:
    """Gather all that a study has found."""
    # The surrogate, and all that it stands on, is for those who ask for an answer.
    from .confirmation.from_evidence import read_confirmation
    from .diagnosis.diagnosis import diagnose_study
    from .recommendation.recommendation import recommend
    from .rules.rules_judged import judge_rules
    from .stopping import review_stopping

    recommendation = recommend(evidence)
    confirmation, proxy_fidelity = read_confirmation(evidence, recommendation)
    summary = StudySummary(
        study=evidence.row.name,
        goal=evidence.goal,
        metric=evidence.spec.metric,
        counts=evidence.counts,
        limits=evidence.spec.limits.bounds,
        trials=evidence.trials,
        failed=evidence.failed,
        recommendation=recommendation,
        exhausted=evidence.exhausted,
        references=evidence.references,
        confirmation=confirmation,
        proxy_fidelity=proxy_fidelity,
        stopping=review_stopping(evidence),
    )
    # What is taken is judged, not what would have been before its confirmation.
    taken = summary.recommended
    if recommendation is not None and taken is not None:
        recommendation = replace(recommendation, recommended=taken)
    return replace(
        summary,
        diagnosis=diagnose_study(evidence, recommendation),
        rules=judge_rules(evidence, recommendation),
    )


def progress_summary(counts: SlotCounts) -> dict[str, Any]:
    """Return budget and trials by state, as `status --json` gives them."""
    return {
        "budget": counts.budget,
        "trials": {
            "complete": counts.complete,
            "running": counts.running,
            "failed": counts.failed,
            "pruned": counts.pruned,
            "waiting": counts.waiting,
        },
    }


def failure_reason(record: SlotRecord) -> str:
    """Return the last line of what went wrong in a slot; empty where nothing is known."""
    result: Mapping[str, Any] = record.result or {}
    reason = str(result.get("error") or result.get("detail") or "").strip()
    # A traceback names an exception of ours with all its packages.
    return reason.splitlines()[-1].removeprefix(f"{errors.__name__}.") if reason else ""


def _failure_json(record: SlotRecord) -> dict[str, Any]:
    return {
        "trial": record.number,
        "outcome": record.outcome,
        "widths": dict(record.widths or {}),
        "reason": failure_reason(record),
    }


def cost_columns(limits: Mapping[str, float]) -> dict[str, str]:
    """Return the costs a table shows, by name with their titles: the usual and the limited ones."""
    usual = [cost.name for cost in COSTS if cost.in_every_table]
    return {name: COST_BY_NAME[name].title for name in dict.fromkeys([*usual, *limits])}


def comparison_table(summary: StudySummary) -> tuple[list[str], list[list[str]]]:
    """Return the table that ends a run: baselines, best and recommended, with their costs.

    Returns:
        The titles, and the rows; the first row holds the limits. What is believed of a candidate is
        its posterior mean and standard deviation.
    """
    limits, costs, metric = summary.limits, cost_columns(summary.limits), summary.metric
    titles = ["", "trial", "widths", f"validation {metric}", "believed (± s.d.)", *costs.values()]
    limit_cells = [
        f"≤ {format_cost(name, limits[name])}" if name in limits else "—" for name in costs
    ]
    rows = [["limit", "", "", "", "", *limit_cells]]
    no_costs = ["—"] * len(costs)
    rows += [
        [reference.title, "—", "—", format_metric(reference.value), "—", *no_costs]
        for reference in summary.references
    ]
    for label, candidate in _named_candidates(summary):
        estimate = candidate.estimate
        cost_cells = [
            format_cost(name, candidate.costs[name]) if name in candidate.costs else "—"
            for name in costs
        ]
        rows.append(
            [
                label,
                str(candidate.trial.number) if candidate.trial else "—",
                format_widths(candidate.widths),
                format_metric(candidate.value),
                format_metric(estimate.mean, estimate.deviation, with_deviation=True)
                if estimate
                else "—",
                *cost_cells,
            ]
        )
    return titles, rows


def _named_candidates(summary: StudySummary) -> list[tuple[str, JudgedCandidate]]:
    """Return the networks of the comparison table, each once and under all its names."""
    answer = summary.recommendation
    if answer is None:
        return []
    knee_widths = dict(answer.knee.widths) if answer.knee else None
    named = [
        *answer.baselines.items(),
        *(
            (KNEE if dict(candidate.widths) == knee_widths else "front", candidate)
            for candidate in answer.front
        ),
        ("best observed", answer.best_observed),
    ]
    named += [("runner-up", answer.runner_up)] if answer.runner_up else []
    if not summary.is_pick_recommended:
        named += [(SEARCH_PICK, answer.recommended)]
    taken = summary.recommended
    assert taken is not None, "there is an answer"
    named += [(taken.label, taken)]
    rows: dict[str, tuple[str, JudgedCandidate]] = {}
    for name, candidate in named:
        key = format_widths(candidate.widths)
        # Taken out and put in again: a network stands where the last of its names does.
        known = rows.pop(key, None)
        names = name if known is None else f"{known[0]}{AGREEING_NAMES}{name}"
        rows[key] = (names, candidate if known is None else known[1])
    return list(rows.values())


def progress_line(summary: StudySummary) -> str:
    """Return how far the study is, in one line."""
    trials = progress_summary(summary.counts)["trials"]
    states = ", ".join(f"{count} {state}" for state, count in trials.items() if count)
    return f"{summary.study}: {states or 'nothing yet'}, of a budget of {summary.counts.budget}"
