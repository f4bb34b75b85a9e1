"""Trainings with planted figures, as they would be read from the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from widthwise.search.report.experiments.experiment_run import ExperimentRun
from widthwise.storage.ledger.slot import TrialOutcome


def planted_run(
    seed: int,
    value: float | None,
    train: float | None = None,
    *,
    widths: Mapping[str, int] | None = None,
    outcome: TrialOutcome = TrialOutcome.COMPLETE,
    **others: Any,
) -> ExperimentRun:
    return ExperimentRun(
        study="s/sweep a",
        number=seed,
        widths=widths or {"a": 8, "b": 4},
        seed=seed,
        outcome=outcome,
        value=value,
        train=train,
        **others,
    )
