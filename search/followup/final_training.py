"""The final training: the widths to take, trained once more, and the weights kept.

A follow-up study of the kind "training". The rows of training and validation are trained on
together, since nothing is left to be chosen by the validation rows, and the last weights count; the
test split judges them and decides nothing. Data in batches is trained on as in the search, and the
weights of the best epoch count.

Entry points: `TrainingRequest`, `train_final`; `FinalTraining`, and `find_trainings`, those that
are done.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from ...objectives.data.streams.source import BatchData
from ...storage.database.database import Database
from ...storage.ledger.queries import LedgerReader
from ...storage.ledger.slot import SlotRecord, StudyRow, TrialOutcome
from ..command import format_command
from ..errors import SearchError, SpecError
from ..fleet.worker_fleet import Launcher
from ..follow_up_kind import FollowUpKind
from ..problem.problem import Problem
from ..problem.seeds import final_seed
from ..problem.stored import stored_spec
from ..report.evidence import StudyEvidence
from ..trial.checkpoints import StudyCheckpoints, checkpoint_folder
from ..units import format_widths
from ..worker.options import FleetWorkerOptions
from .confirmed_length import LENGTH_FACTOR
from .follow_up import PlannedTrial, find_follow_up, open_follow_up, run_planned
from .subject import Subject, load_subject

_CHANGES: Mapping[str, Any] = {
    "proxy.folds": 1,
    "proxy.repeats": 1,
    "proxy.replicas": 1,
    "proxy.halving": None,
    "proxy.patience": 0,
    "proxy.length_factor": None,
    "proxy.train_share": None,
}
"""Keys of the spec that every final training changes: one network, of all rows, to its end."""

_NEAR_LIMIT = 0.9
"""Share of the epochs of a search from which on a best epoch was a matter of the limit."""

_EPOCHS, _RATES = "proxy.epochs", "proxy.rate_factors"


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """What to train.

    Attributes:
        widths: In place of those recommended, or of some of them.
        epochs: Passes over the rows; None for as many as the best epochs of the confirmation had.
    """

    widths: Mapping[str, int] = field(default_factory=dict)
    epochs: int | None = None

    def command(self, name: str) -> str:
        """Return the command that asks for this of a study, as a person would give it."""
        chosen = ",".join(f"{width}={value}" for width, value in self.widths.items())
        options = ["--widths", chosen] if chosen else []
        options += [] if self.epochs is None else ["--epochs", str(self.epochs)]
        return format_command("train", name, options=options)


@dataclass(frozen=True, kw_only=True)
class FinalTraining:
    """A final training that is done.

    Attributes:
        study: The study whose widths they are.
        follow_up: The one that the training stands in.
        number: Its slot there.
        widths: Of the network.
        seed: Of the training.
        metric: What the figures are.
        test: The metric on the test split; None without one.
        train: The metric on rows that were trained on.
        epochs: Passes over the rows.
        seconds: Wall-clock time.
        device: Where it was trained.
        weights: The file with the network's `state_dict`.
    """

    study: str
    follow_up: str
    number: int
    widths: Mapping[str, int]
    seed: int
    metric: str
    test: float | None
    train: float | None
    epochs: int
    seconds: float
    device: str
    weights: Path

    @classmethod
    def from_record(
        cls, record: SlotRecord, study: StudyRow, follow_up: StudyRow, weights: Path
    ) -> FinalTraining:
        """Return the training that a complete slot holds."""
        assert record.widths is not None
        assert record.result is not None
        result = record.result
        return cls(
            study=study.name,
            follow_up=follow_up.name,
            number=record.number,
            widths=dict(record.widths),
            seed=int(result["seed"]),
            metric=stored_spec(study).metric,
            test=result.get("test"),
            train=result.get("train"),
            epochs=int(result["epochs"]),
            seconds=float(result["seconds"]),
            device=str(result["device"]),
            weights=weights,
        )

    def to_json(self) -> dict[str, Any]:
        """Return all of it, as JSON has it."""
        return {
            "study": self.study,
            "follow_up": self.follow_up,
            "trial": self.number,
            "widths": dict(self.widths),
            "seed": self.seed,
            "metric": {"name": self.metric, "test": self.test, "train": self.train},
            "epochs": self.epochs,
            "seconds": self.seconds,
            "device": self.device,
            "weights": str(self.weights),
        }


def train_final(
    database: Database,
    name: str,
    request: TrainingRequest,
    options: FleetWorkerOptions,
    console: Console,
    *,
    launcher: Launcher = Launcher.LOCAL,
) -> FinalTraining:
    """Train the recommended network, or another one, and keep its weights.

    What was trained before in the same way, and whose weights are there, is not trained again.

    Args:
        database: Where the study is.
        name: Its name.
        request: What to train.
        options: How the worker works.
        console: Where progress is written.
        launcher: Where it is started.

    Raises:
        SpecError: The training is the user's own, or there are no such widths.
        FollowUpStopped: The worker ended early; the same call goes on.
        SearchError: The training failed; or see `load_subject`.
    """
    subject = load_subject(database, name, request.widths, flag="--widths")
    if subject.problem.loop_objective is None:
        raise SpecError(
            f"{name} is trained by {subject.problem.objective.name}, which keeps its networks to "
            f"itself: call it with {format_widths(subject.widths)}, and save there what it trains"
        )
    row = subject.evidence.row
    follow_up = open_follow_up(database, row, FollowUpKind.TRAINING, spec_changes=_CHANGES)
    planned = PlannedTrial(
        widths=subject.widths,
        seed=final_seed(subject.evidence.spec.study.seed),
        origin="final",
        overrides=_overrides(subject, request.epochs),
    )
    checkpoints = _checkpoints(database, follow_up, options.checkpoints)
    before = _record_of(LedgerReader(database, follow_up).records(), planned)
    if before is not None and before.outcome is TrialOutcome.COMPLETE:
        file = checkpoints.weights_file(before.number)
        if not file.is_file():
            raise SearchError(
                f"{follow_up.name} has trained this network, but its weights are not at {file}: "
                "name the folder they were kept in with --checkpoints, or train for another number "
                "of epochs"
            )
        return FinalTraining.from_record(before, row, follow_up, file)
    _announce(console, subject, planned)
    records = run_planned(
        database,
        follow_up,
        [planned],
        options,
        console,
        worker_count=1,
        launcher=launcher,
        command=request.command(name),
    )
    record = _record_of(records, planned)
    assert record is not None, "it was planned"
    if record.outcome is not TrialOutcome.COMPLETE:
        result = record.result or {}
        detail = result.get("detail") or result.get("error") or "no reason is known"
        raise SearchError(
            f"the final training of {name} ended as {record.outcome}: "
            f"{str(detail).strip().splitlines()[-1]}"
        )
    return FinalTraining.from_record(
        record, row, follow_up, checkpoints.weights_file(record.number)
    )


def find_trainings(
    database: Database, study: StudyRow, widths: Mapping[str, int], folder: Path | None = None
) -> list[FinalTraining]:
    """Return the complete final trainings of a network: the longest first, of equals the latest.

    Whether the file of the weights is on this machine is for the caller to see.

    Args:
        database: Where the study is.
        study: The study.
        widths: Of the network.
        folder: What `--checkpoints` says.
    """
    follow_up = find_follow_up(database, study, FollowUpKind.TRAINING)
    if follow_up is None:
        return []
    checkpoints = _checkpoints(database, follow_up, folder)
    found = [
        FinalTraining.from_record(record, study, follow_up, checkpoints.weights_file(record.number))
        for record in LedgerReader(database, follow_up).records()
        if record.outcome is TrialOutcome.COMPLETE and record.widths == dict(widths)
    ]
    return sorted(found, key=lambda one: (one.epochs, one.number), reverse=True)


def usual_epochs(evidence: StudyEvidence, problem: Problem, widths: Mapping[str, int]) -> int:
    """Return how long a final training is: as long as it takes to the best epoch.

    Without validation rows nothing says when to stop. What was trained before does: the median best
    epoch of the confirmation of these widths, or else of the whole confirmation; without one that
    of the search, times as many as a confirmation would train where its limit was what ended it.
    """
    settings = problem.settings
    confirmed = _best_epochs(
        evidence.follow_ups.get(FollowUpKind.CONFIRMATION, ()), widths, settings.validate_every
    )
    if confirmed is not None:
        return confirmed
    searched = _best_epochs(evidence.records, widths, settings.validate_every)
    if searched is not None and searched < _NEAR_LIMIT * settings.epochs:
        return searched
    return math.ceil(LENGTH_FACTOR * settings.epochs)


def _best_epochs(
    records: Sequence[SlotRecord], widths: Mapping[str, int], validate_every: int
) -> int | None:
    """Return the median best epoch of complete trainings, of these widths if there are any."""
    complete = [
        record
        for record in records
        if record.outcome is TrialOutcome.COMPLETE
        and (record.result or {}).get("best_epoch") is not None
    ]
    own = [record for record in complete if record.widths == dict(widths)]
    epochs = [
        (int((record.result or {})["best_epoch"]) + 1) * validate_every
        for record in own or complete
    ]
    return math.ceil(median(epochs)) if epochs else None


def _overrides(subject: Subject, epochs: int | None) -> dict[str, Any]:
    """Return what this training has of its own: how long it is, and the rate that proved best."""
    evidence, settings = subject.evidence, subject.problem.settings
    chosen: int = epochs or usual_epochs(evidence, subject.problem, subject.widths)
    overrides: dict[str, Any] = {_EPOCHS: chosen}
    confirmed = evidence.follow_ups.get(FollowUpKind.CONFIRMATION, ())
    if len(settings.rate_factors) > 1:
        rates = [
            record.result["learning_rate"]
            for records in (confirmed, evidence.records)
            for record in records
            if record.result is not None
            and record.result.get("learning_rate") is not None
            and record.widths == dict(subject.widths)
        ]
        rate = median(rates) if rates else settings.learning_rate
        overrides[_RATES] = [
            min(settings.rate_factors, key=lambda one: abs(one * settings.learning_rate - rate))
        ]
    return overrides


def _record_of(records: Sequence[SlotRecord], planned: PlannedTrial) -> SlotRecord | None:
    """Return the slot of a planned training; None where there is none yet."""
    return next(
        (
            record
            for record in records
            if record.widths == dict(planned.widths)
            and record.seed == planned.seed
            and dict(record.overrides) == dict(planned.overrides)
        ),
        None,
    )


def _checkpoints(database: Database, follow_up: StudyRow, folder: Path | None) -> StudyCheckpoints:
    return StudyCheckpoints(
        folder=checkpoint_folder(folder, database.url, follow_up),
        fingerprint=follow_up.fingerprint,
    )


def _announce(console: Console, subject: Subject, planned: PlannedTrial) -> None:
    objective = subject.problem.loop_objective
    assert objective is not None, "the user's own training was refused"
    data, epochs = objective.data, planned.overrides[_EPOCHS]
    rows = (
        "the training batches, the best epoch by the validation batches"
        if isinstance(data, BatchData)
        else f"{len(data.train) + len(data.validation):,} rows, training and validation together"
    )
    console.print(
        f"training {format_widths(subject.widths)} of {subject.name}: {rows}, {epochs:,} "
        f"epoch{'s' if epochs > 1 else ''}; Ctrl-C ends it, the same command goes on",
        markup=False,
    )
