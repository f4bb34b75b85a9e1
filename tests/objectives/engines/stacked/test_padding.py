"""Padding: tensors in corners, norms that know their own positions, and which share a stack."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from widthwise.objectives.engines.stacked.padded_norms import (
    MaskedNorm,
    member_masks,
    replace_norms,
)
from widthwise.objectives.engines.stacked.padding import (
    FlatLayout,
    crop,
    fits,
    stack_padded,
    structure,
)
from widthwise.objectives.engines.stacked.plan import (
    PlannedNetwork,
    StackGroup,
    best_split,
    plan_groups,
)

sizes = st.lists(st.integers(0, 4), min_size=0, max_size=3)


@settings(deadline=None)
@given(shapes=st.lists(sizes, min_size=1, max_size=4), members=st.integers(1, 4), data=st.data())
def test_a_flat_tensor_holds_the_stacks_and_gives_them_back(
    shapes: list[list[int]], members: int, data: st.DataObject
) -> None:
    layout = FlatLayout(
        members=members, shapes={str(n): torch.Size(entry) for n, entry in enumerate(shapes)}
    )
    tensors = {name: torch.rand(members, *shape) for name, shape in layout.shapes.items()}
    flat = layout.flat(tensors)
    assert all(torch.equal(entry, tensors[name]) for name, entry in layout.views(flat).items())
    rows = data.draw(st.lists(st.integers(0, members - 1), min_size=1, unique=True))
    part = FlatLayout(members=len(rows), shapes=layout.shapes)
    for name, entry in part.views(layout.subset(flat, torch.tensor(rows))).items():
        assert torch.equal(entry, tensors[name][rows])


@settings(deadline=None)
@given(padded=sizes, data=st.data())
def test_a_stack_holds_each_tensor_in_its_crop_and_the_background_elsewhere(
    padded: list[int], data: st.DataObject
) -> None:
    own = [[data.draw(st.integers(0, size)) for size in padded] for _ in range(3)]
    tensors = [torch.rand(shape) for shape in own]
    stack = stack_padded(tensors, torch.full(padded, 7.0))
    for each_tensor, tensor in zip(stack, tensors, strict=True):
        assert fits(tensor.shape, each_tensor.shape)
        assert torch.equal(crop(each_tensor, tensor.shape), tensor)
        assert int((each_tensor != 7).sum()) == tensor.numel()


def test_only_models_that_differ_in_sizes_alone_have_the_same_structure() -> None:
    def model(width: int, activation: nn.Module) -> nn.Module:
        return nn.Sequential(nn.Linear(3, width), activation, nn.BatchNorm1d(width))

    assert structure(model(4, nn.ReLU())) == structure(model(9, nn.ReLU()))
    assert structure(model(4, nn.ReLU())) != structure(model(4, nn.Tanh()))
    assert structure(model(4, nn.ReLU())) != structure(model(4, nn.ReLU()).double())
    frozen = model(4, nn.ReLU())
    next(frozen.parameters()).requires_grad_(False)
    assert structure(model(4, nn.ReLU())) != structure(frozen)


def layer(*shape: int) -> nn.Module:
    return nn.LayerNorm(shape)


def layer_without_weights(*shape: int) -> nn.Module:
    return nn.LayerNorm(shape, eps=0.1, elementwise_affine=False)


def layer_without_bias(*shape: int) -> nn.Module:
    return nn.LayerNorm(shape, bias=False)


def rms(*shape: int) -> nn.Module:
    return nn.RMSNorm(shape)


def rms_with_eps(*shape: int) -> nn.Module:
    return nn.RMSNorm(shape, eps=0.1)


@pytest.mark.parametrize(
    "norm", [layer, layer_without_weights, layer_without_bias, rms, rms_with_eps]
)
@pytest.mark.parametrize("own", [(3,), (2, 3), (1, 5), (4, 5)], ids=str)
def test_a_masked_norm_is_the_norm_of_the_true_size(norm: object, own: tuple[int, ...]) -> None:
    assert callable(norm)
    torch.manual_seed(0)
    true = norm(*own).double()
    template = nn.Sequential(norm(*(4, 5)[-len(own) :]).double())
    for parameter in true.parameters():
        nn.init.normal_(parameter)
    replace_norms(template, [nn.Sequential(true)])
    swapped = template[0]
    if own == (4, 5):
        assert not isinstance(swapped, MaskedNorm)
        return
    assert isinstance(swapped, MaskedNorm)
    tensors = dict(true.named_parameters(prefix="0")) | member_masks(template, nn.Sequential(true))
    # The padding's input is noise: nothing of it may come through.
    x = torch.randn(6, *swapped.present.shape, dtype=torch.float64, requires_grad=True)
    padded = {
        name: stack_padded([tensors[name]], torch.zeros_like(each_parameter))[0].requires_grad_(
            each_parameter.is_floating_point()
        )
        for name, each_parameter in [*template.named_parameters(), *template.named_buffers()]
    }
    actual = torch.func.functional_call(template, padded, (x,))
    cut = (slice(None), *map(slice, own))
    small = x[cut].detach().requires_grad_()
    expected = true(small)
    torch.testing.assert_close(actual[cut], expected, rtol=1e-12, atol=1e-12)
    assert float(actual.detach().abs().sum()) == pytest.approx(float(expected.detach().abs().sum()))
    weights = torch.randn_like(expected)
    (expected * weights).sum().backward()
    (actual[cut] * weights).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad[cut], small.grad, rtol=1e-12, atol=1e-12)
    assert float(x.grad.abs().sum()) == pytest.approx(float(small.grad.abs().sum()))
    for name, parameter in true.named_parameters():
        gradient = padded[f"0.{name}"].grad
        assert gradient is not None
        torch.testing.assert_close(crop(gradient, parameter.shape), parameter.grad)


def make_outlines(widths: Sequence[tuple[int, int]]) -> list[PlannedNetwork]:
    return [
        PlannedNetwork(index=n, widths={"a": a, "b": b}, shapes=((a, 10), (b, a), (b,), ()))
        for n, (a, b) in enumerate(widths)
    ]


def cost(groups: Sequence[Sequence[PlannedNetwork]], work: float, overhead: float) -> float:
    def padded(group: Sequence[PlannedNetwork]) -> int:
        a, b = (max(outline.widths[name] for outline in group) for name in "ab")
        return len(group) * (a * 10 + a * b + b + 1)

    return sum(overhead + work * padded(group) for group in groups)


pairs = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=20)


@settings(deadline=None)
@given(widths=pairs, work=st.floats(1, 100), overhead=st.floats(0, 1e7))
def test_a_plan_holds_all_outlines_once_and_costs_at_most_one_stack(
    widths: list[tuple[int, int]], work: float, overhead: float
) -> None:
    all_outlines = make_outlines(widths)
    groups = plan_groups(all_outlines, work, overhead)
    assert sorted(outline.index for group in groups for outline in group) == list(
        range(len(widths))
    )
    assert cost(groups, work, overhead) <= cost([all_outlines], work, overhead) * (1 + 1e-12)
    assert sum(outline.parameter_count for outline in all_outlines) == cost(
        [[o] for o in all_outlines], 1, 0
    )


@settings(deadline=None)
@given(widths=pairs)
def test_free_stacks_pad_nothing_and_expensive_ones_are_one(widths: list[tuple[int, int]]) -> None:
    all_outlines = make_outlines(widths)
    assert len(plan_groups(all_outlines, 1, math.inf)) == 1
    for group in plan_groups(all_outlines, 1, 0):
        assert cost([group], 1, 0) == sum(outline.parameter_count for outline in group)


@settings(deadline=None)
@given(widths=pairs)
def test_halves_partition_the_group_and_only_equal_widths_have_none(
    widths: list[tuple[int, int]],
) -> None:
    cut = best_split(make_outlines(widths))
    if cut is None:
        assert len(set(widths)) == 1
        return
    below, above = cut
    assert below
    assert above
    assert sorted(index.index for index in (*below, *above)) == list(range(len(widths)))
    assert StackGroup.of(make_outlines(widths)).widths == {
        name: max(StackGroup.of(below).widths[name], StackGroup.of(above).widths[name])
        for name in "ab"
    }
