"""Resuming from a snapshot: the training ends as if it had never been interrupted."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from widthwise.objectives.engines.base import Member, TrainingSetup
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.engines.stacked.engine import StackedEngine
from widthwise.objectives.training import checkpoint_file
from widthwise.objectives.training.settings import Halving
from widthwise.objectives.training.snapshot import Snapshot
from widthwise.tests.objectives.engines.equality import family_objective, make_clusters
from widthwise.tests.objectives.loop.snapshots import (
    ENGINES,
    EXACT_ENGINES,
    SHORT_SETTINGS,
    FileSnapshotStore,
    ResumableTraining,
    TrainingInterrupted,
    assert_same_snapshots,
    assert_same_tensor,
    make_candidates,
    mlp_objective,
    pause_every,
)

# Any training, interrupted anywhere

OPTIONS = st.fixed_dictionaries(
    {
        "epochs": st.integers(1, 4),
        "batch_size": st.sampled_from([8, 16, 39, 40]),
        "patience": st.integers(0, 2),
        "weight_decay": st.sampled_from([0.0, 0.1]),
        "schedule": st.sampled_from(["constant", "cosine", "one-cycle"]),
        "input_noise": st.sampled_from([0.0, 0.3]),
        "train_share": st.sampled_from([1.0, 0.5]),
        "replicas": st.integers(1, 2),
        "folds": st.sampled_from([1, 2]),
        "rate_factors": st.sampled_from([(1.0,), (1.0, 0.3), (1.0, 1e200)]),
        "halving": st.sampled_from([None, Halving(eta=2, first=1.0), Halving(eta=2, first=0.4)]),
    }
)


@pytest.mark.slow
@pytest.mark.parametrize("engine", EXACT_ENGINES)
@settings(deadline=None, max_examples=12)
@given(
    options=OPTIONS,
    norm=st.sampled_from(["none", "batch", "layer"]),
    dropout=st.sampled_from([0.0, 0.3]),
    widths=st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
    batches=st.sampled_from([1, 2, 1.5]),
    stop_after=st.integers(1, 9),
)
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(
    engine: str,
    options: dict[str, Any],
    norm: str,
    dropout: float,
    widths: list[int],
    batches: float,
    stop_after: int,
) -> None:
    """All snapshots on the way (weights, moments, streams, curves), and the results."""
    run = ResumableTraining(
        mlp_objective(norm=norm, dropout=dropout),
        make_candidates(*widths),
        replace(SHORT_SETTINGS, **options),
        EXACT_ENGINES[engine],
        make_slicer=pause_every(batches),
    )
    with tempfile.TemporaryDirectory() as folder:
        uninterrupted = FileSnapshotStore(Path(folder) / "whole")
        expected = run.train_with_store(uninterrupted)
        assert repr(expected) == repr(run.train_uninterrupted())
        results, stores = run.train_in_pieces(Path(folder) / "pieces", stop_after)
    assert repr(results) == repr(expected)  # in words, what is no number is equal to itself
    for store in stores:
        if store.saved:
            assert_same_snapshots(store.saved, uninterrupted.saved)


@pytest.mark.slow
@settings(deadline=None, max_examples=10)
@given(
    norm=st.sampled_from(["none", "batch", "layer"]),
    replicas=st.integers(1, 2),
    patience=st.integers(0, 1),
    batches=st.sampled_from([1, 2]),
    stop_after=st.integers(1, 9),
)
def test_a_resumed_stack_is_the_uninterrupted_one(
    norm: str, replicas: int, patience: int, batches: int, stop_after: int
) -> None:
    run = ResumableTraining(
        mlp_objective(norm=norm),
        make_candidates(3, 8, 5),
        replace(SHORT_SETTINGS, replicas=replicas, patience=patience),
        ENGINES["stacked"],
        make_slicer=pause_every(batches),
    )
    with tempfile.TemporaryDirectory() as folder:
        uninterrupted = FileSnapshotStore(Path(folder) / "whole")
        expected = run.train_with_store(uninterrupted)
        results, stores = run.train_in_pieces(Path(folder) / "pieces", stop_after)
    for store in stores:
        for key, snapshot in store.saved.items():
            assert snapshot.tensors.keys() == uninterrupted.saved[key].tensors.keys()
            for name, tensor in snapshot.tensors.items():
                assert_same_tensor(name, tensor, uninterrupted.saved[key].tensors[name], 1e-9)
    for result, expected_result in zip(results, expected, strict=True):
        assert result.engine == expected_result.engine == "stacked"
        assert result.curve == pytest.approx(expected_result.curve, rel=1e-9)
        assert result.losses == pytest.approx(expected_result.losses, rel=1e-9)
        assert (result.value, result.test_value, result.outcome) == (
            expected_result.value,
            expected_result.test_value,
            expected_result.outcome,
        )


class PerLayerRates:
    """Initial weights and rates that differ from layer to layer."""

    def initialise(self, model: nn.Module, _: Mapping[str, int]) -> None:
        for index, parameter in enumerate(model.parameters()):
            parameter.mul_(1 / (1 + index))

    def learning_rate_factors(self, _: Mapping[str, int]) -> Mapping[str, float]:
        return {"1.weight": 0.25, "2.weight": 4.0, "2.bias": 4.0, "5.weight": 0.5}


@pytest.mark.parametrize("second", ENGINES)
@pytest.mark.parametrize("first", ENGINES)
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_another_engine_resumes(first: str, second: str, norm: str, tmp_path: Path) -> None:
    training_settings, more = (
        replace(SHORT_SETTINGS, weight_decay=0.1),
        {"parametrisation": PerLayerRates()},
    )
    run = ResumableTraining(
        mlp_objective(norm=norm),
        make_candidates(3, 8),
        training_settings,
        ENGINES[first],
        more,
        pause_every(2),
    )
    expected = run.train_uninterrupted()
    with pytest.raises(TrainingInterrupted):
        run.train_with_store(FileSnapshotStore(tmp_path, stop_after=4))
    results = replace(run, engine=ENGINES[second]).train_with_store(FileSnapshotStore(tmp_path))
    for result, expected_result in zip(results, expected, strict=True):
        assert result.engine == ", ".join(dict.fromkeys((first, second)))
        assert result.curve == pytest.approx(expected_result.curve, rel=1e-9)
        assert result.losses == pytest.approx(expected_result.losses, rel=1e-9)
        assert result.value == expected_result.value
        assert result.test_value == expected_result.test_value


@pytest.mark.parametrize(
    "more",
    [{"precision": "bfloat16"}, {"accumulate": 3}, {"precision": "bfloat16", "accumulate": 2}],
    ids=lambda more: " ".join(more),
)
def test_precision_and_accumulation(more: dict[str, Any], tmp_path: Path) -> None:
    data = make_clusters(rows=40, dtype=torch.float32)
    run = ResumableTraining(
        family_objective("mlp", data, norm="layer"),
        make_candidates(6),
        replace(SHORT_SETTINGS, **more),
        PlainEngine,
        make_slicer=pause_every(1),
    )
    results, stores = run.train_in_pieces(tmp_path, 2)
    assert results == run.train_uninterrupted()
    assert len(stores) > 5


# Several candidates at different points


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batches", [3, 2], ids=["at an epoch's end", "within an epoch"])
def test_a_candidate_that_is_ahead_skips_the_milestones_it_has_reached(
    engine: str, batches: int, tmp_path: Path
) -> None:
    first, second = make_candidates(3, 8)
    joint = ResumableTraining(
        mlp_objective(),
        [first, second],
        SHORT_SETTINGS,
        ENGINES[engine],
        make_slicer=pause_every(batches),
    )
    separate = [
        replace(joint, candidates=[candidate]).train_uninterrupted()[0]
        for candidate in (first, second)
    ]
    with pytest.raises(TrainingInterrupted):
        replace(joint, candidates=[second]).train_with_store(FileSnapshotStore(tmp_path, 3))
    (tmp_path / "0").rename(tmp_path / "1")
    store = RemappedSnapshotStore(tmp_path, {1: 0})
    observed: list[tuple[float, set[int]]] = []

    def callback(epochs: float, metrics: Mapping[int, float]) -> Sequence[int]:
        observed.append((epochs, set(metrics)))
        return ()

    store.after = callback  # type: ignore[method-assign]
    results = joint.train_with_store(store)
    for candidate, expected_result in zip(results, separate, strict=True):
        assert candidate.curve == pytest.approx(expected_result.curve, rel=1e-9)
        assert candidate.value == expected_result.value
        assert candidate.test_value == expected_result.test_value
        if engine in EXACT_ENGINES:
            assert candidate == expected_result
    validated = {epochs: indices for epochs, indices in observed if indices}
    reached = 3 if batches == 3 else 1
    assert all(validated[epochs] == {0} for epochs in range(1, reached + 1))
    assert all(validated[epochs] == {0, 1} for epochs in range(reached + 1, 5))


@pytest.mark.slow
@pytest.mark.parametrize("engine", EXACT_ENGINES)
@settings(deadline=None, max_examples=8)
@given(
    reached=st.lists(st.integers(0, 12), min_size=2, max_size=4),
    replicas=st.integers(1, 2),
    folds=st.integers(1, 2),
    patience=st.integers(0, 1),
    batches=st.sampled_from([1, 2]),
    stop_after=st.integers(2, 9),
)
def test_candidates_from_anywhere_end_as_each_alone(
    engine: str,
    reached: list[int],
    replicas: int,
    folds: int,
    patience: int,
    batches: int,
    stop_after: int,
) -> None:
    """Each was interrupted somewhere, or not begun; together they are interrupted again."""
    training_settings = replace(SHORT_SETTINGS, replicas=replicas, folds=folds, patience=patience)
    batch = make_candidates(3, 8, 5, 6)[: len(reached)]
    joint = ResumableTraining(
        mlp_objective(),
        batch,
        training_settings,
        EXACT_ENGINES[engine],
        make_slicer=pause_every(batches),
    )
    with tempfile.TemporaryDirectory() as name:
        separate = []
        for index, (candidate, stop) in enumerate(zip(batch, reached, strict=True)):
            run = replace(joint, candidates=[candidate])
            separate += run.train_uninterrupted()
            parts = Path(name) / f"alone {index}"
            if stop:
                with contextlib.suppress(TrainingInterrupted):
                    run.train_with_store(FileSnapshotStore(parts, stop))
                (parts / "0").rename(Path(name) / str(index))
        with contextlib.suppress(TrainingInterrupted):
            joint.train_with_store(
                RemappedSnapshotStore(Path(name), dict.fromkeys(range(4), 0), stop_after)
            )
        # The latest snapshots name the present index, older ones the former.
        results = joint.train_with_store(
            RemappedSnapshotStore(Path(name), dict.fromkeys(range(4), 0))
        )
    assert results == separate


class RemappedSnapshotStore(FileSnapshotStore):
    """A store whose candidates had other indices when they were saved first."""

    def __init__(self, folder: Path, old: Mapping[int, int], stop_after: int | None = None) -> None:
        super().__init__(folder, stop_after)
        self._old = old

    def load(self, index: int) -> Snapshot | None:
        folder = self.folder / str(index)
        present = checkpoint_file.read(folder, {"place": index})
        return present or checkpoint_file.read(folder, {"place": self._old.get(index, index)})


def test_candidates_at_one_point_are_one_stack_again(tmp_path: Path) -> None:
    """Three at one point and one untrained are two stacks, not four."""
    objective = mlp_objective()
    four = make_candidates(3, 8, 5, 7)
    with pytest.raises(TrainingInterrupted):
        ResumableTraining(objective, four[:3], SHORT_SETTINGS, ENGINES["stacked"]).train_with_store(
            FileSnapshotStore(tmp_path, 2)
        )
    stacks: list[int] = []

    class Watched:
        name = "stacked"

        def start(self, training: TrainingSetup, members: Sequence[Member]) -> Any:
            session = StackedEngine(overhead_macs=1e12).start(training, members)
            advance = session.advance

            def watched(*arguments: Any) -> Any:
                losses = advance(*arguments)
                stacks.append(len(session._stacks))
                return losses

            session.advance = watched
            return session

    results = ResumableTraining(objective, four, SHORT_SETTINGS, Watched).train_with_store(
        FileSnapshotStore(tmp_path)
    )
    assert stacks[-1] == 2
    assert [result.outcome for result in results] == ["complete"] * 4


def test_the_snapshot_store_is_read_once_for_each_candidate(tmp_path: Path) -> None:
    store = FileSnapshotStore(tmp_path, stop_after=1)
    with pytest.raises(TrainingInterrupted):
        ResumableTraining(
            mlp_objective(), make_candidates(3, 4, 5), SHORT_SETTINGS, PlainEngine
        ).train_with_store(store)
    assert store.loaded_indices == [0, 1, 2]
    assert sorted(index for index, _ in store.saved) == [0, 1, 2]


def test_unchanged_snapshots_are_not_saved_again(tmp_path: Path) -> None:
    """A candidate that ended is saved once; one that skips a milestone is not saved again."""
    run = ResumableTraining(
        mlp_objective(),
        make_candidates(3, 8),
        replace(SHORT_SETTINGS, epochs=6, patience=1),
        PlainEngine,
    )
    store = FileSnapshotStore(tmp_path)
    saves: list[int] = []
    save = store.save
    store.save = lambda index, result: (saves.append(index), save(index, result))[1]  # type: ignore[method-assign, func-returns-value]
    results = run.train_with_store(store)
    for index, result in enumerate(results):
        assert saves.count(index) == result.epochs
    again = FileSnapshotStore(tmp_path)
    assert run.train_with_store(again) == results
    assert not again.saved
