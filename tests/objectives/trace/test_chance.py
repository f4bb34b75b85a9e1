"""A model that decides by chance is counted at its costliest, and it is said."""

import random
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.cost.costs import Costs, StepSpec, TensorSpec, count_costs
from widthwise.objectives.cost.measure import measure_step
from widthwise.objectives.trace.chance import Chance

BLOCKS = 3
STEP = StepSpec(inputs=(TensorSpec(shape=(8,)),), batch_size=64)


class Blocks(nn.Module):
    """Residual blocks, each of which is computed if `keep` says so."""

    def __init__(self, keep: Callable[["Blocks"], bool], in_eval: bool = False) -> None:
        super().__init__()
        self.keep, self.in_eval = keep, in_eval
        self.rng = random.Random(7)
        self.generator = np.random.default_rng(7)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8)) for _ in range(BLOCKS)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            if not (self.training or self.in_eval) or self.keep(self):
                x = x + block(x)
        return x


DECISIONS: dict[str, Callable[[Blocks], bool]] = {
    "kept above a share": lambda _: random.random() > 0.3,
    "kept below a share": lambda _: random.random() < 0.7,
    "a choice": lambda _: random.choice([True, False, False]),
    "a whole number": lambda _: random.randint(0, 9) < 8,
    "numpy": lambda _: np.random.rand() > 0.3,
    "numpy's whole numbers": lambda _: np.random.randint(10) < 3,
    "torch": lambda _: torch.rand([]) > 0.3,
    "torch, read as a number": lambda _: torch.rand(1).item() < 0.7,
    "torch, a coin": lambda _: bool(torch.empty(1).bernoulli_(0.7)),
    "torch's whole numbers": lambda _: int(torch.randint(0, 10, (1,))) < 8,
    "a stream of its own": lambda model: model.rng.random() > 0.9,
}


@cache
def costs_of_all() -> Costs:
    return count_costs(lambda: Blocks(lambda _: True), STEP)


@pytest.mark.parametrize("decision", DECISIONS)
def test_all_layers_that_may_be_kept_are_counted(decision: str) -> None:
    all_kept = costs_of_all()
    costs = count_costs(lambda: Blocks(DECISIONS[decision]), STEP)
    assert costs.train_memory == all_kept.train_memory
    assert costs.step_flops == all_kept.step_flops
    assert costs.inference_memory == all_kept.inference_memory
    assert any("random numbers" in note for note in costs.notes)
    assert not any("random numbers" in note for note in all_kept.notes)


def test_so_they_are_in_eval_mode() -> None:
    all_kept, costs = (
        count_costs(lambda keep=keep: Blocks(keep, in_eval=True), STEP)
        for keep in (lambda _: True, DECISIONS["kept above a share"])
    )
    assert (costs.flops, costs.inference_memory) == (all_kept.flops, all_kept.inference_memory)


def test_no_real_step_takes_more_than_is_predicted() -> None:
    def build() -> nn.Module:
        return Blocks(lambda model: model.generator.random() > 0.5)

    predicted = count_costs(build, STEP).train_memory
    for seed in range(3):
        random.seed(seed)
        measured = measure_step(build, STEP, torch.device("cpu"))
        assert measured.train_memory_without_scratch <= predicted


def test_a_branch_among_unequal_ones() -> None:
    """The wide branch is neither the first nor the last."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branches = nn.ModuleList(nn.Linear(8, width) for width in (8, 16, 256, 16, 8))

        def forward(self, x: Tensor) -> Tensor:
            return random.choice(list(self.branches))(x).mean(1)

    wide = nn.Linear(8, 256)
    costs = count_costs(Branches, StepSpec(inputs=STEP.inputs, batch_size=512))
    assert costs.train_memory > 512 * wide.out_features * 4


def test_numbers_that_change_no_cost_are_not_noted() -> None:
    class Dropped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.drop = nn.Linear(8, 8), nn.Dropout(0.2)

        def forward(self, x: Tensor) -> Tensor:
            return self.drop(self.layer(x)) * random.uniform(0.9, 1.1)

    assert not count_costs(Dropped, STEP).notes


def test_drawing_until_a_value_is_accepted_comes_to_an_end() -> None:
    def keep(_: Blocks) -> bool:
        return random.gauss(0, 1) + np.random.randn() + random.normalvariate(0, 1) > 0

    costs = count_costs(lambda: Blocks(keep), STEP)
    assert costs.train_memory <= costs_of_all().train_memory


def test_the_callers_streams_are_undisturbed() -> None:
    random.seed(3)
    np.random.seed(3)
    states = random.getstate(), np.random.get_state()[1].tolist()
    count_costs(lambda: Blocks(DECISIONS["kept above a share"]), STEP)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states


@pytest.mark.parametrize(
    ("outcome", "value"), [(0.0, 0.0), (0.375, 0.375), (1.0, 1 - 2**-53)], ids=["0", "3/8", "1"]
)
def test_a_forced_stream_repeats_a_number(outcome: float, value: float) -> None:
    before = random.getstate(), np.random.get_state()
    try:
        Chance(nn.Linear(1, 1)).force(outcome)
        assert [random.random() for _ in range(300)] == pytest.approx([value] * 300, abs=1e-8)
        assert random.random() != pytest.approx(value, abs=1e-8)
        assert np.random.rand(300).tolist() == pytest.approx([value] * 300, abs=1e-8)
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def test_a_streams_use_is_noticed() -> None:
    chance = Chance(nn.Linear(1, 1))
    with chance.watched():
        torch.rand(3)
    assert not chance.was_used
    with chance.watched():
        np.random.rand()
    assert chance.was_used
