"""Groups: who shares a stack, and to which widths it is padded."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn
from widthwise.objectives.engines.stacked.engine import StackedEngine
from widthwise.tests.objectives.engines.equality import assert_equal_sessions, family_objective
from widthwise.tests.objectives.engines.stacked.stacks import (
    FLAT,
    SHORT_SETTINGS,
    members,
    single_stack_engine,
    training,
    with_builder,
)


def test_groups_name_the_widths_that_a_stack_is_padded_to() -> None:
    batch = members((4, 9), (67, 70), (8, 3), (70, 68))
    stacks = StackedEngine(overhead_macs=1e4).plan_stacks(
        training(family_objective("mlp", FLAT)), batch
    )
    assert {group.indices: group.widths for group in stacks} == {
        (0, 2): {"a": 8, "b": 9},
        (1, 3): {"a": 70, "b": 70},
    }


def test_widths_that_cannot_be_built_together_are_split() -> None:
    def even(model: nn.Module, widths: Mapping[str, int]) -> nn.Module:
        if widths["a"] * widths["b"] > 40:
            raise ValueError("too large")
        return model

    objective = with_builder(family_objective("mlp", FLAT), even)
    batch = members((4, 9), (9, 4), (5, 8))
    stacks = single_stack_engine().plan_stacks(training(objective), batch)
    assert len(stacks) > 1
    assert sorted(index for group in stacks for index in group.indices) == [0, 1, 2]
    assert_equal_sessions(single_stack_engine(), objective, batch, SHORT_SETTINGS)


def test_networks_of_another_structure_have_a_stack_of_their_own() -> None:
    def deeper(model: nn.Module, widths: Mapping[str, int]) -> nn.Module:
        return nn.Sequential(model, nn.Linear(3, 3).double()) if widths["a"] > 6 else model

    objective = with_builder(family_objective("mlp", FLAT), deeper)
    batch = members((4, 9), (8, 3), (5, 5), (9, 9))
    stacks = single_stack_engine().plan_stacks(training(objective), batch)
    assert sorted(group.indices for group in stacks) == [(0, 2), (1, 3)]
    assert_equal_sessions(single_stack_engine(), objective, batch, SHORT_SETTINGS)
