"""Snapshot stores for tests, on real files, and trainings that can be interrupted anywhere."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from widthwise.objectives.engines.base import Engine
from widthwise.objectives.engines.dense.engine import DenseEngine
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.engines.replay.engine import ReplayEngine
from widthwise.objectives.engines.stacked.engine import StackedEngine
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.loop.loop import train_together
from widthwise.objectives.loop.milestone import Milestone
from widthwise.objectives.loop.result import TrainingResult
from widthwise.objectives.loop.time_slice import Slicer, TimeSlicer
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.training import checkpoint_file
from widthwise.objectives.training.settings import ProxySettings
from widthwise.objectives.training.snapshot import Snapshot
from widthwise.tests.objectives.engines.equality import family_objective, make_clusters

CPU = torch.device("cpu")

Result = TrainingResult | Exception | None


class TrainingInterrupted(BaseException):
    """The worker was asked to stop."""


@dataclass
class FileSnapshotStore:
    """Keeps snapshots in files, and in `saved`; interrupts the training after so many saves."""

    folder: Path
    stop_after: int | None = None
    saved: dict[tuple[int, float], Snapshot] = field(default_factory=dict)
    loaded_indices: list[int] = field(default_factory=list)
    due_calls: int = 0

    def load(self, index: int) -> Snapshot | None:
        self.loaded_indices.append(index)
        return checkpoint_file.read(self.folder / str(index), {"place": index})

    def due(self) -> bool:
        self.due_calls += 1
        return True

    def save(self, index: int, snapshot: Snapshot) -> None:
        self.saved[index, snapshot.epochs] = snapshot
        checkpoint_file.write(self.folder / str(index), snapshot, {"place": index})

    def after(self, _: float, __: Mapping[int, float]) -> Collection[int]:
        if self.stop_after is not None and self.due_calls >= self.stop_after:
            raise TrainingInterrupted
        return ()


class FixedSlicer:
    """Pauses every few batches, and calls back at each pause, whatever the clock says."""

    def __init__(self, batches: float, steps_per_epoch: int, *, enabled: bool) -> None:
        self._epochs = batches / steps_per_epoch if enabled else math.inf

    def next_milestone(self, epochs_done: float, milestone: Milestone) -> Milestone:
        epochs = epochs_done + self._epochs
        return (
            milestone
            if epochs > milestone.epochs - 1e-9
            else Milestone(epochs=epochs, validate=False)
        )

    def record_progress(self) -> float:
        return 0.0

    def callback_due(self) -> bool:
        return True

    def record_callback(self) -> None:
        pass


def pause_every(batches: float) -> Callable[..., Slicer]:
    """What makes slicers that pause every so many batches."""
    return partial(FixedSlicer, batches)


@dataclass
class ResumableTraining:
    """A training that can be interrupted and resumed.

    Attributes:
        objective: Model, data, loss and metric.
        candidates: What to train.
        settings: How to train.
        engine: Makes the engine of each process.
        options: Other arguments.
        make_slicer: Makes what cuts long epochs.
    """

    objective: ModuleObjective
    candidates: Sequence[Candidate]
    settings: ProxySettings
    engine: Callable[[], Engine]
    options: Mapping[str, Any] = field(default_factory=dict)
    make_slicer: Callable[..., Slicer] = TimeSlicer

    def train_uninterrupted(self) -> list[Any]:
        """The results without a store."""
        return without_seconds(
            train_together(
                self.objective,
                self.candidates,
                self.settings,
                device=CPU,
                engine=self.engine(),
                make_slicer=self.make_slicer,
                **self.options,
            )
        )

    def train_with_store(self, store: FileSnapshotStore) -> list[Any]:
        """The results with a store; raises TrainingInterrupted."""
        return without_seconds(
            train_together(
                self.objective,
                self.candidates,
                self.settings,
                device=CPU,
                engine=self.engine(),
                make_slicer=self.make_slicer,
                store=store,
                callback=store.after,
                **self.options,
            )
        )

    def train_in_pieces(
        self, folder: Path, stop_after: int, max_pieces: int = 100
    ) -> tuple[list[Any], list[FileSnapshotStore]]:
        """The results after as many interruptions as it takes, and the stores of all pieces."""
        stores = []
        for _ in range(max_pieces):
            stores.append(FileSnapshotStore(folder, stop_after))
            try:
                return self.train_with_store(stores[-1]), stores
            except TrainingInterrupted:
                continue
        raise AssertionError(f"it has not come to an end in {max_pieces} pieces")


def without_seconds(results: Sequence[Result]) -> list[Any]:
    """Results without the seconds, which differ from run to run."""
    return [
        replace(result, seconds=0.0) if isinstance(result, TrainingResult) else result
        for result in results
    ]


def assert_same_snapshots(
    actual: Mapping[Any, Snapshot], expected: Mapping[Any, Snapshot], tolerance: float = 0.0
) -> None:
    """Check that weights, moments, random streams and metadata are the same."""
    assert actual
    for key, snapshot in actual.items():
        expected_snapshot = expected[key]
        assert snapshot.epochs == expected_snapshot.epochs
        assert metadata_json(snapshot) == metadata_json(expected_snapshot)
        assert snapshot.tensors.keys() == expected_snapshot.tensors.keys()
        for name, tensor in snapshot.tensors.items():
            assert_same_tensor(name, tensor, expected_snapshot.tensors[name], tolerance)


def assert_same_tensor(name: str, actual: Tensor, expected: Tensor, tolerance: float = 0.0) -> None:
    assert actual.dtype == expected.dtype, name
    assert actual.shape == expected.shape, name
    if tolerance:
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
    else:
        assert actual.numpy().tobytes() == expected.numpy().tobytes(), name


def metadata_json(snapshot: Snapshot) -> str:
    """The metadata but for the time, as JSON: there NaN is equal to itself."""
    timeless_state = {**snapshot.metadata["story"], "seconds": 0.0}
    return json.dumps({**snapshot.metadata, "story": timeless_state}, sort_keys=True)


# What is trained

DATA = make_clusters(rows=40)
SHORT_SETTINGS = ProxySettings(
    judge_test=True, epochs=4, batch_size=16, device="cpu", learning_rate=0.02, patience=0
)
EXACT_ENGINES: Mapping[str, Callable[[], Engine]] = {
    "plain": PlainEngine,
    "replay": ReplayEngine,
    "dense": DenseEngine,
}
ENGINES = {**EXACT_ENGINES, "stacked": lambda: StackedEngine(overhead_macs=0.0)}


def make_candidates(*widths: int, seed: int = 100) -> list[Candidate]:
    return [Candidate(widths={"a": n, "b": 4}, seed=seed + n) for n in widths]


def mlp_objective(**options: Any) -> ModuleObjective:
    return family_objective("mlp", DATA, **{"dropout": 0.3, "norm": "batch", **options})


def make_custom_objective(build: Callable[[int], nn.Module], **options: Any) -> ModuleObjective:
    return make_objective(
        build=lambda widths: build(widths["a"]).double(), data=DATA, base=Path(), **options
    )
