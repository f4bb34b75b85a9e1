"""Resuming after failures, with engines that break down, and from snapshots that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.training.snapshot import Snapshot
from widthwise.tests.objectives.loop.snapshots import (
    ENGINES,
    EXACT_ENGINES,
    SHORT_SETTINGS,
    FileSnapshotStore,
    ResumableTraining,
    TrainingInterrupted,
    make_candidates,
    make_custom_objective,
    mlp_objective,
    pause_every,
)

# Failures


class FaultyModule(nn.Module):
    """A module that fails at width 3, from its fourth step on."""

    roomy = False

    def __init__(self, width: int, way: str) -> None:
        super().__init__()
        self.layers, self.width, self.way = nn.Linear(7, 3), width, way
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        out: Tensor = self.layers(x)
        if self.width != 3 or int(self.steps) < 4 or self.roomy:
            return out
        if self.way == "nan":
            return out * float("nan")
        if self.way == "out_of_memory":
            raise torch.OutOfMemoryError("CUDA out of memory")
        raise KeyError("boom")


@pytest.mark.parametrize("way", ["nan", "out_of_memory", "error"])
def test_failures_are_the_same_after_resuming(way: str, tmp_path: Path) -> None:
    run = ResumableTraining(
        make_custom_objective(lambda n: FaultyModule(n, way)),
        make_candidates(2, 3, 4),
        SHORT_SETTINGS,
        PlainEngine,
        make_slicer=pause_every(2),
    )
    results, stores = run.train_in_pieces(tmp_path, 2)
    expected = run.train_uninterrupted()
    assert len(stores) > 3
    assert [results[0], results[2]] == [expected[0], expected[2]]
    if way == "error":
        assert isinstance(results[1], KeyError)
    else:
        # The detail of what became no number would differ in words alone: nan is never equal.
        assert repr(results[1]) == repr(expected[1])
        assert results[1].outcome == way


def test_out_of_memory_is_tried_again_after_resuming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine may have more memory."""
    run = ResumableTraining(
        make_custom_objective(lambda n: FaultyModule(n, "out_of_memory")),
        make_candidates(2, 3),
        SHORT_SETTINGS,
        PlainEngine,
    )
    first = run.train_with_store(FileSnapshotStore(tmp_path))
    assert [result.outcome for result in first] == ["complete", "out_of_memory"]
    monkeypatch.setattr(FaultyModule, "roomy", True)
    results = run.train_with_store(FileSnapshotStore(tmp_path))
    assert [result.outcome for result in results] == ["complete", "complete"]


def test_a_failed_learning_rate_stays_failed_beside_running_ones(tmp_path: Path) -> None:
    settings_ = replace(SHORT_SETTINGS, rate_factors=(1e200, 1.0), replicas=2)
    run = ResumableTraining(mlp_objective(norm="none"), make_candidates(3), settings_, PlainEngine)
    results, stores = run.train_in_pieces(tmp_path, 2)
    states = [
        member_facts["course"]["state"]
        for member_facts in stores[0].saved[0, 2.0].metadata["members"]
    ]
    assert {states[0], states[2]} <= {"nan", "pruned"}
    assert states[1] == states[3] == "running"
    assert results == run.train_uninterrupted()
    assert results[0].outcome == "complete"


class Counted(nn.Sequential):
    """A network that counts the training steps of all its instances."""

    steps = 0

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(7, width), nn.Linear(width, 3))

    def forward(self, x: Tensor) -> Tensor:
        Counted.steps += self.training
        return super().forward(x)


# Snapshots that do not fit


class TamperedSnapshotStore(FileSnapshotStore):
    """A store that returns changed snapshots."""

    def __init__(self, folder: Path, change: Callable[[Snapshot], Snapshot]) -> None:
        super().__init__(folder)
        self._change = change

    def load(self, index: int) -> Snapshot | None:
        snapshot_read = super().load(index)
        return None if snapshot_read is None else self._change(snapshot_read)


def without_a_tensor(snapshot: Snapshot) -> Snapshot:
    tensors = dict(snapshot.tensors)
    del tensors[next(name for name in tensors if ".model." in name)]
    return replace(snapshot, tensors=tensors)


def with_other_shape(snapshot: Snapshot) -> Snapshot:
    return replace(
        snapshot,
        tensors={
            name: tensor.new_zeros((*tensor.shape, 2)) if name.endswith(".weight") else tensor
            for name, tensor in snapshot.tensors.items()
        },
    )


def with_other_dtype(snapshot: Snapshot) -> Snapshot:
    return replace(
        snapshot,
        tensors={
            name: tensor.half() if tensor.is_floating_point() else tensor
            for name, tensor in snapshot.tensors.items()
        },
    )


def with_unknown_tensor(snapshot: Snapshot) -> Snapshot:
    unknown = {"0.exp_avg.elsewhere": torch.zeros(3), "0.updates.elsewhere": torch.zeros(())}
    return replace(snapshot, tensors={**snapshot.tensors, **unknown})


def without_facts(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, metadata={})


def without_progress(snapshot: Snapshot) -> Snapshot:
    members = [{**member_facts, "progress": None} for member_facts in snapshot.metadata["members"]]
    return replace(snapshot, metadata={**snapshot.metadata, "members": members})


def with_other_seed(snapshot: Snapshot) -> Snapshot:
    members = [
        {**member_facts, "course": {**member_facts["course"], "seed": 7}}
        for member_facts in snapshot.metadata["members"]
    ]
    return replace(snapshot, metadata={**snapshot.metadata, "members": members})


def with_more_members(snapshot: Snapshot) -> Snapshot:
    members = snapshot.metadata["members"] * 2
    return replace(snapshot, metadata={**snapshot.metadata, "members": members})


def with_other_rows(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, metadata={**snapshot.metadata, "rows": [41]})


def with_other_settings(snapshot: Snapshot) -> Snapshot:
    changed = {**snapshot.metadata["settings"], "batch_size": 17}
    return replace(snapshot, metadata={**snapshot.metadata, "settings": changed})


def with_rubbish(snapshot: Snapshot) -> Snapshot:
    return replace(
        snapshot, metadata={**snapshot.metadata, "members": "x", "story": 3, "settings": []}
    )


INCOMPATIBLE_SNAPSHOTS = [
    without_a_tensor,
    with_other_shape,
    with_other_dtype,
    with_unknown_tensor,
    without_facts,
    without_progress,
    with_other_seed,
    with_more_members,
    with_other_rows,
    with_other_settings,
    with_rubbish,
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("change", INCOMPATIBLE_SNAPSHOTS, ids=lambda change: change.__name__)
def test_an_incompatible_snapshot_is_warned_of_and_training_starts_over(
    change: Callable[[Snapshot], Snapshot],
    engine: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = ResumableTraining(mlp_objective(), make_candidates(3, 8), SHORT_SETTINGS, ENGINES[engine])
    with pytest.raises(TrainingInterrupted):
        run.train_with_store(FileSnapshotStore(tmp_path, 2))
    (tmp_path / "1").rename(tmp_path / "away")
    results = run.train_with_store(TamperedSnapshotStore(tmp_path, change))
    expected = run.train_uninterrupted()
    if engine in EXACT_ENGINES:
        assert results == expected
    assert [result.curve for result in results] == [
        pytest.approx(result.curve) for result in expected
    ]
    assert "begins anew" in caplog.text
    assert "'a': 3" in caplog.text


def test_an_incompatible_snapshot_leaves_other_candidates_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two candidates of two folds; a member of one candidate's second fold does not fit."""
    Counted.steps = 0
    run = ResumableTraining(
        make_custom_objective(Counted),
        make_candidates(3, 8),
        replace(SHORT_SETTINGS, folds=2),
        PlainEngine,
    )
    expected = run.train_uninterrupted()
    steps, Counted.steps = Counted.steps, 0
    with pytest.raises(TrainingInterrupted):
        run.train_with_store(FileSnapshotStore(tmp_path, 2))

    def damage(snapshot: Snapshot) -> Snapshot:
        names = {name for name in snapshot.tensors if name.startswith("1.model")}
        if not any(
            tensor.shape[:1] == (3,) and tensor.ndim == 2 and tensor.shape[1] == 7
            for tensor in snapshot.tensors.values()
        ):
            return snapshot
        return replace(
            snapshot, tensors={n: t for n, t in snapshot.tensors.items() if n not in names}
        )

    Counted.steps = 0
    assert run.train_with_store(TamperedSnapshotStore(tmp_path, damage)) == expected
    assert Counted.steps == steps * 3 // 4  # one anew, the other from the middle
    assert caplog.text.count("begins anew") == 1


def test_a_model_that_can_no_longer_be_built_fails_as_without_a_snapshot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = ResumableTraining(
        make_custom_objective(Counted), make_candidates(3), SHORT_SETTINGS, PlainEngine
    )
    with pytest.raises(TrainingInterrupted):
        run.train_with_store(FileSnapshotStore(tmp_path, 2))

    def refuse(_: int) -> nn.Module:
        raise KeyError("gone")

    (result,) = replace(run, objective=make_custom_objective(refuse)).train_with_store(
        FileSnapshotStore(tmp_path)
    )
    assert "gone" in str(result)
    assert "begins anew" in caplog.text
