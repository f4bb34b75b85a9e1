"""The report of a study: what was tried, what is best, what is recommended and why.

`build_summary` draws it from a study's evidence as a `StudySummary`; `StudySummary.to_json` gives
it to programs, `page.document` to people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ...objectives.cost.registry import COSTS
from ...storage.ledger.slot import SlotCounts, SlotRecord
from ..goal import Goal
from ..trial.history import CompletedTrial
from ..units import COST_BY_NAME, format_cost
from .reference import Reference, better_model

if TYPE_CHECKING:
    from .evidence import StudyEvidence
    from .recommendation.recommendation import Estimate, Recommendation

FLOPS_NOTE = "FLOPs = 2 × MACs; both forward and per sample."
TEST_NOTE = "Test figures come from data that no choice has seen."


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

    @property
    def verdict(self) -> str:
        """One sentence that judges the recommended trial."""
        if self.recommendation is None:
            return "No trial is complete yet."
        return self.recommendation.verdict

    @property
    def no_better_than_constant(self) -> list[CompletedTrial]:
        """The completed trials that are no better than a constant prediction."""
        return [trial for trial in self.trials if trial.no_better_than_constant]

    @property
    def baselines(self) -> list[CompletedTrial]:
        """The completed baselines."""
        return [trial for trial in self.trials if trial.origin.is_baseline]

    def to_json(self) -> dict[str, Any]:
        """Return the summary as `report --json` writes it, a mapping of JSON values."""
        answer = self.recommendation
        best = answer.best_candidate if answer else None
        return {
            "study": self.study,
            "goal": str(self.goal.kind),
            "target": self.goal.target,
            "metric": {"name": self.metric, "direction": str(self.goal.direction)},
            **progress_summary(self.counts),
            "limits": dict(self.limits),
            "baselines": [self.trial_json(trial) for trial in self.baselines],
            "references": {
                reference.name: {"value": reference.value, "test": reference.test}
                for reference in self.references
            },
            "best": self.trial_json(answer.best_observed) if answer else None,
            "recommended": self.trial_json(answer.recommended) if answer else None,
            "pick": asdict(best) if best else None,
            "noise": answer.noise if answer else None,
            "front": [self.trial_json(trial) for trial in answer.front] if answer else [],
            "verdict": self.verdict,
            "no_better_than_constant": len(self.no_better_than_constant),
            "failures": [_failure_json(record) for record in self.failed],
            "history": [self.trial_json(trial) for trial in self.trials],
        }

    def trial_json(self, trial: CompletedTrial) -> dict[str, Any]:
        """Return a trial as JSON, with the surrogate's estimate where there is one."""
        estimate = self.estimate(trial)
        return {
            "trial": trial.number,
            "origin": str(trial.origin),
            "widths": dict(trial.widths),
            "metric": {"name": self.metric, "value": trial.value},
            "test": trial.test,
            "estimate": asdict(estimate) if estimate else None,
            "costs": dict(trial.costs),
            "seed": trial.seed,
            "constant": trial.constant_score,
            "no_better_than_constant": trial.no_better_than_constant,
        }

    def estimate(self, trial: CompletedTrial) -> Estimate | None:
        """Return the surrogate's posterior of a trial's candidate, None where there is none."""
        return self.recommendation.estimates.get(trial.number) if self.recommendation else None


def build_summary(evidence: StudyEvidence) -> StudySummary:
    """Gather all that a study has found."""
    # The surrogate, and all that it stands on, is for those who ask for an answer.
    from .recommendation.recommendation import recommend

    return StudySummary(
        study=evidence.row.name,
        goal=evidence.goal,
        metric=evidence.spec.metric,
        counts=evidence.counts,
        limits=evidence.spec.limits.model_dump(exclude_none=True),
        trials=evidence.trials,
        failed=evidence.failed,
        recommendation=recommend(
            evidence.space, evidence.goal, evidence.trials, evidence.history, evidence.feasible
        ),
        exhausted=evidence.exhausted,
        references=evidence.references,
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
    return reason.splitlines()[-1] if reason else ""


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
        The titles, and the rows; the first row holds the limits.
    """
    limits, costs, metric = summary.limits, cost_columns(summary.limits), summary.metric
    titles = ["", "trial", "widths", f"validation {metric}", f"test {metric}", *costs.values()]
    limit_cells = [
        f"≤ {format_cost(name, limits[name])}" if name in limits else "—" for name in costs
    ]
    rows = [["limit", "", "", "", "", *limit_cells]]
    no_costs = ["—"] * len(costs)
    for reference in summary.references:
        figures = [_format_metric(reference.value), _format_metric(reference.test)]
        rows.append([reference.title, "—", "—", *figures, *no_costs])
    labelled_trials = [(str(trial.origin), trial) for trial in summary.baselines]
    if answer := summary.recommendation:
        labelled_trials += [("front", trial) for trial in answer.front]
        labelled_trials += [("best observed", answer.best_observed)]
        labelled_trials += [("recommended", answer.recommended)]
    for label, trial in labelled_trials:
        cost_cells = [
            format_cost(name, trial.costs[name]) if name in trial.costs else "—" for name in costs
        ]
        metric_cells = [_format_metric(trial.value), _format_metric(trial.test)]
        widths_cell = format_widths(trial.widths)
        rows.append([label, str(trial.number), widths_cell, *metric_cells, *cost_cells])
    return titles, rows


def format_widths(widths: Mapping[str, int]) -> str:
    """Return widths for people: `hidden1=64 hidden2=32`."""
    return " ".join(f"{name}={value}" for name, value in widths.items())


def _format_metric(value: float | None) -> str:
    return "—" if value is None else f"{value:.4f}"


def progress_line(summary: StudySummary) -> str:
    """Return how far the study is, in one line."""
    trials = progress_summary(summary.counts)["trials"]
    states = ", ".join(f"{count} {state}" for state, count in trials.items() if count)
    return f"{summary.study}: {states or 'nothing yet'}, of a budget of {summary.counts.budget}"


def best_candidate_line(summary: StudySummary) -> str | None:
    """Return which of all feasible candidates is best, trained or not; None if unknown."""
    candidate = summary.recommendation.best_candidate if summary.recommendation else None
    if candidate is None:
        return None
    trained = "trained" if candidate.trained else "not trained: one more trial would confirm it"
    return (
        f"Best of all feasible candidates, as believed: {format_widths(candidate.widths)} with "
        f"{summary.metric} {candidate.mean:.4f} (95 %: {candidate.low:.4f} to "
        f"{candidate.high:.4f}); {trained}."
    )


def better_model_line(summary: StudySummary) -> str | None:
    """Return which other model is better than the recommended network; None where none is."""
    if summary.recommendation is None:
        return None
    recommended = summary.recommendation.recommended
    model = better_model(summary.references, recommended, summary.goal)
    if model is None:
        return None
    return (
        f"Another model is better on the same validation rows: {model.title} with {summary.metric} "
        f"{model.value:.4g}, the recommended network has {recommended.value:.4g}."
    )


def constant_line(summary: StudySummary) -> str | None:
    """Return how many trials are no better than a constant prediction; None where none is."""
    useless = summary.no_better_than_constant
    if not useless:
        return None
    answer = summary.recommendation
    constant = useless[-1].constant_score
    includes_recommended = answer is not None and answer.recommended.no_better_than_constant
    return (
        f"{len(useless)} of {len(summary.trials)} trials are no better than a constant prediction "
        f"({summary.metric} {_format_metric(constant)})"
        + (
            ", the recommended one too: nothing was learnt; scale the targets where a loss of "
            "yours gets them as they are, train longer, or try another learning rate."
            if includes_recommended
            else "."
        )
    )
