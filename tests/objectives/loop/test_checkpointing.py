"""Going on from a snapshot: the training ends as if it had never been interrupted."""

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
from torch import Tensor, nn
from widthwise.objectives.engines.base import Member, Training
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.engines.stacked.engine import StackedEngine
from widthwise.objectives.model.metrics import Metric
from widthwise.objectives.model.objective import ModuleObjective
from widthwise.objectives.training import checkpoint_file
from widthwise.objectives.training.settings import Halving
from widthwise.objectives.training.snapshot import Snapshot
from widthwise.tests.objectives.engines.equality import family, generated
from widthwise.tests.objectives.loop.snapshots import (
    ENGINES,
    EXACT,
    SHORT,
    FileKeeper,
    Interrupted,
    Run,
    assert_same_snapshots,
    assert_same_tensor,
    built,
    candidates,
    cut,
    mlp,
)

# Any training, any stop

OPTIONS = st.fixed_dictionaries(
    {
        "epochs": st.integers(1, 4),
        "batch_size": st.sampled_from([8, 16, 39, 40]),
        "patience": st.integers(0, 2),
        "weight_decay": st.sampled_from([0.0, 0.1]),
        "replicas": st.integers(1, 2),
        "folds": st.sampled_from([1, 2]),
        "rate_factors": st.sampled_from([(1.0,), (1.0, 0.3), (1.0, 1e200)]),
        "halving": st.sampled_from([None, Halving(eta=2, first=1.0), Halving(eta=2, first=0.4)]),
    }
)


@pytest.mark.slow
@pytest.mark.parametrize("engine", EXACT)
@settings(deadline=None, max_examples=12)
@given(
    options=OPTIONS,
    norm=st.sampled_from(["none", "batch", "layer"]),
    dropout=st.sampled_from([0.0, 0.3]),
    widths=st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
    batches=st.sampled_from([1, 2, 1.5]),
    stop_after=st.integers(1, 9),
)
def test_continued_is_uninterrupted_bit_for_bit(
    engine: str,
    options: dict[str, Any],
    norm: str,
    dropout: float,
    widths: list[int],
    batches: float,
    stop_after: int,
) -> None:
    """All snapshots on the way (weights, moments, streams, curves), and the results."""
    run = Run(
        mlp(norm=norm, dropout=dropout),
        candidates(*widths),
        replace(SHORT, **options),
        EXACT[engine],
    )
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        cut(patch, batches)
        whole = FileKeeper(Path(folder) / "whole")
        expected = run.kept(whole)
        assert repr(expected) == repr(run.alone())
        found, pieces = run.in_pieces(Path(folder) / "pieces", stop_after)
    assert repr(found) == repr(expected)  # in words, what is no number is equal to itself
    for piece in pieces:
        if piece.seen:
            assert_same_snapshots(piece.seen, whole.seen)


@pytest.mark.slow
@settings(deadline=None, max_examples=10)
@given(
    norm=st.sampled_from(["none", "batch", "layer"]),
    replicas=st.integers(1, 2),
    patience=st.integers(0, 1),
    batches=st.sampled_from([1, 2]),
    stop_after=st.integers(1, 9),
)
def test_a_stack_continued_is_the_stack_uninterrupted(
    norm: str, replicas: int, patience: int, batches: int, stop_after: int
) -> None:
    run = Run(
        mlp(norm=norm),
        candidates(3, 8, 5),
        replace(SHORT, replicas=replicas, patience=patience),
        ENGINES["stacked"],
    )
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        cut(patch, batches)
        whole = FileKeeper(Path(folder) / "whole")
        expected = run.kept(whole)
        found, pieces = run.in_pieces(Path(folder) / "pieces", stop_after)
    for piece in pieces:
        for key, snapshot in piece.seen.items():
            assert snapshot.tensors.keys() == whole.seen[key].tensors.keys()
            for name, tensor in snapshot.tensors.items():
                assert_same_tensor(name, tensor, whole.seen[key].tensors[name], 1e-9)
    for one, other in zip(found, expected, strict=True):
        assert one.engine == other.engine == "stacked"
        assert one.curve == pytest.approx(other.curve, rel=1e-9)
        assert one.losses == pytest.approx(other.losses, rel=1e-9)
        assert (one.value, one.test_value, one.outcome) == (
            other.value,
            other.test_value,
            other.outcome,
        )


class ByLayer:
    """Initial weights and rates that differ from layer to layer."""

    def initialise(self, model: nn.Module, _: Mapping[str, int]) -> None:
        for place, parameter in enumerate(model.parameters()):
            parameter.mul_(1 / (1 + place))

    def rates(self, _: Mapping[str, int]) -> Mapping[str, float]:
        return {"1.weight": 0.25, "2.weight": 4.0, "2.bias": 4.0, "5.weight": 0.5}


@pytest.mark.parametrize("second", ENGINES)
@pytest.mark.parametrize("first", ENGINES)
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_another_engine_goes_on(
    first: str, second: str, norm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how, more = replace(SHORT, weight_decay=0.1), {"scaling": ByLayer()}
    run = Run(mlp(norm=norm), candidates(3, 8), how, ENGINES[first], more)
    cut(monkeypatch, 2)
    expected = run.alone()
    with pytest.raises(Interrupted):
        run.kept(FileKeeper(tmp_path, stop_after=4))
    found = replace(run, engine=ENGINES[second]).kept(FileKeeper(tmp_path))
    for one, other in zip(found, expected, strict=True):
        assert one.engine == ", ".join(dict.fromkeys((first, second)))
        assert one.curve == pytest.approx(other.curve, rel=1e-9)
        assert one.losses == pytest.approx(other.losses, rel=1e-9)
        assert one.value == other.value
        assert one.test_value == other.test_value


@pytest.mark.parametrize(
    "more",
    [{"precision": "bfloat16"}, {"accumulate": 3}, {"precision": "bfloat16", "accumulate": 2}],
    ids=lambda more: " ".join(more),
)
def test_precision_and_accumulation(
    more: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = generated(rows=40, dtype=torch.float32)
    run = Run(family("mlp", data, norm="layer"), candidates(6), replace(SHORT, **more), PlainEngine)
    cut(monkeypatch, 1)
    found, pieces = run.in_pieces(tmp_path, 2)
    assert found == run.alone()
    assert len(pieces) > 5


# Several candidates at different points


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batches", [3, 2], ids=["at an epoch's end", "within an epoch"])
def test_a_candidate_that_is_further_sits_out_what_it_has_behind_it(
    engine: str, batches: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = candidates(3, 8)
    objective = mlp()
    cut(monkeypatch, batches)
    alone = [Run(objective, [one], SHORT, ENGINES[engine]).alone()[0] for one in (first, second)]
    with pytest.raises(Interrupted):
        Run(objective, [second], SHORT, ENGINES[engine]).kept(FileKeeper(tmp_path, 3))
    (tmp_path / "0").rename(tmp_path / "1")
    keeper = Renamed(tmp_path, {1: 0})
    seen: list[tuple[float, set[int]]] = []

    def after(epochs: float, metrics: Mapping[int, float]) -> Sequence[int]:
        seen.append((epochs, set(metrics)))
        return ()

    run = Run(objective, [first, second], SHORT, ENGINES[engine])
    keeper.after = after  # type: ignore[method-assign]
    found = run.kept(keeper)
    for one, other in zip(found, alone, strict=True):
        assert one.curve == pytest.approx(other.curve, rel=1e-9)
        assert one.value == other.value
        assert one.test_value == other.test_value
        if engine in EXACT:
            assert one == other
    judged = {epochs: places for epochs, places in seen if places}
    reached = 3 if batches == 3 else 1
    assert all(judged[epochs] == {0} for epochs in range(1, reached + 1))
    assert all(judged[epochs] == {0, 1} for epochs in range(reached + 1, 5))


@pytest.mark.slow
@pytest.mark.parametrize("engine", EXACT)
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
    """Each was interrupted somewhere, or never begun; together they are interrupted again."""
    how = replace(SHORT, replicas=replicas, folds=folds, patience=patience)
    batch, objective = candidates(3, 8, 5, 6)[: len(reached)], mlp()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        cut(patch, batches)
        alone = []
        for place, (one, stop) in enumerate(zip(batch, reached, strict=True)):
            run = Run(objective, [one], how, EXACT[engine])
            alone += run.alone()
            parts = Path(name) / f"alone {place}"
            if stop:
                with contextlib.suppress(Interrupted):
                    run.kept(FileKeeper(parts, stop))
                (parts / "0").rename(Path(name) / str(place))
        together = Run(objective, batch, how, EXACT[engine])
        with contextlib.suppress(Interrupted):
            together.kept(Renamed(Path(name), dict.fromkeys(range(4), 0), stop_after))
        # What was stored last names its present place, what is older its former one.
        found = together.kept(Renamed(Path(name), dict.fromkeys(range(4), 0)))
    assert found == alone


class Renamed(FileKeeper):
    """A keeper whose candidates had other places when they were stored first."""

    def __init__(self, folder: Path, old: Mapping[int, int], stop_after: int | None = None) -> None:
        super().__init__(folder, stop_after)
        self._old = old

    def load(self, place: int) -> Snapshot | None:
        folder = self.folder / str(place)
        present = checkpoint_file.read(folder, {"place": place})
        return present or checkpoint_file.read(folder, {"place": self._old.get(place, place)})


def test_those_further_are_one_stack_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three at one point and one at the beginning are two stacks, not four."""
    objective = mlp()
    four = candidates(3, 8, 5, 7)
    with pytest.raises(Interrupted):
        Run(objective, four[:3], SHORT, ENGINES["stacked"]).kept(FileKeeper(tmp_path, 2))
    stacks: list[int] = []

    class Watched:
        name = "stacked"

        def start(self, training: Training, members: Sequence[Member]) -> Any:
            team = StackedEngine(overhead=1e12).start(training, members)
            advance = team.advance

            def watched(*arguments: Any) -> Any:
                found = advance(*arguments)
                stacks.append(len(team._stacks))
                return found

            team.advance = watched
            return team

    found = Run(objective, four, SHORT, Watched).kept(FileKeeper(tmp_path))
    assert stacks[-1] == 2
    assert [one.outcome for one in found] == ["complete"] * 4


def test_the_keeper_is_asked_once_for_each_and_before_the_one_who_stops(tmp_path: Path) -> None:
    keeper = FileKeeper(tmp_path, stop_after=1)
    with pytest.raises(Interrupted):
        Run(mlp(), candidates(3, 4, 5), SHORT, PlainEngine).kept(keeper)
    assert keeper.loads == [0, 1, 2]
    assert sorted(place for place, _ in keeper.seen) == [0, 1, 2]


def test_nothing_new_is_not_kept_again(tmp_path: Path) -> None:
    """One that ended is stored once; one that sits out is not stored anew."""
    run = Run(mlp(), candidates(3, 8), replace(SHORT, epochs=6, patience=1), PlainEngine)
    keeper = FileKeeper(tmp_path)
    saves: list[int] = []
    save = keeper.save
    keeper.save = lambda place, one: (saves.append(place), save(place, one))[1]  # type: ignore[method-assign, func-returns-value]
    found = run.kept(keeper)
    for place, one in enumerate(found):
        assert saves.count(place) == one.epochs
    again = FileKeeper(tmp_path)
    assert run.kept(again) == found
    assert not again.seen


# Rungs


class Known(nn.Module):
    """Its validation metric is its width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers, self.width = nn.Linear(7, 3), width

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out if self.training else torch.full_like(out, float(self.width))


def known() -> ModuleObjective:
    metric = Metric(name="width", direction="maximize", function=lambda out, _: float(out.mean()))
    return built(Known, metric=metric)


HALVED = replace(SHORT, epochs=9, halving=Halving(eta=3, first=1.0))


@pytest.mark.parametrize("stop_after", range(1, 9))
def test_who_fell_behind_stays_behind(stop_after: int, tmp_path: Path) -> None:
    run = Run(known(), candidates(4, 9, 1, 8, 2, 7, 3, 6, 5), HALVED, PlainEngine)
    found, _ = run.in_pieces(tmp_path, stop_after)
    assert found == run.alone()
    assert {one.outcome for one in found} == {"pruned", "complete"}


def test_scores_at_rungs_passed_count_for_those_who_follow(tmp_path: Path) -> None:
    """The one that goes on was better there: those who begin fall behind it, and it goes on."""
    nine, four = candidates(9, 4)
    with pytest.raises(Interrupted):
        Run(known(), [nine], HALVED, PlainEngine).kept(FileKeeper(tmp_path, 2))
    found = Run(known(), [nine, four], HALVED, PlainEngine).kept(FileKeeper(tmp_path))
    assert [one.outcome for one in found] == ["complete", "pruned"]
    assert found[0].rungs == ((1.0, 9.0), (3.0, 9.0))
    assert found[1].fidelity == 1.0


def test_one_that_passed_a_rung_is_not_judged_there_again(tmp_path: Path) -> None:
    """Better ones that begin later do not stop it there, but at the next rung."""
    four, *better = candidates(4, 9, 8, 7)
    with pytest.raises(Interrupted):
        Run(known(), [four], HALVED, PlainEngine).kept(FileKeeper(tmp_path, 2))
    found = Run(known(), [four, *better], HALVED, PlainEngine).kept(FileKeeper(tmp_path))
    assert [one.outcome for one in found] == ["pruned", "complete", "pruned", "pruned"]
    assert found[0].fidelity == 3.0
    assert found[0].rungs == ((1.0, 4.0), (3.0, 4.0))
