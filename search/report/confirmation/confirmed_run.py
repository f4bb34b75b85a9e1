"""One training of a confirmation, as read from the ledger.

The seeds of a confirmation are numbered; a seed's number is the same for every contender, so that
their trainings can be compared in pairs. Entry points: `ConfirmedRun`, `read_runs`,
`confirmation_seed`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....storage.ledger.slot import SlotRecord, TrialOutcome, widths_key
from ...problem.seeds import confirmation_seed

MAX_SEEDS = 1000
"""Seeds of a confirmation that are told by their numbers."""


@dataclass(frozen=True, kw_only=True)
class ConfirmedRun:
    """One training of a contender.

    Attributes:
        label: Of the contender, when it was planned.
        widths: What was trained.
        seed: Of the training.
        seed_index: Number of that seed in the confirmation, from 0.
        value: Validation metric; None where the training failed.
        test: Test metric of the same weights; None without a test split.
        seconds: Wall-clock time.
        epochs: Epochs trained.
        best_epoch: Index in the curve of the epoch whose weights were judged.
        curve: Validation metric after each validated epoch.
        losses: Mean training loss of each of these epochs.
        validation_losses: Mean validation loss after each of them.
        costs: Costs by name; a latency in seconds, as measured.
        constant_score: The metric of a constant prediction; None where it is unknown.
        folds: Trainings that its metric is the mean of, one a fold; 0 where that is unknown.
    """

    label: str
    widths: Mapping[str, int]
    seed: int
    seed_index: int
    value: float | None
    test: float | None = None
    seconds: float | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    curve: Sequence[float] = ()
    losses: Sequence[float] = ()
    validation_losses: Sequence[float] = ()
    costs: Mapping[str, float] | None = None
    constant_score: float | None = None
    folds: int = 0

    @property
    def key(self) -> str:
        """What its contender is found by: the widths."""
        return widths_key(self.widths)


def read_runs(records: Sequence[SlotRecord], study_seed: int) -> list[ConfirmedRun]:
    """Return the trainings of a confirmation that are done, by slot number.

    Args:
        records: Slots of the follow-up study.
        study_seed: Seed of the parent study, from which `confirmation_seed` makes the seeds.
    """
    done = [record for record in records if record.outcome is not None and record.widths]
    seeds = {_seed(record) for record in done}
    indices: dict[int, int] = {}
    for index in range(MAX_SEEDS):
        if not seeds - indices.keys():
            break
        indices[confirmation_seed(study_seed, index)] = index
    return [
        _read_run(record, indices[seed]) for record in done if (seed := _seed(record)) in indices
    ]


def _seed(record: SlotRecord) -> int:
    seed = (record.result or {}).get("seed", 0) if record.seed is None else record.seed
    return int(seed)


def _read_run(record: SlotRecord, seed_index: int) -> ConfirmedRun:
    assert record.widths is not None
    result: Mapping[str, Any] = record.result or {}
    return ConfirmedRun(
        label=record.origin or "",
        widths=record.widths,
        seed=_seed(record),
        seed_index=seed_index,
        value=record.value if record.outcome == TrialOutcome.COMPLETE else None,
        test=result.get("test"),
        seconds=result.get("seconds"),
        epochs=result.get("epochs"),
        best_epoch=result.get("best_epoch"),
        curve=tuple(result.get("curve", ())),
        losses=tuple(result.get("losses", ())),
        validation_losses=tuple(result.get("validation_losses", ())),
        costs={**result.get("costs", {}), **result.get("measured", {})},
        constant_score=result.get("constant_score"),
        folds=len(result.get("scores", ())),
    )
