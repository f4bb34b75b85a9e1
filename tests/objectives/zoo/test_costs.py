"""Thirteen networks as published: every figure equals the one derived by hand, error 0."""

import pytest
import torch
from torch import nn
from widthwise.objectives.cost.costs import Costs, StepSpec, TensorSpec, count_costs
from widthwise.tests.objectives.zoo import attention
from widthwise.tests.objectives.zoo.catalogue import ZOO
from widthwise.tests.objectives.zoo.formulas import EXPECTED_COSTS, blocks

BATCH = 2


@pytest.fixture(scope="module", params=ZOO)
def counted_costs(request: pytest.FixtureRequest) -> tuple[str, Costs]:
    entry = ZOO[request.param]
    return request.param, count_costs(entry.build, entry.step(BATCH))


def test_the_zoo_has_a_formula_for_each() -> None:
    assert list(ZOO) == list(EXPECTED_COSTS)
    assert len(ZOO) >= 12


def test_parameters(counted_costs: tuple[str, Costs]) -> None:
    name, costs = counted_costs
    assert costs.parameters == costs.trainable_parameters == EXPECTED_COSTS[name].parameters
    if (published := ZOO[name].published) is not None:
        assert costs.parameters == published
    with torch.device("meta"):
        model = ZOO[name].build()
    assert costs.parameters == sum(p.numel() for p in model.parameters())


def test_forward_macs(counted_costs: tuple[str, Costs]) -> None:
    name, costs = counted_costs
    assert costs.macs == EXPECTED_COSTS[name].forward
    assert costs.flops == 2 * costs.macs


def test_step_flops(counted_costs: tuple[str, Costs]) -> None:
    name, costs = counted_costs
    assert costs.step_flops == 2 * EXPECTED_COSTS[name].step


def test_nothing_is_left_uncounted(counted_costs: tuple[str, Costs]) -> None:
    """All to say is that the LSTM's workspace was measured, and that convolutions take scratch."""
    name, costs = counted_costs
    assert not costs.uncounted
    assert not costs.lower_bound
    notes = [note for note in costs.notes if "convolutions" not in note]
    assert ["calibrated" in note for note in notes] == [True] * ZOO[name].fused


@pytest.mark.parametrize(
    ("name", "build"),
    [("BERT-base", attention.Bert), ("GPT-2", attention.GPT2)],
    ids=["BERT-base", "GPT-2"],
)
def test_without_dropout_attention_is_fused_and_a_step_computes_the_scores_again(
    name: str, build: type[nn.Module]
) -> None:
    entry, figures = ZOO[name], EXPECTED_COSTS[name]
    costs = count_costs(lambda: build(dropout=0.0), entry.step(BATCH))
    *_, scores = blocks(12, 128, 768, 3072)
    assert (costs.macs, costs.step_flops) == (figures.forward, 2 * (figures.step + scores))


@pytest.mark.parametrize("name", ["MLP", "ResNet-50", "LSTM", "ViT-B/16"])
def test_flops_are_of_one_sample_whatever_the_batch(name: str) -> None:
    entry = ZOO[name]
    single_sample, seven = (
        count_costs(entry.small, entry.small_step(batch_size)).as_dict() for batch_size in (2, 7)
    )
    assert single_sample["train_memory"] < seven["train_memory"]
    same = ("parameters", "trainable_parameters", "macs", "flops")
    assert [single_sample[field] for field in same] == [seven[field] for field in same]


def test_a_published_figure_that_is_wrong() -> None:
    """A walk-through states 4,456 parameters: it takes 31 × 64 for 2,048, and it is 1,984."""
    assert EXPECTED_COSTS["two-headed MLP"].parameters == 4_392 == 4_456 - (2_048 - 31 * 64)
    step = StepSpec(inputs=(TensorSpec(shape=(31,)),), batch_size=BATCH)
    assert count_costs(ZOO["two-headed MLP"].build, step).parameters == 4_392
