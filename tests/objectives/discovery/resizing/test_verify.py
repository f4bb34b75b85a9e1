"""What sizes a model is tried at, and which groups are found to fail."""

import itertools
from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.discovery.groups import (
    DepthGroup,
    Discovery,
    Expression,
    Member,
    Term,
    WidthGroup,
)
from widthwise.objectives.discovery.resizing.verify import find_failures, trial_sizes
from widthwise.objectives.training.step import StepSpec, TensorSpec

STEP = StepSpec(inputs=(TensorSpec(shape=(3,)),), batch_size=2)


def width(name: str, size: int, multiple_of: int = 1) -> WidthGroup:
    return WidthGroup(name, size, multiple_of, (Member(name, "weight", 0),))


@pytest.mark.parametrize(
    ("choice", "sizes"),
    [
        (width("a", 64), (32, 128, 97)),
        (width("a", 64, 8), (32, 128, 104)),
        (width("a", 8, 8), (16, 24)),
        (width("a", 3), (1, 6, 5)),
        (DepthGroup("a", 2, ("x.0", "x.1")), (1, 4, 3)),
        (DepthGroup("a", 100, ("x.0", "x.1")), (50, 1, 101)),
    ],
    ids=["any", "divisor", "smallest", "odd", "blocks", "many blocks"],
)
def test_sizes_that_are_tried(choice: WidthGroup | DepthGroup, sizes: tuple[int, ...]) -> None:
    assert trial_sizes(choice) == sizes


class OnlyAt(nn.Linear):
    """A layer that works at one size only, or (None) at any."""

    def __init__(self, before: int, after: int, only: int | None) -> None:
        super().__init__(before, after, bias=False)
        self.only = only

    def forward(self, x: Tensor) -> Tensor:
        if self.only is not None and self.out_features != self.only:
            raise RuntimeError(f"made for {self.only}")
        return super().forward(x)


class Chain:
    """Linear layers in a row, one width each, of today's size 8; the last is the output's."""

    def __init__(self, names: Sequence[str], only: Mapping[str, int]) -> None:
        self.names, self.only = names, only
        self.tried: list[dict[str, int]] = []
        ends = [Expression.constant(3), *(Expression((Term(1, (name,)),)) for name in names)]
        self.discovery = Discovery(
            tuple(width(name, 8) for name in names),
            (),
            parameters={
                f"{position}.weight": (after, before)
                for position, (before, after) in enumerate(itertools.pairwise(ends))
            },
        )

    def build(self, chosen: Mapping[str, int]) -> nn.Module:
        self.tried.append(dict(chosen))
        ends = [3, *(chosen.get(name, 8) for name in self.names)]
        return nn.Sequential(
            *(
                OnlyAt(before, after, self.only.get(name))
                for name, (before, after) in zip(self.names, itertools.pairwise(ends), strict=True)
            ),
            *([nn.AdaptiveAvgPool1d(1)] if self.only.get("pool") else []),
        )


@pytest.mark.parametrize("number", [1, 2, 7, 40])
def test_each_is_tried_at_all_sizes_and_no_two_move_alike(number: int) -> None:
    names = [f"w{position}" for position in range(number)]
    chain = Chain(names, {"pool": 1})
    assert find_failures(chain.build, chain.discovery, STEP) == {}
    today, *runs = chain.tried
    assert today == {}
    assert len(runs) <= 5
    assert all({run[name] for run in runs} == {4, 16, 13} for name in names)
    assert len({tuple(run[name] for run in runs) for name in names}) == number


def test_the_output_must_keep_its_shape() -> None:
    chain = Chain("abc", {})
    assert find_failures(chain.build, chain.discovery, STEP) == {
        "c": "resizing c to 4 fails: the output has the shapes [2, 4] instead of [2, 8]"
    }


def test_the_group_that_fails_is_named_with_what_failed() -> None:
    chain = Chain("abc", {"b": 8, "pool": 1})
    failures = find_failures(chain.build, chain.discovery, STEP)
    assert list(failures) == ["b"]
    assert failures["b"].startswith("resizing b to 4 fails: RuntimeError: made for 8 (at test_ver")


def test_two_widths_that_must_be_equal_and_are_not_tied() -> None:
    class Sum(nn.Module):
        def __init__(self, a: int, b: int) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, a, bias=False), nn.Linear(3, b, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = (self.a(x) + self.b(x)).mean(1)
            return result

    three = Expression.constant(3)
    discovery = Discovery(
        (width("a", 8), width("b", 8)),
        (),
        parameters={
            "a.weight": (Expression((Term(1, ("a",)),)), three),
            "b.weight": (Expression((Term(1, ("b",)),)), three),
        },
    )
    failures = find_failures(
        lambda sizes: Sum(sizes.get("a", 8), sizes.get("b", 8)), discovery, STEP
    )
    assert list(failures) == ["a", "b"]


def test_other_shapes_than_expected_fail_before_they_run() -> None:
    discovery = Discovery(
        (width("0", 4),),
        (),
        parameters={"0.weight": (Expression((Term(1, ("0",)),)), Expression.constant(3))},
    )
    with torch.random.fork_rng():
        failures = find_failures(
            lambda _: nn.Sequential(nn.Linear(3, 4, bias=False)), discovery, STEP
        )
    assert failures == {
        "0": "resizing 0 to 2 fails: 0.weight has the shape (4, 3) where (2, 3) was expected"
    }
