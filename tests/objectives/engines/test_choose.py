"""The calibration: fast engines are taken, slow, lying or unable ones are not."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from widthwise.objectives.engines import choose as chooser
from widthwise.objectives.engines.base import Member, Training, Unsuitable
from widthwise.objectives.engines.choose import choose
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.errors import ModelError
from widthwise.objectives.training.settings import ProxySettings

from .equality import CPU, family, generated

MEMBERS = [
    Member(widths={"a": width, "b": width}, seed=width, learning_rate=1e-3) for width in (4, 32)
]
MANY = 1_000_000


@pytest.fixture
def training() -> Training:
    data = generated(dtype=torch.float32)
    settings = ProxySettings(epochs=1000, batch_size=16, device="cpu")
    return Training(objective=family("mlp", data), data=data, settings=settings, device=CPU)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No step is taken for slow: how busy the machine is must not matter."""
    monkeypatch.setattr(chooser, "_SLOW_STEP", 1e9)


class Pretender:
    """An engine that does the first steps as the plain one does, and changes the rest."""

    name = "replay"

    def __init__(self, *, error: float = 0.0, pause: float | None = None) -> None:
        self._error, self._pause = error, pause

    def start(self, training: Training, members: Sequence[Member]) -> Any:
        team = PlainEngine().start(training, members)
        plain, seen = team.advance, [0]

        def advance(batches: Mapping[int, Sequence[Tensor]]) -> dict[int, float | Exception]:
            seen[0] += 1
            if seen[0] > 1 and self._pause is None:
                return dict.fromkeys(batches, 0.5)
            time.sleep(self._pause or 0.0)
            found = plain(batches)
            return {n: loss + self._error for n, loss in found.items()}  # type: ignore[operator]

        team.advance = advance  # type: ignore[method-assign]
        return team


class Unable:
    name = "replay"

    def start(self, *_: Any) -> Any:
        raise Unsuitable("it is a Tuesday")


def chosen(monkeypatch: pytest.MonkeyPatch, training: Training, engine: Any) -> str:
    monkeypatch.setattr(chooser, "ENGINES", {"plain": PlainEngine, "replay": lambda: engine})
    monkeypatch.setattr(chooser, "_candidates", lambda *_: ["replay"])
    return choose(training, MEMBERS, trainings=MANY).engine.name


def test_an_engine_that_saves_time_is_taken(
    monkeypatch: pytest.MonkeyPatch, training: Training
) -> None:
    assert chosen(monkeypatch, training, Pretender()) == "replay"


@pytest.mark.parametrize(
    "engine",
    [Pretender(error=0.1), Pretender(pause=0.2), Unable()],
    ids=["other losses", "slow", "unable"],
)
def test_an_engine_that_lies_dawdles_or_cannot_is_not(
    monkeypatch: pytest.MonkeyPatch, training: Training, engine: Any
) -> None:
    assert chosen(monkeypatch, training, engine) == "plain"


def test_a_short_study_is_not_worth_a_calibration(
    monkeypatch: pytest.MonkeyPatch, training: Training
) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("an engine was tried")

    monkeypatch.setattr(chooser, "_twice", never)
    monkeypatch.setattr(chooser, "WORTH_SECONDS", 1e12)
    choice = choose(training, MEMBERS, trainings=1)
    assert (choice.engine.name, choice.sentence) == ("plain", "")


def test_stacks_are_for_several_at_once_and_compiling_is_for_long_studies(
    training: Training,
) -> None:
    assert "stacked" not in chooser._candidates(training, 1, 1e6)
    assert "stacked" in chooser._candidates(training, 8, 1e6)
    assert "dense" not in chooser._candidates(training, 8, 20.0)
    assert "dense" in chooser._candidates(training, 8, 60.0)


def test_a_stack_is_tried_on_members_that_differ(
    monkeypatch: pytest.MonkeyPatch, training: Training
) -> None:
    crowd = [
        Member(widths={"a": width, "b": width}, seed=width, learning_rate=1e-3)
        for width in range(4, 12)
    ]
    seen: list[int] = []

    class Watching(Pretender):
        name = "stacked"

        def start(self, training: Training, members: Sequence[Member]) -> Any:
            seen.append(len({member.widths["a"] for member in members}))
            return super().start(training, members)

    monkeypatch.setattr(chooser, "ENGINES", {"plain": PlainEngine, "stacked": Watching})
    monkeypatch.setattr(chooser, "_candidates", lambda *_: ["stacked"])
    choice = choose(training, MEMBERS, trainings=MANY, crowd=crowd)
    assert choice.engine.name == "stacked"
    assert seen == [8, 8]


@pytest.mark.parametrize("name", ["plain", "replay", "stacked", "dense"])
def test_an_engine_that_was_asked_for_is_used(name: str, training: Training) -> None:
    choice = choose(training, MEMBERS, trainings=1, wanted=name)
    assert choice.engine.name == name


def test_an_engine_that_was_asked_for_and_cannot_says_why(training: Training) -> None:
    settings = ProxySettings(precision="bfloat16", device="cpu")
    half = Training(objective=training.objective, data=training.data, settings=settings, device=CPU)
    with pytest.raises(ModelError, match=r"engine 'dense' cannot train this model: .* engine = "):
        choose(half, MEMBERS, trainings=1, wanted="dense")
