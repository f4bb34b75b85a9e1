"""Keepers for tests: snapshots through real files, and trainings cut wherever one likes."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.engines.base import Engine
from widthwise.objectives.engines.dense.engine import DenseEngine
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.engines.replay.engine import ReplayEngine
from widthwise.objectives.engines.stacked.engine import StackedEngine
from widthwise.objectives.loop import loop
from widthwise.objectives.loop.fold import Stop
from widthwise.objectives.loop.loop import Candidate, train_together
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.training import checkpoint_file
from widthwise.objectives.training.settings import ProxySettings, TrainingResult
from widthwise.objectives.training.snapshot import Snapshot
from widthwise.tests.objectives.engines.equality import family, generated

CPU = torch.device("cpu")

Result = TrainingResult | Exception | None


class Interrupted(BaseException):
    """The worker was told to stop."""


@dataclass
class FileKeeper:
    """Keeps every snapshot in files, and in `seen`; stops the training after so many times."""

    folder: Path
    stop_after: int | None = None
    seen: dict[tuple[int, float], Snapshot] = field(default_factory=dict)
    loads: list[int] = field(default_factory=list)
    times: int = 0

    def load(self, place: int) -> Snapshot | None:
        self.loads.append(place)
        return checkpoint_file.read(self.folder / str(place), {"place": place})

    def due(self) -> bool:
        self.times += 1
        return True

    def save(self, place: int, snapshot: Snapshot) -> None:
        self.seen[place, snapshot.epochs] = snapshot
        checkpoint_file.write(self.folder / str(place), snapshot, {"place": place})

    def after(self, _: float, __: Mapping[int, float]) -> Collection[int]:
        if self.stop_after is not None and self.times >= self.stop_after:
            raise Interrupted
        return ()


class EverySteps:
    """Pauses every few batches, and asks at each pause, whatever the clock says."""

    def __init__(self, batches: float) -> None:
        self._batches = batches

    def __call__(self, steps: int, *, asked: bool) -> EverySteps:
        cut = EverySteps(self._batches)
        cut._share = self._batches / steps if asked else 9.0
        return cut

    def next(self, at: float, stop: Stop) -> Stop:
        part = at + self._share
        return stop if part > stop.epochs - 1e-9 else Stop(epochs=part, judged=False)

    def trained(self, seconds: float) -> None:
        pass

    def due(self) -> bool:
        return True

    def asked(self) -> None:
        pass


@dataclass
class Run:
    """A training that can be interrupted and gone on with.

    Attributes:
        objective: What to train.
        candidates: Which.
        settings: How.
        engine: Makes the engine of each process.
        more: Other arguments.
    """

    objective: ModuleObjective
    candidates: Sequence[Candidate]
    settings: ProxySettings
    engine: Callable[[], Engine]
    more: Mapping[str, Any] = field(default_factory=dict)

    def alone(self) -> list[Any]:
        """The results without any keeper."""
        return figures(
            train_together(
                self.objective,
                self.candidates,
                self.settings,
                device=CPU,
                engine=self.engine(),
                **self.more,
            )
        )

    def kept(self, keeper: FileKeeper) -> list[Any]:
        """The results with a keeper; raises Interrupted."""
        return figures(
            train_together(
                self.objective,
                self.candidates,
                self.settings,
                device=CPU,
                engine=self.engine(),
                keeper=keeper,
                after=keeper.after,
                **self.more,
            )
        )

    def in_pieces(
        self, folder: Path, stop_after: int, most: int = 100
    ) -> tuple[list[Any], list[FileKeeper]]:
        """The results after as many interruptions as it takes, and the keepers of all pieces."""
        keepers = []
        for _ in range(most):
            keepers.append(FileKeeper(folder, stop_after))
            try:
                return self.kept(keepers[-1]), keepers
            except Interrupted:
                continue
        raise AssertionError(f"it has not come to an end in {most} pieces")


def figures(results: Sequence[Result]) -> list[Any]:
    """Results with what may differ from run to run taken away."""
    return [
        replace(one, seconds=0.0) if isinstance(one, TrainingResult) else one for one in results
    ]


def assert_same_snapshots(
    found: Mapping[Any, Snapshot], expected: Mapping[Any, Snapshot], tolerance: float = 0.0
) -> None:
    """Every weight, moment, stream and figure of the one in the other."""
    assert found
    for key, one in found.items():
        other = expected[key]
        assert one.epochs == other.epochs
        assert told(one) == told(other)
        assert one.tensors.keys() == other.tensors.keys()
        for name, tensor in one.tensors.items():
            assert_same_tensor(name, tensor, other.tensors[name], tolerance)


def assert_same_tensor(name: str, one: Tensor, other: Tensor, tolerance: float = 0.0) -> None:
    assert one.dtype == other.dtype, name
    assert one.shape == other.shape, name
    if tolerance:
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
    else:
        assert one.numpy().tobytes() == other.numpy().tobytes(), name


def told(snapshot: Snapshot) -> str:
    """The facts but for the time, as JSON: there what is no number is equal to itself."""
    story = {**snapshot.facts["story"], "seconds": 0.0}
    return json.dumps({**snapshot.facts, "story": story}, sort_keys=True)


def cut(monkeypatch: pytest.MonkeyPatch, batches: float) -> None:
    """Have all trainings pause every so many batches."""
    monkeypatch.setattr(loop, "Breaths", EverySteps(batches))


# What is trained

DATA = generated(rows=40)
SHORT = ProxySettings(epochs=4, batch_size=16, device="cpu", learning_rate=0.02, patience=0)
EXACT: Mapping[str, Callable[[], Engine]] = {
    "plain": PlainEngine,
    "replay": ReplayEngine,
    "dense": DenseEngine,
}
ENGINES = {**EXACT, "stacked": lambda: StackedEngine(overhead=0.0)}


def candidates(*widths: int, seed: int = 100) -> list[Candidate]:
    return [Candidate(widths={"a": n, "b": 4}, seed=seed + n) for n in widths]


def mlp(**options: Any) -> ModuleObjective:
    return family("mlp", DATA, **{"dropout": 0.3, "norm": "batch", **options})


def built(build: Callable[[int], nn.Module], **more: Any) -> ModuleObjective:
    return make_objective(
        build=lambda widths: build(widths["a"]).double(), data=DATA, base=Path(), **more
    )
