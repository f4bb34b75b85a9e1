"""The plain baselines keep the limits and are what their names say."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from widthwise.search.sampler.baselines import (
    LARGEST_FEASIBLE,
    RULE_OF_THUMB,
    UNIFORM_SCALING,
    baselines,
)
from widthwise.search.space.feasible_set import FeasibleSet
from widthwise.search.space.limits import Limits
from widthwise.search.space.space import Space, Width


def cost(candidates: np.ndarray) -> Mapping[str, np.ndarray]:
    count = candidates.prod(axis=1)
    return {"parameters": count, "flops": 2 * count}


SPACE = Space((Width.range("a", 8, 64, step=8), Width.range("b", 8, 64, step=8)))


@pytest.mark.parametrize("at_once", [2**20, 16], ids=["enumerated", "drawn"])
def test_baselines_are_what_they_say(at_once: int) -> None:
    feasible = FeasibleSet(SPACE, Limits(parameters=1100), cost, cost_batch_size=at_once)
    actual = {
        baseline.name: dict(baseline.widths) for baseline in baselines(feasible, [25.0, 12.0])
    }
    largest = actual.pop(next(name for name in actual if LARGEST_FEASIBLE in name))
    assert largest["a"] * largest["b"] == 64 * 16
    assert actual == {UNIFORM_SCALING: {"a": 32, "b": 32}, RULE_OF_THUMB: {"a": 24, "b": 16}} or (
        # 32 × 32 and 64 × 16 are equally large.
        actual == {RULE_OF_THUMB: {"a": 24, "b": 16}}
    )


def test_agreeing_baselines_are_one() -> None:
    feasible = FeasibleSet(SPACE, Limits(), cost)
    (only,) = baselines(feasible, [64.0, 64.0])
    assert only.name == f"{LARGEST_FEASIBLE} = {UNIFORM_SCALING} = {RULE_OF_THUMB}"
