"""What is known of an exported network, as `widths.json` holds it.

Entry points: `widths_record`; `NO_ENCODING`, what it does not hold.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from ...objectives.data.streams.source import BatchData
from ..followup.final_training import FinalTraining
from ..followup.subject import Subject
from ..report.summary import StudySummary

NO_ENCODING = (
    "where Widthwise made the inputs of columns, how it did (order, means and scales, categories) "
    "is not recorded here"
)


def widths_record(
    subject: Subject, summary: StudySummary, training: FinalTraining | None
) -> dict[str, Any]:
    """Return the widths, with costs, metric, study and versions, in JSON values.

    Args:
        subject: The study, and the network's widths.
        summary: What the study has found.
        training: The final training that the weights are of; None without one.
    """
    evidence, problem = subject.evidence, subject.problem
    widths = dict(subject.widths)
    taken = summary.recommended
    trial = next((one for one in summary.trials if dict(one.widths) == widths), None)
    estimate = (
        taken.estimate
        if taken is not None and dict(taken.widths) == widths
        else None
        if trial is None
        else summary.estimate(trial)
    )
    confirmed = summary.confirmation
    results = [] if confirmed is None else confirmed.results
    result = next((one for one in results if dict(one.contender.widths) == widths), None)
    return {
        "study": subject.name,
        "widths": widths,
        "recommended": taken is not None and dict(taken.widths) == widths,
        "trial": None if trial is None else trial.number,
        # A latency is known of what was measured only.
        "costs": {**({} if trial is None else trial.costs), **problem.exact_costs(widths)},
        "limits": dict(summary.limits),
        "metric": {
            "name": summary.metric,
            "direction": str(summary.goal.direction),
            "value": None if trial is None else trial.value,
            "estimate": None if estimate is None else estimate.to_json(),
            "confirmed": None if result is None else result.to_json(summary.goal.sign),
        },
        "verdict": str(summary.verdict),
        "verdict_text": summary.verdict_text,
        "training": None if training is None else training.to_json(),
        "model": evidence.spec.model.model_dump(mode="json", exclude_none=True),
        "data": _data_record(subject),
        "fingerprint": evidence.row.fingerprint,
        "versions": {
            "widthwise": version("widthwise"),
            "torch": version("torch"),
            "python": platform.python_version(),
        },
    }


def _data_record(subject: Subject) -> Mapping[str, Any] | None:
    """Return what goes in and comes out; None where the training is the user's own."""
    objective = subject.problem.loop_objective
    if objective is None:
        return None
    data = objective.data
    record: dict[str, Any] = {
        "name": data.name,
        "task": None if data.task is None else str(data.task),
        "outputs": data.outputs,
        "notes": list(data.notes),
    }
    if not isinstance(data, BatchData):
        record |= {
            "inputs": NO_ENCODING,
            "classes": None if data.classes is None else list(data.classes),
            "target_mean": list(data.target_mean),
            "target_scale": list(data.target_scale),
        }
    return record
