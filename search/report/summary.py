"""The report of a study: what was tried, what is best, what is recommended and why.

`build_summary` gathers it once, ready for JSON; `markdown` renders a summary. Nothing here loads the
model or the data: the ledger holds all that is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ...objectives.cost.registry import COSTS
from ...storage.ledger.ledger import SlotCounts, SlotRecord
from ...storage.ledger.slot import StudyRow
from ..spec.spec import Spec
from ..trial.history import CompletedTrial, completed_trials
from ..units import COST_BY_NAME, format_cost, format_count

if TYPE_CHECKING:
    from ..space.feasible_set import FeasibleSet
    from .recommendation import Estimate

FLOPS_NOTE = "FLOPs = 2 × MACs; both forward and per sample."
TEST_NOTE = "Test figures come from data that no choice has seen."


def build_summary(
    row: StudyRow,
    spec: Spec,
    slot_records: Sequence[SlotRecord],
    counts: SlotCounts,
    feasible: FeasibleSet | None = None,
) -> dict[str, Any]:
    """All that a study has to tell.

    Args:
        row: The study.
        spec: What it was made with.
        slot_records: Its slots.
        counts: Their states.
        feasible: All candidates that keep the limits, for the pick; None leaves it out.

    Returns:
        A mapping of JSON values: "study", "goal", "metric", "budget", "trials", "limits",
        "baselines", "best", "recommended", "pick", "front", "verdict", "failures" and "history".
    """
    # The surrogate, and all that it stands on, is for those who ask for an answer.
    from .recommendation import is_baseline, recommend

    trials = completed_trials(slot_records)
    goal = spec.goal_for(row.direction)
    recommendation = recommend(spec.widths.to_space(), goal, trials, feasible)
    serialise_trial = _TrialSerialiser(
        spec.metric, trials, recommendation.estimates if recommendation else ()
    )
    return {
        "study": row.name,
        "goal": spec.study.goal,
        "target": spec.study.target,
        "metric": {"name": spec.metric, "direction": row.direction},
        **progress_summary(counts),
        "limits": spec.limits.model_dump(exclude_none=True),
        "baselines": [serialise_trial(trial) for trial in trials if is_baseline(trial)],
        "best": serialise_trial(recommendation.best_observed) if recommendation else None,
        "recommended": serialise_trial(recommendation.recommended) if recommendation else None,
        "pick": asdict(recommendation.best_candidate)
        if recommendation and recommendation.best_candidate
        else None,
        "noise": recommendation.noise if recommendation else None,
        "front": [serialise_trial(trial) for trial in recommendation.front]
        if recommendation
        else [],
        "verdict": recommendation.verdict if recommendation else "No trial is complete yet.",
        "failures": [_failure_entry(record) for record in slot_records if _is_failure(record)],
        "history": [serialise_trial(trial) for trial in trials],
    }


def progress_summary(counts: SlotCounts) -> dict[str, Any]:
    """Budget and trials by state, as `status --json` gives them."""
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


class _TrialSerialiser:
    """Trials as JSON, each with the surrogate's belief where there is one."""

    def __init__(
        self, metric: str, trials: Sequence[CompletedTrial], estimates: Sequence[Estimate]
    ) -> None:
        self._metric = metric
        self._estimates = {
            trial.number: estimate for trial, estimate in zip(trials, estimates, strict=False)
        }

    def __call__(self, trial: CompletedTrial) -> dict[str, Any]:
        estimate = self._estimates.get(trial.number)
        return {
            "trial": trial.number,
            "origin": trial.origin,
            "widths": dict(trial.widths),
            "metric": {"name": self._metric, "value": trial.value},
            "test": trial.test,
            "estimate": None
            if estimate is None
            else {"mean": estimate.mean, "deviation": estimate.deviation},
            "costs": dict(trial.costs),
            "seed": trial.seed,
        }


def _is_failure(record: SlotRecord) -> bool:
    return record.outcome in ("nan", "out_of_memory", "error")


def _failure_entry(record: SlotRecord) -> dict[str, Any]:
    result: Mapping[str, Any] = record.result or {}
    reason = str(result.get("error") or result.get("detail") or "").strip()
    return {
        "trial": record.number,
        "outcome": record.outcome,
        "widths": dict(record.widths or {}),
        "reason": reason.splitlines()[-1] if reason else "",
    }


def cost_columns(limits: Mapping[str, float]) -> dict[str, str]:
    """Return the costs a table shows, by name with their titles: the usual and the limited ones."""
    usual = [cost.name for cost in COSTS if cost.in_every_table]
    return {name: COST_BY_NAME[name].title for name in dict.fromkeys([*usual, *limits])}


def comparison_table(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The table that ends a run: baselines, best and recommended, with their costs.

    Returns:
        The titles, and a row for each of them; the first row below the titles holds the limits.
    """
    limits = report["limits"]
    costs = cost_columns(limits)
    metric = report["metric"]["name"]
    titles = ["", "trial", "widths", f"validation {metric}", f"test {metric}", *costs.values()]
    limit_cells = [
        f"≤ {format_cost(label, limits[label])}" if label in limits else "—" for label in costs
    ]
    rows = [["limit", "", "", "", "", *limit_cells]]
    labelled_entries = [(entry["origin"], entry) for entry in report["baselines"]]
    labelled_entries += [("front", entry) for entry in report["front"]]
    labelled_entries += [("best observed", report["best"]), ("recommended", report["recommended"])]
    for label, entry in labelled_entries:
        if entry is not None:
            entry_costs = entry["costs"]
            cost_cells = [
                format_cost(cost, entry_costs[cost]) if cost in entry_costs else "—"
                for cost in costs
            ]
            metric_cells = [_format_metric(entry["metric"]["value"]), _format_metric(entry["test"])]
            widths_cell = format_widths(entry["widths"])
            rows.append([label, str(entry["trial"]), widths_cell, *metric_cells, *cost_cells])
    return titles, rows


def format_widths(widths: Mapping[str, int]) -> str:
    """Widths for people: `hidden1=64 hidden2=32`."""
    return " ".join(f"{name}={value}" for name, value in widths.items())


def _format_metric(value: float | None) -> str:
    return "—" if value is None else f"{value:.4f}"


def progress_line(report: Mapping[str, Any]) -> str:
    """Where the study stands, in one line."""
    trials = report["trials"]
    states = ", ".join(f"{count} {state}" for state, count in trials.items() if count)
    return f"{report['study']}: {states or 'nothing yet'}, of a budget of {report['budget']}"


def best_candidate_line(report: Mapping[str, Any]) -> str | None:
    """Which of all feasible candidates is believed to be best, trained or not; None if unknown."""
    candidate = report["pick"]
    if candidate is None:
        return None
    trained = "trained" if candidate["trained"] else "not trained: one more trial would confirm it"
    return (
        f"Best of all feasible candidates, as believed: {format_widths(candidate['widths'])} with "
        f"{report['metric']['name']} {candidate['mean']:.4f} (95 %: {candidate['low']:.4f} to "
        f"{candidate['high']:.4f}); {trained}."
    )


def markdown(report: Mapping[str, Any]) -> str:
    """A summary as a Markdown document."""
    titles, rows = comparison_table(report)
    lines = [f"# {report['study']}", "", progress_line(report) + ".", ""]
    lines += [f"**{report['verdict']}**", "", *_markdown_table(titles, rows), ""]
    candidate_line = best_candidate_line(report)
    lines += [candidate_line, ""] if candidate_line else []
    lines += [f"{FLOPS_NOTE} {TEST_NOTE}", ""]
    recommended = report["recommended"]
    if recommended is not None and recommended["estimate"] is not None:
        estimate = recommended["estimate"]
        lines += [
            f"Recommended: {format_widths(recommended['widths'])}; the surrogate believes in "
            f"{report['metric']['name']} {estimate['mean']:.4f} ± {estimate['deviation']:.4f} "
            f"(noise of one training ± {report['noise']:.4f}).",
            "",
        ]
    lines += ["## Trials", ""]
    lines += _markdown_table(
        ["trial", "origin", "widths", report["metric"]["name"], "test", "parameters", "seed"],
        [
            [
                str(entry["trial"]),
                entry["origin"],
                format_widths(entry["widths"]),
                _format_metric(entry["metric"]["value"]),
                _format_metric(entry["test"]),
                format_count(entry["costs"].get("parameters", 0)),
                str(entry["seed"]),
            ]
            for entry in report["history"]
        ],
    )
    if report["failures"]:
        lines += ["", "## Failures", ""]
        lines += _markdown_table(
            ["trial", "outcome", "widths", "reason"],
            [
                [
                    str(failure["trial"]),
                    str(failure["outcome"]),
                    format_widths(failure["widths"]),
                    failure["reason"].replace("|", "\\|"),
                ]
                for failure in report["failures"]
            ],
        )
    return "\n".join(lines) + "\n"


def _markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (titles, ["---"] * len(titles), *rows)]
