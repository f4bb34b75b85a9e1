"""Predicted peaks against real training steps of every network of the zoo, to the byte."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from widthwise.objectives.cost.costs import StepSpec, TensorSpec, count_costs
from widthwise.tests.objectives.trace.real_step import (
    CLASS,
    OPTIMIZERS,
    Build,
    real_inference_peak,
    real_peaks,
    real_training_peak,
)
from widthwise.tests.objectives.zoo import attention, resnet, small
from widthwise.tests.objectives.zoo.catalogue import (
    ZOO,
    ZooModel,
    cross_entropy,
    squared_error,
    token_spec,
)
from widthwise.tests.objectives.zoo.recompute import with_activation_checkpointing


def built(entry: ZooModel, recompute: bool) -> nn.Module:
    return (
        with_activation_checkpointing(entry.small(), entry.blocks) if recompute else entry.small()
    )


KEPT_NUMBERS = {"GPT-2": 6 * 8}
"""Bytes of the numbers that a network multiplies by and keeps for the backward pass."""


def assert_exact(
    build: Build,
    step: StepSpec,
    *,
    recompute: bool = False,
    kept_numbers: int = 0,
    tolerance: float = 0.0,
) -> None:
    """Compare both peaks, of a training step and of a forward pass without gradients.

    Recomputation stops within the last operator of a block, whose result then counts as scratch of
    that operator, though the prediction has it.
    """
    costs = count_costs(build, step)
    _, make_optimizer = OPTIMIZERS[step.optimizer]
    training = real_training_peak(build, step, make_optimizer)
    inference = real_inference_peak(build, step)
    lowest = (training.without_scratch - kept_numbers) * (1 - tolerance)
    highest = (training.total if recompute else training.without_scratch) * (1 + tolerance)
    assert lowest <= costs.train_memory <= highest
    assert costs.inference_memory == pytest.approx(
        inference.without_scratch, rel=tolerance, abs=0 if not kept_numbers else 12
    )


@pytest.mark.parametrize("recompute", [False, True], ids=["plain", "checkpointed"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("batch_size", [8, 32])
@pytest.mark.parametrize("name", ZOO)
def test_the_peak_is_predicted_to_the_byte(
    name: str, batch_size: int, optimizer: str, recompute: bool
) -> None:
    entry = ZOO[name]
    assert_exact(
        partial(built, entry, recompute),
        entry.small_step(batch_size, optimizer),
        recompute=recompute,
        kept_numbers=KEPT_NUMBERS.get(name, 0),
    )


@pytest.mark.parametrize("recompute", [False, True], ids=["plain", "checkpointed"])
@pytest.mark.parametrize("name", ZOO)
def test_under_autocast_the_peak_is_within_a_thousandth(name: str, recompute: bool) -> None:
    entry = ZOO[name]
    step = entry.small_step(8, "adamw", torch.bfloat16)
    # Without gradients the fused layer casts its input later than the traced one.
    tolerance = 2e-2 if name == "LSTM" else 1e-3
    assert_exact(partial(built, entry, recompute), step, recompute=recompute, tolerance=tolerance)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU], ids=["LSTM", "GRU"])
@pytest.mark.parametrize("hidden", [1, 17, 64])
@pytest.mark.parametrize("batch_size", [8, 32])
def test_recurrent_nets_are_never_under_predicted(
    kind: type[nn.RNNBase], hidden: int, batch_size: int
) -> None:
    """Sizes that the fused kernel pads: what it keeps beside its results is no polynomial."""
    step = StepSpec(
        inputs=(TensorSpec(shape=(7, 5)),),
        targets=CLASS,
        batch_size=batch_size,
        optimizer="sgd",
        loss=cross_entropy,
    )
    build = partial(small.Recurrent, kind, 5, hidden, 2, 5)
    costs = count_costs(build, step)
    assert not costs.lower_bound
    _, make_optimizer = OPTIMIZERS["sgd"]
    real, _ = real_peaks(build, step, make_optimizer)
    assert costs.train_memory >= real


def test_checkpointing_saves_memory() -> None:
    entry = ZOO["ResNet-50"]
    plain, less = (
        count_costs(partial(built, entry, recompute), entry.small_step(32)).train_memory
        for recompute in (False, True)
    )
    assert less < plain


FULL_SIZE = {
    "ResNet-50": (
        resnet.ResNet,
        StepSpec(
            inputs=(TensorSpec(shape=(3, 64, 64)),),
            targets=CLASS,
            batch_size=8,
            optimizer="sgd",
            loss=cross_entropy,
        ),
    ),
    "BERT-base, two layers": (
        partial(attention.Bert, num_hidden_layers=2),
        StepSpec(
            inputs=(token_spec(32),),
            targets=TensorSpec(shape=(768,)),
            batch_size=8,
            optimizer="adamw",
            loss=squared_error,
        ),
    ),
}


@pytest.mark.parametrize("name", FULL_SIZE)
def test_networks_of_published_width_are_predicted_to_the_byte(name: str) -> None:
    build, step = FULL_SIZE[name]
    assert count_costs(build, step).train_memory > 100 * 2**20
    assert_exact(build, step)


def words(model: nn.Module) -> nn.Module:
    """Leave the mask to the library, which builds one only where it cannot read the positions."""

    class WithoutMask(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(input_ids=x, use_cache=False).logits

    return WithoutMask()


def narrow_gpt2() -> nn.Module:
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 50, "n_positions": 16}
    return words(GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)))


def narrow_llama(key_value_heads: int) -> nn.Module:
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=key_value_heads,
        max_position_embeddings=32,
    )
    return words(LlamaForCausalLM(config))


LANGUAGE_MODELS: dict[str, Build] = {
    "GPT-2": narrow_gpt2,
    "Llama, grouped keys": partial(narrow_llama, 2),
    "Llama, a key for each head": partial(narrow_llama, 4),
    "GPT-2, checkpointed": lambda: with_activation_checkpointing(narrow_gpt2(), ("GPT2Block",)),
}


@pytest.mark.parametrize("model", LANGUAGE_MODELS)
def test_no_mask_is_counted_that_is_only_built_when_traced(model: str) -> None:
    assert_exact(
        LANGUAGE_MODELS[model],
        replace(ZOO["GPT-2"].small_step(8), inputs=(token_spec(16),), targets=token_spec(16)),
        recompute=True,
        kept_numbers=6 * 8,
    )
