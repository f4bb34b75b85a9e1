"""The report of a study: what was tried, what is best, what is recommended and why.

`summary` gathers it once, ready for JSON; `markdown` renders a summary. Nothing here loads the
model or the data: the ledger holds all that is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ...storage.ledger.ledger import Counts, Record
from ...storage.ledger.slot import StudyRow
from ..spec.spec import Spec
from ..trial.history import Trial, completed
from ..units import show_compact, show_count, show_duration, show_memory

if TYPE_CHECKING:
    from ..space.feasible_set import FeasibleSet
    from .recommendation import Estimate

FLOPS_NOTE = "FLOPs = 2 × MACs; both forward and per sample."
TEST_NOTE = "Test figures come from data that no choice has seen."
_COST_TITLES = {
    "parameters": "parameters",
    "flops": "FLOPs",
    "macs": "MACs",
    "train_memory": "training memory",
    "inference_memory": "inference memory",
    "file_size": "file size",
    "latency": "latency",
}
_SHOWN_COSTS = ("parameters", "flops", "train_memory")


def summary(
    row: StudyRow,
    spec: Spec,
    records: Sequence[Record],
    counts: Counts,
    feasible: FeasibleSet | None = None,
) -> dict[str, Any]:
    """All that a study has to tell.

    Args:
        row: The study.
        spec: What it was made with.
        records: Its slots.
        counts: Their states.
        feasible: All candidates that keep the limits, for the pick; None leaves it out.

    Returns:
        A mapping of JSON values: "study", "goal", "metric", "budget", "trials", "limits",
        "baselines", "best", "recommended", "pick", "front", "verdict", "failures" and "history".
    """
    # The surrogate, and all that it stands on, is for those who ask for an answer.
    from .recommendation import is_baseline, recommend

    trials = completed(records)
    goal = spec.goal_for(row.direction)
    answer = recommend(spec.widths.space(), goal, trials, feasible)
    entry = _Entries(spec.metric, trials, answer.estimates if answer else ())
    return {
        "study": row.name,
        "goal": spec.study.goal,
        "target": spec.study.target,
        "metric": {"name": spec.metric, "direction": row.direction},
        **progress(counts),
        "limits": spec.limits.model_dump(exclude_none=True),
        "baselines": [entry(trial) for trial in trials if is_baseline(trial)],
        "best": entry(answer.best) if answer else None,
        "recommended": entry(answer.recommended) if answer else None,
        "pick": asdict(answer.pick) if answer and answer.pick else None,
        "noise": answer.noise if answer else None,
        "front": [entry(trial) for trial in answer.front] if answer else [],
        "verdict": answer.verdict if answer else "No trial is complete yet.",
        "failures": [_failure(record) for record in records if _failed(record)],
        "history": [entry(trial) for trial in trials],
    }


def progress(counts: Counts) -> dict[str, Any]:
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


class _Entries:
    """Trials as JSON, each with the surrogate's belief where there is one."""

    def __init__(self, metric: str, trials: Sequence[Trial], estimates: Sequence[Estimate]) -> None:
        self._metric = metric
        self._estimates = {
            trial.number: estimate for trial, estimate in zip(trials, estimates, strict=False)
        }

    def __call__(self, trial: Trial) -> dict[str, Any]:
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


def _failed(record: Record) -> bool:
    return record.outcome in ("nan", "out_of_memory", "error")


def _failure(record: Record) -> dict[str, Any]:
    result: Mapping[str, Any] = record.result or {}
    reason = str(result.get("error") or result.get("detail") or "").strip()
    return {
        "trial": record.number,
        "outcome": record.outcome,
        "widths": dict(record.widths or {}),
        "reason": reason.splitlines()[-1] if reason else "",
    }


def show_cost(name: str, value: float) -> str:
    """A cost for people, with its unit; latency in seconds."""
    if name == "latency":
        return show_duration(value)
    value = int(value)
    if name.endswith("memory") or name == "file_size":
        return show_memory(value)
    return show_count(value) if name == "parameters" else show_compact(value)


def comparison_costs(limits: Mapping[str, float]) -> dict[str, str]:
    """The costs a table shows, by name with their titles: the usual ones and the limited ones."""
    return {name: _COST_TITLES[name] for name in dict.fromkeys([*_SHOWN_COSTS, *limits])}


def comparison(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The table that ends a run: baselines, best and recommended, with their costs.

    Returns:
        The titles, and a row for each of them; the first row below the titles holds the limits.
    """
    limits = report["limits"]
    costs = comparison_costs(limits)
    metric = report["metric"]["name"]
    titles = ["", "trial", "widths", f"validation {metric}", f"test {metric}", *costs.values()]
    bounds = [f"≤ {show_cost(name, limits[name])}" if name in limits else "—" for name in costs]
    rows = [["limit", "", "", "", "", *bounds]]
    named = [(entry["origin"], entry) for entry in report["baselines"]]
    named += [("front", entry) for entry in report["front"]]
    named += [("best observed", report["best"]), ("recommended", report["recommended"])]
    for name, entry in named:
        if entry is not None:
            known = entry["costs"]
            shown = [show_cost(cost, known[cost]) if cost in known else "—" for cost in costs]
            figures = [_figure(entry["metric"]["value"]), _figure(entry["test"])]
            widths = show_widths(entry["widths"])
            rows.append([name, str(entry["trial"]), widths, *figures, *shown])
    return titles, rows


def show_widths(widths: Mapping[str, int]) -> str:
    """Widths for people: `hidden1=64 hidden2=32`."""
    return " ".join(f"{name}={value}" for name, value in widths.items())


def _figure(value: float | None) -> str:
    return "—" if value is None else f"{value:.4f}"


def headline(report: Mapping[str, Any]) -> str:
    """Where the study stands, in one line."""
    trials = report["trials"]
    states = ", ".join(f"{count} {state}" for state, count in trials.items() if count)
    return f"{report['study']}: {states or 'nothing yet'}, of a budget of {report['budget']}"


def pick_line(report: Mapping[str, Any]) -> str | None:
    """Which of all feasible candidates is believed to be best, trained or not; None if unknown."""
    pick = report["pick"]
    if pick is None:
        return None
    trained = "trained" if pick["trained"] else "not trained: one more trial would confirm it"
    return (
        f"Best of all feasible candidates, as believed: {show_widths(pick['widths'])} with "
        f"{report['metric']['name']} {pick['mean']:.4f} (95 %: {pick['low']:.4f} to "
        f"{pick['high']:.4f}); {trained}."
    )


def markdown(report: Mapping[str, Any]) -> str:
    """A summary as a Markdown document."""
    titles, rows = comparison(report)
    lines = [f"# {report['study']}", "", headline(report) + ".", ""]
    lines += [f"**{report['verdict']}**", "", *_table(titles, rows), ""]
    picked = pick_line(report)
    lines += [picked, ""] if picked else []
    lines += [f"{FLOPS_NOTE} {TEST_NOTE}", ""]
    recommended = report["recommended"]
    if recommended is not None and recommended["estimate"] is not None:
        estimate = recommended["estimate"]
        lines += [
            f"Recommended: {show_widths(recommended['widths'])}; the surrogate believes in "
            f"{report['metric']['name']} {estimate['mean']:.4f} ± {estimate['deviation']:.4f} "
            f"(noise of one training ± {report['noise']:.4f}).",
            "",
        ]
    lines += ["## Trials", ""]
    lines += _table(
        ["trial", "origin", "widths", report["metric"]["name"], "test", "parameters", "seed"],
        [
            [
                str(entry["trial"]),
                entry["origin"],
                show_widths(entry["widths"]),
                _figure(entry["metric"]["value"]),
                _figure(entry["test"]),
                show_count(entry["costs"].get("parameters", 0)),
                str(entry["seed"]),
            ]
            for entry in report["history"]
        ],
    )
    if report["failures"]:
        lines += ["", "## Failures", ""]
        lines += _table(
            ["trial", "outcome", "widths", "reason"],
            [
                [
                    str(one["trial"]),
                    str(one["outcome"]),
                    show_widths(one["widths"]),
                    one["reason"].replace("|", "\\|"),
                ]
                for one in report["failures"]
            ],
        )
    return "\n".join(lines) + "\n"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (titles, ["---"] * len(titles), *rows)]
