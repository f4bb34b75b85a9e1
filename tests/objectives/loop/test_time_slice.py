"""Time slices: the clock cuts long epochs, and no figure depends on where."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from widthwise.objectives.loop.milestone import Milestone
from widthwise.objectives.loop.time_slice import SLICE_SECONDS, TimeSlicer
from widthwise.objectives.training.settings import Halving
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


class Clock:
    """A clock that only moves when a test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def slicer_of(clock: Clock, steps: int, *, enabled: bool = True) -> TimeSlicer:
    return TimeSlicer(steps, enabled=enabled, clock=clock)


def slice_lengths(
    slicer: TimeSlicer, clock: Clock, at: float, milestone: Milestone, pace: float, steps: int
) -> Iterator[int]:
    """The batches of each slice on the way to a milestone, at so many seconds an epoch."""
    epoch, reached = math.ceil(milestone.epochs) - 1, None
    done = math.ceil((at - epoch) * steps)
    while reached is not milestone:
        reached = slicer.next_milestone(at, milestone)
        batches = math.ceil((reached.epochs - epoch) * steps) - done
        clock.now += batches * pace / steps
        assert slicer.record_progress() == pytest.approx(batches * pace / steps)
        yield batches
        at, done = reached.epochs, done + batches


@settings(deadline=None, max_examples=200)
@given(
    steps=st.integers(1, 5000),
    pace=st.floats(1e-6, 1e4),
    begin=st.floats(0, 0.999),
    end=st.floats(0.001, 1.0),
)
def test_the_way_to_a_milestone_is_cut_into_slices_of_about_a_second(
    steps: int, pace: float, begin: float, end: float
) -> None:
    begin, end = 3 + (begin if begin < end else 0.0) - 3, 3 + end - 3  # as they are after rounding
    clock, milestone = Clock(), Milestone(epochs=3 + end)
    slicer = slicer_of(clock, steps)
    actual = list(slice_lengths(slicer, clock, 3 + begin, milestone, pace, steps))
    assert all(batches > 0 for batches in actual[:-1])
    assert sum(actual) == math.ceil(end * steps) - math.ceil(begin * steps)
    longest = 1.5 * max(SLICE_SECONDS, pace / steps)
    assert all(batches * pace / steps <= longest + 1e-6 for batches in actual)
    # Not many more than there are seconds, or steps; the first few are for learning the pace.
    assert len(actual) <= 2 * min(steps, pace / SLICE_SECONDS) + math.log10(steps) + 2


def test_a_short_epoch_at_a_known_pace_is_not_cut() -> None:
    clock = Clock()
    slicer = slicer_of(clock, 1000)
    assert len(list(slice_lengths(slicer, clock, 0.0, Milestone(epochs=1.0), 0.1, 1000))) == 4
    assert len(list(slice_lengths(slicer, clock, 1.0, Milestone(epochs=2.0), 0.1, 1000))) == 1
    assert len(list(slice_lengths(slicer, clock, 2.0, Milestone(epochs=2.25), 0.1, 1000))) == 1


def test_a_disabled_slicer_cuts_nothing() -> None:
    clock = Clock()
    slicer = slicer_of(clock, 1000, enabled=False)
    assert len(list(slice_lengths(slicer, clock, 0.0, Milestone(epochs=1.0), 1e9, 1000))) == 1
    assert len(list(slice_lengths(slicer, clock, 1.0, Milestone(epochs=2.0), 1e9, 1000))) == 1


class SlowNetwork(nn.Module):
    """A step takes so many seconds of the clock."""

    clock: Clock
    seconds = 0.0

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(7, width), nn.Tanh(), nn.Linear(width, 3))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            SlowNetwork.clock.now += SlowNetwork.seconds
        return self.layers(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.4, 30.0])
def test_no_callback_waits_for_the_end_of_a_long_epoch(seconds: float) -> None:
    """40 steps an epoch, three candidates: called every second or so, or once each did a step."""
    clock = Clock()
    SlowNetwork.clock, SlowNetwork.seconds = clock, seconds
    run = ResumableTraining(
        make_custom_objective(SlowNetwork),
        make_candidates(2, 3, 4),
        replace(SHORT_SETTINGS, batch_size=1),
        ENGINES["plain"],
        make_slicer=partial(TimeSlicer, clock=clock),
    )
    calls: list[tuple[float, float, int]] = []

    def callback(epochs: float, metrics: Mapping[int, float]) -> Collection[int]:
        calls.append((clock.now, epochs, len(metrics)))
        return ()

    run.options = {"callback": callback}
    run.train_uninterrupted()
    times = [0.0, *(call[0] for call in calls)]
    waits = [late - early for early, late in pairwise(times)]
    assert max(waits) <= 2.6 * max(SLICE_SECONDS, 3 * seconds) + 1e-6
    at = [epochs for _, epochs, _ in calls]
    assert at == sorted(set(at))
    whole = [epochs for epochs in at if epochs == int(epochs)]
    assert whole == [1.0, 2.0, 3.0, 4.0]
    assert all(metrics == (3 if epochs in whole else 0) for _, epochs, metrics in calls)
    if seconds == 0:
        assert at == whole


def test_a_candidate_cancelled_within_an_epoch_is_trained_no_further() -> None:
    clock = Clock()
    SlowNetwork.clock, SlowNetwork.seconds = clock, 1.0
    run = ResumableTraining(
        make_custom_objective(SlowNetwork),
        make_candidates(2, 3),
        replace(SHORT_SETTINGS, batch_size=8),
        ENGINES["plain"],
        make_slicer=partial(TimeSlicer, clock=clock),
    )

    def callback(epochs: float, _: Mapping[int, float]) -> Collection[int]:
        return [0] if epochs < 1 else [0, 1] if epochs < 2 and epochs > 1 else []

    run.options = {"callback": callback}
    assert run.train_uninterrupted() == [None, None]
    assert clock.now == 2 * 1 + 1 * 5  # both a step, the other one to the next slice but one


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batches", [1, 2, 1.3])
@pytest.mark.parametrize("halving", [None, Halving(eta=2, first=0.3)], ids=["", "halving"])
def test_no_number_depends_on_where_an_epoch_is_cut(
    engine: str, batches: float, halving: Halving | None
) -> None:
    training_settings = replace(
        SHORT_SETTINGS, batch_size=8, replicas=2, patience=1, halving=halving
    )
    run = ResumableTraining(
        mlp_objective(),
        make_candidates(3, 8),
        training_settings,
        ENGINES[engine],
        {"callback": lambda *_: ()},
    )
    expected = run.train_uninterrupted()
    sliced = replace(run, make_slicer=pause_every(batches))
    assert sliced.train_uninterrupted() == expected


def test_a_loss_that_is_not_finite_is_reported_alike() -> None:
    """The loss of an epoch whose second batch overflows and whose third is NaN."""

    class Exploding(SlowNetwork):
        def forward(self, x: Tensor) -> Tensor:
            self.calls = getattr(self, "calls", 0) + self.training
            factor = {5: math.inf, 6: math.nan}.get(self.calls, 1.0) if self.training else 1.0
            return torch.where(torch.ones_like(x[:, :3]) > 0, super().forward(x) * factor, 0.0)

    SlowNetwork.clock, SlowNetwork.seconds = Clock(), 0.0
    run = ResumableTraining(
        make_custom_objective(Exploding),
        make_candidates(3),
        SHORT_SETTINGS,
        ENGINES["plain"],
        {"callback": lambda *_: ()},
    )
    expected = run.train_uninterrupted()
    sliced = replace(run, make_slicer=pause_every(1))
    assert repr(sliced.train_uninterrupted()) == repr(expected)
    assert expected[0].outcome == "nan"


@pytest.mark.parametrize("engine", EXACT_ENGINES)
def test_an_interruption_within_an_epoch_keeps_what_was_done(engine: str, tmp_path: Path) -> None:
    run = ResumableTraining(
        mlp_objective(),
        make_candidates(3),
        SHORT_SETTINGS,
        ENGINES[engine],
        make_slicer=pause_every(1),
    )
    store = FileSnapshotStore(tmp_path, stop_after=2)
    with pytest.raises(TrainingInterrupted):
        run.train_with_store(store)
    assert [round(epochs * 3) for _, epochs in store.saved] == [1, 2]
    again = FileSnapshotStore(tmp_path)
    assert run.train_with_store(again) == run.train_uninterrupted()
    assert (0, 1 / 3) not in again.saved


def test_the_fixed_slicer_of_tests_cuts_where_it_should() -> None:
    slicer = pause_every(2)(4, enabled=True)
    assert slicer.next_milestone(0.0, Milestone(epochs=1.0)).epochs == 0.5
