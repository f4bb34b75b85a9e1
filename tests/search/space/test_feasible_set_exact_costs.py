"""The gate: exactly the candidates that keep the limits pass, judged before anything is trained."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from widthwise.objectives.cost.costs import FIELDS, StepSpec, TensorSpec, count_costs
from widthwise.objectives.cost.model import CostModel
from widthwise.objectives.model.families.activations import ACTIVATIONS
from widthwise.objectives.model.families.feedforward import MLP_NORMS
from widthwise.objectives.model.family_registry import FAMILIES
from widthwise.search.errors import NothingFeasible
from widthwise.search.space.feasible_set import FeasibleSet
from widthwise.search.space.limits import Limits
from widthwise.search.space.space import AbsentLast, Order, Space, Width
from widthwise.tests.objectives.trace.real_step import OPTIMIZERS, real_peaks
from widthwise.tests.objectives.zoo.attention import VisionTransformer

LIMITED = tuple(name for name in FIELDS if hasattr(Limits(), name))
"""Costs that a limit may bound."""


def step(*shape: int) -> StepSpec:
    return StepSpec(
        inputs=(TensorSpec(shape=shape),),
        targets=TensorSpec(shape=(), dtype=torch.int64),
        batch_size=8,
        loss=nn.functional.cross_entropy,
    )


SHAPES = {"mlp": (12,), "cnn": (1, 8, 8)}
OPTIONS = {
    "mlp": st.fixed_dictionaries(
        {
            "activation": st.sampled_from(list(ACTIVATIONS)),
            "dropout": st.sampled_from([0.0, 0.2]),
            "norm": st.sampled_from(["none", *MLP_NORMS]),
        }
    ),
    "cnn": st.fixed_dictionaries(
        {
            "activation": st.sampled_from(list(ACTIVATIONS)),
            "dropout": st.sampled_from([0.0, 0.2]),
        }
    ),
}


def build(widths: Mapping[str, int], family: str, options: Mapping[str, object]) -> nn.Module:
    return FAMILIES[family].build(widths, input_shape=SHAPES[family], outputs=5, **options)


def costs(family: str, options: Mapping[str, object], widths: list[int]) -> dict[str, int]:
    named = {f"w{index}": width for index, width in enumerate(widths)}
    return count_costs(partial(build, named, family, options), step(*SHAPES[family])).as_dict()


@pytest.mark.parametrize("family", SHAPES)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_no_cost_falls_when_a_width_grows(family: str, data: st.DataObject) -> None:
    options = data.draw(OPTIONS[family])
    widths = data.draw(st.lists(st.integers(1, 70), min_size=1, max_size=3))
    grown = list(widths)
    grown[data.draw(st.integers(0, len(widths) - 1))] += data.draw(st.integers(1, 40))
    before, after = costs(family, options, widths), costs(family, options, grown)
    assert all(after[name] >= before[name] for name in FIELDS)
    strictly = ("parameters", "trainable_parameters", "macs", "flops", "step_flops", "file_size")
    assert all(after[name] > before[name] for name in strictly)


@pytest.mark.parametrize("family", SHAPES)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_equal_widths_give_equal_costs(family: str, data: st.DataObject) -> None:
    """Whatever the random streams were, and whatever was counted in between."""
    options = data.draw(OPTIONS[family])
    widths, others = (
        data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=3)) for _ in range(2)
    )
    torch.manual_seed(data.draw(st.integers(0, 99)))
    first = costs(family, options, widths)
    costs(family, options, others)
    assert costs(family, options, widths) == first


SPACE = Space(
    [Width.range("a", 4, 24, step=4), Width.range("b", 2, 10, step=2), Width.of("c", [3, 9])],
    [Order(("a", "b"), "non-increasing")],
)


def mlp(widths: Mapping[str, int]) -> nn.Module:
    return build(widths, "mlp", {"norm": "layer"})


@pytest.fixture(scope="module")
def model() -> CostModel:
    fitted = CostModel(mlp, step(12), SPACE.names)
    fitted.fit(SPACE)
    assert fitted.counted_by == "polynomial"
    return fitted


@pytest.fixture(scope="module")
def traced() -> list[tuple[tuple[int, ...], dict[str, int]]]:
    """Every candidate and its costs, each counted by itself."""
    collected = []
    for row in SPACE.enumerate():
        widths = SPACE.as_mapping(row)
        collected.append(
            (tuple(row.tolist()), count_costs(partial(mlp, widths), step(12)).as_dict())
        )
    return collected


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_gate_admits_exactly_what_brute_force_admits(
    data: st.DataObject,
    model: CostModel,
    traced: list[tuple[tuple[int, ...], dict[str, int]]],
) -> None:
    """Limits are some candidate's own cost, or one less: where an error by one would show."""
    chosen = data.draw(st.lists(st.sampled_from(LIMITED), min_size=1, max_size=3, unique=True))
    bounds = {
        name: data.draw(st.sampled_from(traced))[1][name] - data.draw(st.integers(0, 1))
        for name in chosen
    }
    limits = Limits(**bounds)
    expected = {
        row
        for row, candidate_costs in traced
        if all(candidate_costs[name] <= bounds[name] for name in bounds)
    }
    assert expected == {row for row, candidate_costs in traced if limits.admits(candidate_costs)}
    if not expected:
        with pytest.raises(NothingFeasible):
            FeasibleSet(SPACE, limits, model.evaluate)
        return
    everything = SPACE.enumerate()
    listed = FeasibleSet(SPACE, limits, model.evaluate)
    rng = np.random.default_rng(0)
    assert set(map(tuple, listed.candidate_pool(rng, everything[:0]).tolist())) == expected
    assert listed.feasible_fraction == len(expected) / len(traced)
    sampled_set = FeasibleSet(SPACE, limits, model.evaluate, cost_batch_size=16)
    assert not sampled_set.enumerated
    assert set(map(tuple, everything[sampled_set.is_feasible(everything)].tolist())) == expected
    assert set(map(tuple, sampled_set.candidate_pool(rng, everything[:1]).tolist())) <= expected


def transformer(widths: Mapping[str, int]) -> nn.Module:
    return VisionTransformer(
        side=8, patch=4, heads=2, head_size=widths["a"], hidden=widths["b"], layers=1, classes=5
    )


MODELS = {
    "mlp": (mlp, step(12)),
    "cnn": (partial(build, family="cnn", options={}), step(1, 8, 8)),
    "transformer": (transformer, step(3, 8, 8)),
}


@pytest.mark.parametrize("raised", ["a", "b"])
@pytest.mark.parametrize("name", MODELS)
def test_one_step_over_the_memory_limit_is_refused_and_one_under_trains_within_it(
    name: str, raised: str
) -> None:
    make, spec = MODELS[name]
    space = Space([Width.range("a", 8, 32, step=8), Width.range("b", 8, 32, step=8)])
    model = CostModel(make, spec, space.names)
    model.fit(space)
    under = {"a": 24, "b": 24}
    over = {**under, raised: 32}
    limit = model.candidate_costs(under).train_memory
    allowed = FeasibleSet(space, Limits(train_memory=limit), model.evaluate)
    rows = np.stack([space.as_row(under), space.as_row(over)])
    assert allowed.is_feasible(rows).tolist() == [True, False]
    trained, too_much = (
        real_peaks(partial(make, widths), spec, OPTIMIZERS["adamw"][1])[0]
        for widths in (under, over)
    )
    assert trained <= limit < too_much
    with pytest.raises(NothingFeasible):
        FeasibleSet.from_candidates(space, Limits(train_memory=limit - 1), model.evaluate, rows)


def test_costs_are_exact_where_layers_are_absent() -> None:
    family = "mlp"
    space = Space(
        [
            Width.of("a", [4, 8, 20]),
            Width.of("b", [4, 12], optional=True),
            Width.of("c", [4, 12], optional=True),
        ],
        [AbsentLast(("b", "c"))],
    )
    fitted = CostModel(
        partial(build, family=family, options={}), step(*SHAPES[family]), space.names
    )
    fitted.fit(space)
    rows = space.enumerate()
    counted = fitted.evaluate(rows)
    for index, row in enumerate(rows):
        one = partial(build, space.as_mapping(row), family, {})
        expected = count_costs(one, step(*SHAPES[family])).as_dict()
        assert {name: int(values[index]) for name, values in counted.items()} == {
            name: expected[name] for name in counted
        }


NAMED_WIDTHS = {
    "resnet": ((1, 8, 8), {"channels": range(4, 25)}),
    "transformer": ((6, 3), {"d_model": [8], "d_ff": range(4, 81), "depth": [1]}),
}
"""By family: the shape of a sample, and the values of each width."""


@pytest.mark.parametrize("family", NAMED_WIDTHS)
def test_costs_of_families_with_named_widths_are_exact(family: str) -> None:
    """Those of an LSTM are traced each, and need no such test."""
    shape, values = NAMED_WIDTHS[family]
    space = Space([Width.of(name, choices) for name, choices in values.items()])
    make = partial(FAMILIES[family].build, input_shape=shape, outputs=5)
    fitted = CostModel(make, step(*shape), space.names)
    fitted.fit(space)
    assert fitted.counted_by == "polynomial"
    rows = space.enumerate()[[1, 10, -2]]
    counted = fitted.evaluate(rows)
    for index, row in enumerate(rows):
        one = partial(make, space.as_mapping(row))
        expected = count_costs(one, step(*shape)).as_dict()
        assert {name: int(amounts[index]) for name, amounts in counted.items()} == {
            name: expected[name] for name in counted
        }
        assert expected["parameters"] == sum(each.numel() for each in one().parameters())
