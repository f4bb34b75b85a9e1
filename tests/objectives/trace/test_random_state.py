"""Random states that checkpointing keeps are memory, though no operator makes them."""

from functools import partial

import pytest
import torch
from widthwise.objectives.cost.costs import StepSpec, TensorSpec, count_costs
from widthwise.objectives.trace.live_bytes import LiveBytes
from widthwise.objectives.trace.random_state import random_states_counted
from widthwise.tests.objectives.trace.real_step import (
    OPTIMIZERS,
    real_inference_peak,
    real_training_peak,
)
from widthwise.tests.objectives.zoo.recompute import InSequence, Recomputing

STATE = torch.get_rng_state().nbytes


MODELS = {
    "not reentrant": partial(Recomputing, use_reentrant=False),
    "without random state": partial(Recomputing, use_reentrant=False, preserve_rng_state=False),
    "with dropout": partial(Recomputing, 0.1, use_reentrant=False),
    "in sequence": InSequence,
}


@pytest.mark.parametrize("batch_size", [8, 128])
@pytest.mark.parametrize("model", MODELS)
def test_checkpointed_peaks_equal_those_of_the_allocator(model: str, batch_size: int) -> None:
    step = StepSpec(inputs=(TensorSpec(shape=(16,)),), batch_size=batch_size, optimizer="sgd")
    costs = count_costs(MODELS[model], step)
    training = real_training_peak(MODELS[model], step, OPTIMIZERS["sgd"][1])
    assert training.without_scratch <= costs.train_memory <= training.total
    inference = real_inference_peak(MODELS[model], step)
    assert costs.inference_memory == inference.without_scratch


def test_each_block_keeps_a_state() -> None:
    step = StepSpec(inputs=(TensorSpec(shape=(16,)),), batch_size=8, optimizer="sgd")
    kept, not_kept = (
        count_costs(MODELS[name], step).train_memory
        for name in ("not reentrant", "without random state")
    )
    assert 2 * STATE < kept - not_kept <= 7 * STATE


def test_six_blocks_take_what_the_allocator_was_seen_to_hold() -> None:
    step = StepSpec(inputs=(TensorSpec(shape=(16,)),), batch_size=8)
    costs = count_costs(MODELS["not reentrant"], step)
    assert (costs.train_memory, costs.inference_memory) == (118_312, 33_856)


def test_a_forked_generator_keeps_its_state_while_it_lasts() -> None:
    recorder = LiveBytes()
    with recorder, random_states_counted(recorder):
        with torch.random.fork_rng(devices=[]):
            torch.zeros(10)
        torch.zeros(10)
    assert recorder.timeline().live == (0, STATE, STATE + 40, 40)


def test_torch_is_left_as_it_was() -> None:
    original = torch.get_rng_state
    with pytest.raises(ValueError, match="stop"), random_states_counted(LiveBytes()):
        raise ValueError("stop")
    assert torch.get_rng_state is original
    assert torch.random.get_rng_state is original
