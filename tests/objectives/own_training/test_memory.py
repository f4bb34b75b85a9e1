"""What a training has made is gone before the next one begins, however it ended."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from widthwise.objectives.errors import StopTraining
from widthwise.objectives.own_training.trial import Trial
from widthwise.objectives.training.settings import Halving

from .calls import Drained, call_train


class Model:
    """What a training makes, and holds on a device."""


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["raised", "raised from"])
@pytest.mark.parametrize("end", [ValueError, MemoryError, StopTraining, "pruned", "drained", "bad"])
def test_nothing_of_it_is_held_through_the_next_one(
    end: Any, is_wrapped: bool, tmp_path: Path
) -> None:
    made: list[weakref.ref[Model]] = []

    def fail(trial: Trial) -> None:
        deep = Model()
        made.append(weakref.ref(deep))
        trial.report(4, "high" if end == "bad" else 0.1)
        raise end

    def train(widths: Mapping[str, int], trial: Trial) -> float:
        model = Model()
        made.append(weakref.ref(model))
        try:
            fail(trial)
        except BaseException as error:
            if end == "bad":
                return 1.0
            if is_wrapped:
                raise type(error) from error
            raise
        return 1.0

    def drain(step: float, metrics: Mapping[int, float]) -> tuple[()]:
        raise Drained

    gc.disable()
    try:
        with suppress(Drained):
            kept = call_train(
                train,
                tmp_path,
                halving=Halving(eta=2, first=4),
                other_rung_scores={4.0: [0.5, 0.6]} if end == "pruned" else {},
                callback=drain if end == "drained" else None,
            )
            assert kept is not None
        assert [reference() for reference in made] == [None, None]
    finally:
        gc.enable()
