"""One training of an experiment, as read from the ledger.

Entry points: `ExperimentRun`, `read_runs`; `values_by_seed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ....storage.ledger.slot import SlotRecord, TrialOutcome, widths_key


@dataclass(frozen=True, kw_only=True)
class ExperimentRun:
    """One training.

    Attributes:
        study: Name of the study that it stands in.
        number: Its slot there.
        widths: What was trained.
        overrides: Keys of the study's spec, with dots, that had other values.
        seed: Of the training.
        outcome: How it ended.
        value: Validation metric; None where it failed or was never trained.
        train: Training metric of the same weights; None where it was not recorded.
        train_loss: Mean training loss of the epoch whose weights were judged.
        validation_loss: Mean validation loss after it.
        spread: Standard error of the value over folds and replicas; None for one training.
        seconds: Wall-clock time.
        epochs: Epochs trained.
        costs: Costs by name; a latency in seconds, as measured.
        detail: What went wrong, in a sentence.
    """

    study: str
    number: int
    widths: Mapping[str, int]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    seed: int
    outcome: TrialOutcome
    value: float | None
    train: float | None = None
    train_loss: float | None = None
    validation_loss: float | None = None
    spread: float | None = None
    seconds: float | None = None
    epochs: int | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    detail: str | None = None

    @property
    def key(self) -> str:
        """What its widths are found by."""
        return widths_key(self.widths)


def read_runs(records: Iterable[SlotRecord], study: str) -> list[ExperimentRun]:
    """Return the slots that are done, by number.

    Args:
        records: Of one study.
        study: Its name.
    """
    return [
        _read_run(record, study)
        for record in records
        if record.outcome is not None and record.widths is not None
    ]


def values_by_seed(runs: Iterable[ExperimentRun], attribute: str = "value") -> dict[int, float]:
    """Return a figure of each training that has it, by its seed."""
    figures = {run.seed: getattr(run, attribute) for run in runs}
    return {seed: figure for seed, figure in figures.items() if figure is not None}


def _read_run(record: SlotRecord, study: str) -> ExperimentRun:
    assert record.widths is not None
    assert record.outcome is not None
    result: Mapping[str, Any] = record.result or {}
    best_epoch = result.get("best_epoch")
    seed = result.get("seed", 0) if record.seed is None else record.seed
    return ExperimentRun(
        study=study,
        number=record.number,
        widths=record.widths,
        overrides=record.overrides,
        seed=int(seed),
        outcome=record.outcome,
        value=record.value if record.outcome is TrialOutcome.COMPLETE else None,
        train=result.get("train"),
        train_loss=_at(result.get("losses", ()), best_epoch),
        validation_loss=_at(result.get("validation_losses", ()), best_epoch),
        spread=result.get("attributes", {}).get("spread"),
        seconds=result.get("seconds"),
        epochs=result.get("epochs"),
        costs={**result.get("costs", {}), **result.get("measured", {})},
        detail=result.get("detail") or result.get("error"),
    )


def _at(figures: Sequence[float], index: int | None) -> float | None:
    return figures[index] if index is not None and index < len(figures) else None
