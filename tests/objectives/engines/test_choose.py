"""The calibration: fast engines are taken; slow ones, and those that err or cannot, are not."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from widthwise.objectives.engines.base import EngineUnsupported, Member, TrainingSetup
from widthwise.objectives.engines.choose import (
    CalibrationLimits,
    choose_engine,
    worth_trying,
)
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.engines.registry import ENGINES, EngineDescriptor
from widthwise.objectives.errors import ModelError
from widthwise.objectives.training.settings import ProxySettings

from .equality import CPU, family_objective, make_clusters

MEMBERS = [
    Member(widths={"a": width, "b": width}, seed=width, learning_rate=1e-3) for width in (4, 32)
]
MANY = 1_000_000


@pytest.fixture
def training() -> TrainingSetup:
    data = make_clusters(dtype=torch.float32)
    settings = ProxySettings(epochs=1000, batch_size=16, device="cpu")
    return TrainingSetup(
        objective=family_objective("mlp", data), data=data, settings=settings, device=CPU
    )


LIMITS = CalibrationLimits(slow_step=1e9)
"""No step is taken for slow: how busy the machine is must not matter."""


class DelayedReplayEngine:
    """An engine that does the first steps as the plain one does, and changes the rest."""

    name = "replay"

    def __init__(self, *, error: float = 0.0, pause: float | None = None) -> None:
        self._error, self._pause = error, pause

    def start(self, training: TrainingSetup, members: Sequence[Member]) -> Any:
        session = PlainEngine().start(training, members)
        plain, call_count = session.advance, [0]

        def advance(batches: Mapping[int, Sequence[Tensor]]) -> dict[int, float]:
            call_count[0] += 1
            if call_count[0] > 1 and self._pause is None:
                return dict.fromkeys(batches, 0.5)
            time.sleep(self._pause or 0.0)
            losses = plain(batches)
            return {n: loss + self._error for n, loss in losses.items()}

        session.advance = advance  # type: ignore[method-assign]
        return session


class UnsupportedEngine:
    name = "replay"

    def start(self, *_: Any) -> Any:
        raise EngineUnsupported("it is a Tuesday")


def registry_of(name: str, engine: Any) -> dict[str, EngineDescriptor]:
    """The plain engine, and another one in place of all others."""
    return {"plain": ENGINES["plain"], name: replace(ENGINES[name], create=lambda: engine)}


def choose_engine_name(training: TrainingSetup, engine: Any) -> str:
    choice = choose_engine(
        training,
        MEMBERS,
        training_count=MANY,
        engines=registry_of("replay", engine),
        limits=LIMITS,
    )
    return choice.engine.name


def test_an_engine_that_saves_time_is_taken(training: TrainingSetup) -> None:
    assert choose_engine_name(training, DelayedReplayEngine()) == "replay"


@pytest.mark.parametrize(
    "engine",
    [DelayedReplayEngine(error=0.1), DelayedReplayEngine(pause=0.2), UnsupportedEngine()],
    ids=["other losses", "slow", "unable"],
)
def test_an_engine_that_errs_dawdles_or_cannot_is_not(training: TrainingSetup, engine: Any) -> None:
    assert choose_engine_name(training, engine) == "plain"


def test_a_short_study_is_not_calibrated(training: TrainingSetup) -> None:
    def never() -> Any:
        raise AssertionError("an engine was made")

    engines = {**ENGINES, "replay": replace(ENGINES["replay"], create=never)}
    limits = replace(LIMITS, min_study=1e12)
    choice = choose_engine(training, MEMBERS, training_count=1, engines=engines, limits=limits)
    assert (choice.engine.name, choice.reason) == ("plain", "")


@pytest.mark.parametrize(
    ("device", "stack_size", "plain_seconds", "names"),
    [
        pytest.param("cpu", 1, 1e6, {"replay", "dense"}, id="no stack"),
        pytest.param("cpu", 8, 1e6, {"replay", "dense", "stacked"}, id="stack"),
        pytest.param("cpu", 8, 20.0, {"replay", "stacked"}, id="too short to compile"),
        pytest.param("cpu", 8, 60.0, {"replay", "dense", "stacked"}, id="long enough to compile"),
        pytest.param("cuda", 8, 1e6, {"stacked"}, id="GPU"),
        pytest.param("cuda", 1, 1e6, set(), id="GPU, no stack"),
    ],
)
def test_stacks_are_for_several_at_once_and_compiling_is_for_long_studies(
    device: str, stack_size: int, plain_seconds: float, names: set[str]
) -> None:
    tried = worth_trying(ENGINES.values(), torch.device(device), stack_size, plain_seconds)
    assert {engine.name for engine in tried} == names


def test_a_stack_is_tried_on_members_that_differ(training: TrainingSetup) -> None:
    varied_members = [
        Member(widths={"a": width, "b": width}, seed=width, learning_rate=1e-3)
        for width in range(4, 12)
    ]
    call_sizes: list[int] = []

    class Watching(DelayedReplayEngine):
        name = "stacked"

        def start(self, training: TrainingSetup, members: Sequence[Member]) -> Any:
            call_sizes.append(len({member.widths["a"] for member in members}))
            return super().start(training, members)

    choice = choose_engine(
        training,
        MEMBERS,
        training_count=MANY,
        stack_samples=varied_members,
        engines=registry_of("stacked", Watching()),
        limits=LIMITS,
    )
    assert choice.engine.name == "stacked"
    assert call_sizes == [8, 8]


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_that_was_asked_for_is_used(name: str, training: TrainingSetup) -> None:
    choice = choose_engine(training, MEMBERS, training_count=1, requested=name)
    assert choice.engine.name == name


def test_an_engine_that_was_asked_for_and_cannot_says_why(training: TrainingSetup) -> None:
    settings = ProxySettings(precision="bfloat16", device="cpu")
    half = TrainingSetup(
        objective=training.objective, data=training.data, settings=settings, device=CPU
    )
    with pytest.raises(ModelError, match=r"engine 'dense' cannot train this model: .* engine = "):
        choose_engine(half, MEMBERS, training_count=1, requested="dense")
