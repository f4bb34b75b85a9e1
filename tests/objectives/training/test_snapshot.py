"""Going on where something went wrong: failures, engines that break down, strange snapshots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.engines.base import Member, Training
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.training.snapshot import Snapshot
from widthwise.tests.objectives.loop.snapshots import (
    ENGINES,
    EXACT,
    SHORT,
    FileKeeper,
    Interrupted,
    Run,
    built,
    candidates,
    cut,
    mlp,
)

# Trouble


class Troubled(nn.Module):
    """Explodes or runs out of memory at width 3, from its fourth step on."""

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
def test_failures_end_as_they_would_have(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(built(lambda n: Troubled(n, way)), candidates(2, 3, 4), SHORT, PlainEngine)
    cut(monkeypatch, 2)
    found, pieces = run.in_pieces(tmp_path, 2)
    expected = run.alone()
    assert len(pieces) > 3
    assert [found[0], found[2]] == [expected[0], expected[2]]
    if way == "error":
        assert isinstance(found[1], KeyError)
    else:
        # The detail of what became no number would differ in words alone: nan is never equal.
        assert repr(found[1]) == repr(expected[1])
        assert found[1].outcome == way


def test_what_ran_out_of_memory_is_not_kept_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine may have more: it is tried there."""
    run = Run(built(lambda n: Troubled(n, "out_of_memory")), candidates(2, 3), SHORT, PlainEngine)
    first = run.kept(FileKeeper(tmp_path))
    assert [one.outcome for one in first] == ["complete", "out_of_memory"]
    monkeypatch.setattr(Troubled, "roomy", True)
    found = run.kept(FileKeeper(tmp_path))
    assert [one.outcome for one in found] == ["complete", "complete"]


def test_a_failed_rate_stays_failed_beside_one_that_goes_on(tmp_path: Path) -> None:
    settings_ = replace(SHORT, rate_factors=(1e200, 1.0), replicas=2)
    run = Run(mlp(norm="none"), candidates(3), settings_, PlainEngine)
    found, pieces = run.in_pieces(tmp_path, 2)
    states = [one["course"]["state"] for one in pieces[0].seen[0, 2.0].facts["members"]]
    assert {states[0], states[2]} <= {"nan", "pruned"}
    assert states[1] == states[3] == "running"
    assert found == run.alone()
    assert found[0].outcome == "complete"


class Breaking:
    """An engine that breaks down in one of its calls, as when a GPU's memory runs out."""

    name = "breaking"

    def __init__(self, call: int) -> None:
        self._left = call

    def start(self, training: Training, members: Sequence[Member]) -> Any:
        team = PlainEngine().start(training, members)
        advance = team.advance

        def breaking(*arguments: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise RuntimeError("it broke down")
            return advance(*arguments)

        team.advance = breaking  # type: ignore[method-assign]
        return team


@pytest.mark.parametrize("call", range(4))
def test_an_engine_that_breaks_down_after_going_on(
    call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plain engine takes over where the training was taken up, or begins anew: same numbers."""
    objective = mlp()
    cut(monkeypatch, 2)
    run = Run(objective, candidates(3, 8), SHORT, PlainEngine)
    with pytest.raises(Interrupted):
        run.kept(FileKeeper(tmp_path, 4))
    found = replace(run, engine=lambda: Breaking(call)).kept(FileKeeper(tmp_path))
    for one, other in zip(found, run.alone(), strict=True):
        assert one.engine == "plain, plain (breaking: RuntimeError: it broke down)"
        assert replace(one, engine="plain") == other


def test_an_engine_that_breaks_down_while_it_takes_up_a_training(tmp_path: Path) -> None:
    class Full:
        name = "full"

        def start(self, training: Training, members: Sequence[Member]) -> Any:
            team = PlainEngine().start(training, members)

            def go_on_from(_: Any) -> Any:
                raise torch.OutOfMemoryError("CUDA out of memory")

            team.go_on_from = go_on_from  # type: ignore[method-assign]
            return team

    run = Run(mlp(), candidates(3, 8), SHORT, PlainEngine)
    with pytest.raises(Interrupted):
        run.kept(FileKeeper(tmp_path, 2))
    keeper = FileKeeper(tmp_path)
    found = replace(run, engine=Full).kept(keeper)
    assert [replace(one, engine="plain") for one in found] == run.alone()
    assert "plain (full: OutOfMemoryError" in found[0].engine
    assert min(epochs for _, epochs in keeper.seen) == 3.0


def test_what_broke_down_at_once_does_not_lose_the_epochs_before(tmp_path: Path) -> None:
    """Else a training that is stopped again and again would never end."""
    run = Run(built(Counted), candidates(3), SHORT, PlainEngine)
    with pytest.raises(Interrupted):
        run.kept(FileKeeper(tmp_path, 3))
    Counted.steps = 0
    replace(run, engine=lambda: Breaking(0)).kept(FileKeeper(tmp_path))
    assert Counted.steps == 3


class Counted(nn.Sequential):
    """Counts the steps of all its kind."""

    steps = 0

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(7, width), nn.Linear(width, 3))

    def forward(self, x: Tensor) -> Tensor:
        Counted.steps += self.training
        return super().forward(x)


# Snapshots that do not fit


class Tampered(FileKeeper):
    """Gives back snapshots that were changed."""

    def __init__(self, folder: Path, change: Callable[[Snapshot], Snapshot]) -> None:
        super().__init__(folder)
        self._change = change

    def load(self, place: int) -> Snapshot | None:
        found = super().load(place)
        return None if found is None else self._change(found)


def without_a_tensor(snapshot: Snapshot) -> Snapshot:
    tensors = dict(snapshot.tensors)
    del tensors[next(name for name in tensors if ".model." in name)]
    return replace(snapshot, tensors=tensors)


def of_another_shape(snapshot: Snapshot) -> Snapshot:
    return replace(
        snapshot,
        tensors={
            name: one.new_zeros((*one.shape, 2)) if name.endswith(".weight") else one
            for name, one in snapshot.tensors.items()
        },
    )


def of_another_type(snapshot: Snapshot) -> Snapshot:
    return replace(
        snapshot,
        tensors={
            name: one.half() if one.is_floating_point() else one
            for name, one in snapshot.tensors.items()
        },
    )


def with_a_stranger(snapshot: Snapshot) -> Snapshot:
    stranger = {"0.exp_avg.elsewhere": torch.zeros(3), "0.updates.elsewhere": torch.zeros(())}
    return replace(snapshot, tensors={**snapshot.tensors, **stranger})


def without_facts(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, facts={})


def without_progress(snapshot: Snapshot) -> Snapshot:
    members = [{**one, "progress": None} for one in snapshot.facts["members"]]
    return replace(snapshot, facts={**snapshot.facts, "members": members})


def of_another_seed(snapshot: Snapshot) -> Snapshot:
    members = [{**one, "course": {**one["course"], "seed": 7}} for one in snapshot.facts["members"]]
    return replace(snapshot, facts={**snapshot.facts, "members": members})


def of_more_members(snapshot: Snapshot) -> Snapshot:
    members = snapshot.facts["members"] * 2
    return replace(snapshot, facts={**snapshot.facts, "members": members})


def of_other_rows(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, facts={**snapshot.facts, "rows": [41]})


def of_other_settings(snapshot: Snapshot) -> Snapshot:
    changed = {**snapshot.facts["settings"], "batch_size": 17}
    return replace(snapshot, facts={**snapshot.facts, "settings": changed})


def with_rubbish(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, facts={**snapshot.facts, "members": "x", "story": 3, "settings": []})


MISFITS = [
    without_a_tensor,
    of_another_shape,
    of_another_type,
    with_a_stranger,
    without_facts,
    without_progress,
    of_another_seed,
    of_more_members,
    of_other_rows,
    of_other_settings,
    with_rubbish,
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("change", MISFITS, ids=lambda one: one.__name__)
def test_what_does_not_fit_is_said_and_begun_anew(
    change: Callable[[Snapshot], Snapshot],
    engine: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = Run(mlp(), candidates(3, 8), SHORT, ENGINES[engine])
    with pytest.raises(Interrupted):
        run.kept(FileKeeper(tmp_path, 2))
    (tmp_path / "1").rename(tmp_path / "away")
    found = run.kept(Tampered(tmp_path, change))
    expected = run.alone()
    if engine in EXACT:
        assert found == expected
    assert [one.curve for one in found] == [pytest.approx(one.curve) for one in expected]
    assert "begins anew" in caplog.text
    assert "'a': 3" in caplog.text


def test_one_that_does_not_fit_is_no_trouble_of_its_neighbour(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two candidates of two folds; a member of one candidate's second fold does not fit."""
    Counted.steps = 0
    run = Run(built(Counted), candidates(3, 8), replace(SHORT, folds=2), PlainEngine)
    expected = run.alone()
    steps, Counted.steps = Counted.steps, 0
    with pytest.raises(Interrupted):
        run.kept(FileKeeper(tmp_path, 2))

    def damage(snapshot: Snapshot) -> Snapshot:
        names = {name for name in snapshot.tensors if name.startswith("1.model")}
        if not any(
            one.shape[:1] == (3,) and one.ndim == 2 and one.shape[1] == 7
            for one in snapshot.tensors.values()
        ):
            return snapshot
        return replace(
            snapshot, tensors={n: t for n, t in snapshot.tensors.items() if n not in names}
        )

    Counted.steps = 0
    assert run.kept(Tampered(tmp_path, damage)) == expected
    assert Counted.steps == steps * 3 // 4  # one anew, the other from the middle
    assert caplog.text.count("begins anew") == 1


def test_a_model_that_cannot_be_built_any_more_fails_as_ever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(built(Counted), candidates(3), SHORT, PlainEngine)
    with pytest.raises(Interrupted):
        run.kept(FileKeeper(tmp_path, 2))

    def refuse(_: int) -> nn.Module:
        raise KeyError("gone")

    (found,) = replace(run, objective=built(refuse)).kept(FileKeeper(tmp_path))
    assert "gone" in str(found)
    assert "begins anew" in caplog.text
