"""Predicted peaks against real training steps of every network of the zoo, to the byte."""

import pytest
from torch import nn
from widthwise.objectives.cost import Costs, StepSpec, count_costs
from widthwise.tests.objectives.zoo.catalogue import ZOO, Entry
from widthwise.tests.objectives.zoo.truth import Autocast, checkpointed, real_peak

NOT_FUSED = [name for name, entry in ZOO.items() if not entry.fused]
FUSED = [name for name, entry in ZOO.items() if entry.fused]


def small(entry: Entry, recompute: bool) -> nn.Module:
    return checkpointed(entry.small(), entry.blocks) if recompute else entry.small()


@pytest.mark.parametrize("recompute", [False, True], ids=["plain", "checkpointed"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("batch_size", [8, 32])
@pytest.mark.parametrize("name", NOT_FUSED)
def test_the_peak_is_predicted_to_the_byte(
    name: str, batch_size: int, optimizer: str, recompute: bool
) -> None:
    entry = ZOO[name]
    step = entry.small_step(batch_size, optimizer)
    costs = count_costs(lambda: small(entry, recompute), step)
    assert costs.train_memory == real_peak(small(entry, recompute), step)
