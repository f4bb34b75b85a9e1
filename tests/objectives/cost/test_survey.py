"""Builders that branch: what is forecast of a whole lattice equals what each candidate has.

The truth comes by another road: the parameters of every candidate are those of a model that is
built, and all costs of some are counted by themselves.
"""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from widthwise.objectives.cost import survey
from widthwise.objectives.cost.costs import FIELDS, StepSpec, TensorSpec, count_costs
from widthwise.objectives.cost.model import CostModel
from widthwise.search.space.space import Space, Width

Widths = Mapping[str, int]
Builder = Callable[[Widths], nn.Module]

STEP = StepSpec(
    inputs=(TensorSpec(shape=(4,)),),
    targets=TensorSpec(shape=(), dtype=torch.int64),
    batch_size=2,
    optimizer="sgd",
    loss=nn.functional.cross_entropy,
)


def chain(*sizes: int) -> nn.Sequential:
    sizes = (4, *sizes, 3)
    return nn.Sequential(*map(nn.Linear, sizes, sizes[1:]))


class Residual(nn.Module):
    def __init__(self, a: int, b: int, *, project: bool) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(4, a), nn.Linear(a, b), nn.Linear(b, 3)
        self.shortcut = nn.Linear(a, b, bias=False) if project else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y, shortcut = self.second(x), self.shortcut(x)
        return self.out(torch.relu(y + shortcut) if y.shape == shortcut.shape else y)


class Wider(nn.Module):
    """Decides in its forward pass, by widths that it keeps."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.a, self.b, self.layers = a, b, chain(a, b)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.tanh().exp() if self.a > self.b else x)


class Tower(nn.Module):
    """Residual blocks in a row, as a temporal convolutional network has them."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(map(nn.Linear, sizes, sizes[1:]))
        self.shortcuts = nn.ModuleList(
            nn.Linear(first, second) if first != second else nn.Identity()
            for first, second in pairwise(sizes)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block, shortcut in zip(self.blocks, self.shortcuts, strict=True):
            x = torch.relu(block(x) + shortcut(x))
        return x


def plain(number: int) -> int:
    """Take a width out of the arithmetic that is recorded."""
    return int(str(number))


def width(name: str, low: int, high: int, step: int) -> Width:
    return Width.range(name, low, high, step=step)


PAIR = (width("a", 8, 136, 8), width("b", 16, 144, 8))
TRIPLE = tuple(width(name, 8, 48, 8) for name in "abc")
FINE = (width("a", 5, 30, 1), width("b", 6, 25, 1))

KINDS: dict[str, tuple[Builder, tuple[Width, ...]]] = {
    "a projection unless equal": (
        lambda w: Residual(w["a"], w["b"], project=w["a"] != w["b"]),
        PAIR,
    ),
    "several projections": (lambda w: Tower(4, w["a"], w["b"], w["c"], 3), TRIPLE),
    "equal shapes in the forward pass": (
        lambda w: Residual(w["a"], w["b"], project=False),
        PAIR,
    ),
    "wider in the forward pass": (lambda w: Wider(w["a"], w["b"]), PAIR),
    "low rank where it pays": (
        lambda w: chain(
            w["a"],
            *([w["c"]] if w["c"] * (w["a"] + w["b"]) < w["a"] * w["b"] else []),
            w["b"],
        ),
        TRIPLE,
    ),
    "a table of special widths": (lambda w: chain(w["a"], {40: 200}.get(w["a"], 24), w["b"]), PAIR),
    "a multiple": (
        lambda w: nn.Sequential(
            nn.Linear(4, w["a"]),
            nn.LayerNorm(w["a"]) if w["a"] % 64 == 0 else nn.ReLU(),
            nn.Linear(w["a"], w["b"]),
            nn.Linear(w["b"], 3),
        ),
        PAIR,
    ),
    "odd and even": (lambda w: chain(w["a"] if w["a"] % 2 else 2 * w["a"], w["b"]), FINE),
    "a sum": (
        lambda w: chain(w["a"], w["b"], *([w["b"]] if w["a"] + w["b"] == w["c"] else []), w["c"]),
        TRIPLE,
    ),
    "rounded to a multiple": (
        lambda w: chain(w["a"], (w["a"] * 3 // 4 + 4) // 8 * 8, w["b"]),
        PAIR,
    ),
    "unseen: a projection unless equal": (
        lambda w: Residual(w["a"], w["b"], project=plain(w["a"]) != plain(w["b"])),
        PAIR,
    ),
    "unseen: a multiple": (
        lambda w: chain(w["a"], *([6] if plain(w["a"]) % 32 == 0 else []), w["b"]),
        PAIR,
    ),
    "unseen: one special width": (
        lambda w: chain(w["a"], *([6] if plain(w["b"]) == 80 else []), w["b"]),
        PAIR,
    ),
}


def assert_forecasts_are_true(build: Builder, space: Space, model: CostModel) -> None:
    """Compare the forecast of every candidate with models that are built, and some with traces."""
    candidates = space.enumerate()
    forecast = model.evaluate(candidates)
    for index, row in enumerate(candidates):
        with torch.device("meta"):
            built = build(space.as_mapping(row))
        parameters = sum(parameter.numel() for parameter in built.parameters())
        assert forecast["parameters"][index] == parameters, space.as_mapping(row)
    rng = np.random.default_rng(3)
    equal = np.flatnonzero(candidates[:, 0] == candidates[:, 1])[:1]
    for index in (*rng.integers(len(candidates), size=2), *equal):
        widths = space.as_mapping(candidates[index])
        traced = count_costs(lambda widths=widths: build(widths), STEP).as_dict()
        assert {name: int(forecast[name][index]) for name in FIELDS} == traced, widths


@pytest.mark.parametrize("kind", KINDS)
def test_each_way_of_a_builder_is_forecast(kind: str) -> None:
    build, widths = KINDS[kind]
    space = Space(widths)
    model = CostModel(build, STEP, space.names)
    model.fit(space)
    assert model.counted_by == "polynomial"
    assert_forecasts_are_true(build, space, model)
    assert model.trace_count < space.size / 2


def test_the_thin_part_of_two_ranges_whose_corners_differ() -> None:
    """34,435 parameters were forecast for the 18,051 of (128, 128)."""
    space = Space([width("a", 8, 520, 8), width("b", 16, 528, 8)])
    model = CostModel(
        lambda w: Residual(w["a"], w["b"], project=w["a"] != w["b"]), STEP, space.names
    )
    model.fit(space)
    equal = np.array([[size, size] for size in range(16, 521, 8)])
    expected = [4 * s + s + s * s + s + 3 * s + 3 for s in equal[:, 0].tolist()]
    assert model.evaluate(equal)["parameters"].tolist() == expected


def test_a_space_too_large_to_list_has_its_thin_parts_too() -> None:
    names = "abcd"
    space = Space([width(name, 1, 4_000, 1) for name in names])

    def build(w: Widths) -> nn.Module:
        extra = [5] if w["b"] == w["c"] else []
        return chain(*w.values(), *extra, *([6] if w["d"] == 1_237 else []))

    model = CostModel(build, STEP, space.names)
    model.fit(space)
    rows = np.array([[3, 70, 70, 9], [3, 70, 71, 1_237], [9, 8, 8, 1_237], [4_000, 2, 1, 1]])
    forecast = model.evaluate(rows)
    for index, row in enumerate(rows):
        traced = count_costs(lambda row=row: build(space.as_mapping(row)), STEP).as_dict()
        assert {name: int(forecast[name][index]) for name in FIELDS} == traced


def test_what_has_no_usual_reason_is_traced() -> None:
    """Groups of a convolution by the greatest common divisor: no polynomial in any few parts."""

    def build(w: Widths) -> nn.Module:
        conv = nn.Conv1d(w["a"], w["b"], 1, groups=math.gcd(w["a"], w["b"]))
        shape = nn.Unflatten(1, (w["a"], 1))
        return nn.Sequential(nn.Linear(4, w["a"]), shape, conv, nn.Flatten(), nn.Linear(w["b"], 3))

    space = Space(FINE)
    model = CostModel(build, STEP, space.names)
    model.fit(space)
    assert model.counted_by == "tracing"
    row = np.array([[12, 18]])
    assert model.evaluate(row)["parameters"][0] == 5 * 12 + 18 * 2 + 18 + 19 * 3


def test_a_fit_of_very_many_parts_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A squeeze by integer division, at each width: dozens of parts, a dozen traces each."""
    monkeypatch.setattr(survey, "MAX_SURVEY_TRACES", 12)
    space = Space([width("a", 8, 300, 4), width("b", 3, 40, 1)])
    model = CostModel(
        lambda w: chain(w["a"], max(w["a"] // 16, 8), w["b"], max(1, int(w["b"] * 0.25))),
        STEP,
        space.names,
    )
    model.fit(space)
    assert model.counted_by == "tracing"
    assert model.trace_count <= 12
    true = 5 * 200 + 201 * 12 + 13 * 30 + 31 * 7 + 8 * 3
    assert model.evaluate(np.array([[200, 30]]))["parameters"][0] == true


CONDITIONS: dict[str, Callable[[Widths], bool]] = {
    "a == b": lambda w: w["a"] == w["b"],
    "a > b": lambda w: w["a"] > w["b"],
    "a % 3 == 0": lambda w: w["a"] % 3 == 0,
    "b % 2 == 1": lambda w: bool(w["b"] % 2),
    "a == 11": lambda w: w["a"] == 11,
    "b in (9, 13)": lambda w: w["b"] in (9, 13),
    "a > 14": lambda w: w["a"] > 14,
    "a + b < 24": lambda w: w["a"] + w["b"] < 24,
    "a * b >= 150": lambda w: w["a"] * w["b"] >= 150,
    "2 * a == b": lambda w: 2 * w["a"] == w["b"],
    "a // 4 == b // 4": lambda w: w["a"] // 4 == w["b"] // 4,
}


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    chosen=st.lists(st.sampled_from(sorted(CONDITIONS)), min_size=1, max_size=2, unique=True),
    nested=st.booleans(),
)
def test_any_branches_are_forecast_or_traced(chosen: list[str], nested: bool) -> None:
    def build(w: Widths) -> nn.Module:
        sizes = [w["a"]]
        for index, condition in enumerate(chosen):
            if CONDITIONS[condition](w):
                sizes.append(5 + index)
            elif nested:
                break
        return chain(*sizes, w["b"])

    space = Space([width("a", 4, 19, 1), width("b", 6, 21, 1)])
    model = CostModel(build, STEP, space.names)
    model.fit(space)
    if model.counted_by == "polynomial":
        assert_forecasts_are_true(build, space, model)


def test_a_trace_that_differs_from_the_forecast_counts_and_is_learnt() -> None:
    """One candidate of 4,225 is special, and nothing shows it: its own trace does."""

    def build(w: Widths) -> nn.Module:
        is_special = (plain(w["a"]), plain(w["b"])) == (72, 56)
        return chain(w["a"], *([30] if is_special else []), w["b"])

    space = Space([width("a", 8, 520, 8), width("b", 16, 528, 8)])
    model = CostModel(build, STEP, space.names)
    model.fit(space)
    special, other = np.array([[72, 56]]), np.array([[72, 64]])
    true = 5 * 72 + 73 * 30 + 31 * 56 + 57 * 3
    assert model.evaluate(special)["parameters"][0] != true
    assert model.revision == 0
    assert model.candidate_costs({"a": 72, "b": 56}).parameters == true
    assert model.revision == 1
    assert model.evaluate(special)["parameters"][0] == true
    assert model.evaluate(other)["parameters"][0] == 5 * 72 + 73 * 64 + 65 * 3
    (sentence,) = (note for note in model.notes if "a=72, b=56" in note)
    assert f"{true:,}" in sentence
    restored = CostModel(build, STEP, space.names)
    restored.restore(model.state(), space)
    assert restored.evaluate(special)["parameters"][0] == true
