"""What torch adds in place for real is no memory of its own, whatever a dispatch mode makes of it.

The truth is torch's allocator during a real step, with no dispatch mode active.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.cost.costs import StepSpec, TensorSpec, count_costs
from widthwise.tests.objectives.trace.real_step import OPTIMIZERS, real_peaks, real_training_peak
from widthwise.tests.objectives.zoo.consumers import CONSUMERS, LINEARS, Calls, five_heads, spectral


def step_of(shape: tuple[int, ...], batch_size: int, **options: object) -> StepSpec:
    return StepSpec(inputs=(TensorSpec(shape=shape),), batch_size=batch_size, **options)


def assert_exact(build: Callable[[], nn.Module], step: StepSpec) -> None:
    costs = count_costs(build, step)
    real = real_peaks(build, step, OPTIMIZERS[step.optimizer][1])
    assert (costs.train_memory, costs.inference_memory) == real


@pytest.mark.parametrize("batch_size", [8, 256])
@pytest.mark.parametrize("model", CONSUMERS)
def test_gradients_of_several_consumers_are_added_in_place(model: str, batch_size: int) -> None:
    assert_exact(CONSUMERS[model], step_of((16,), batch_size, optimizer="sgd"))


@pytest.mark.parametrize("model", ["five heads", "residual blocks", "one layer used three times"])
def test_so_they_are_with_adamw_and_in_parts_of_a_batch(model: str) -> None:
    step = step_of((16,), 96, optimizer="adamw")
    assert_exact(CONSUMERS[model], step)
    assert_exact(CONSUMERS[model], replace(step, accumulate=3))


@pytest.mark.parametrize("batch_size", [8, 256])
def test_complex_gradients_are_added_in_place(batch_size: int) -> None:
    """A factor that is to be conjugated is copied: within the product for real, before it here."""
    step = step_of((16,), batch_size, optimizer="sgd")
    real = real_training_peak(spectral, step, OPTIMIZERS["sgd"][1])
    assert real.without_scratch <= count_costs(spectral, step).train_memory <= real.total


def test_five_heads_take_what_the_allocator_was_seen_to_hold() -> None:
    assert count_costs(five_heads, step_of((16,), 256)).train_memory == 243_136


def test_a_gradient_that_is_kept_is_not_overwritten() -> None:
    def build() -> nn.Module:
        def forward(x: Tensor, stem: nn.Module) -> Tensor:
            x = stem(x)
            if x.requires_grad:
                x.retain_grad()
            return x.exp() + x.sin() + x.tanh()

        return Calls(forward, stem=nn.Linear(16, 256))

    assert_exact(build, step_of((16,), 64, optimizer="sgd"))


def test_a_gradient_of_a_gradient_is_added_to_a_new_tensor() -> None:
    """Under create_graph torch must keep the parts of a sum."""

    def build() -> nn.Module:
        def forward(x: Tensor, stem: nn.Module) -> Tensor:
            value = stem(x)
            if not value.requires_grad:
                return value
            inner = value.detach().requires_grad_()
            loss = (inner.exp() + inner.sin() + inner.tanh()).sum()
            (slope,) = torch.autograd.grad(loss, inner, create_graph=True)
            return value + slope

        return Calls(forward, stem=nn.Linear(16, 256))

    assert_exact(build, step_of((16,), 64, optimizer="sgd"))


@pytest.mark.parametrize("model", LINEARS)
def test_a_bias_is_added_in_place_where_linear_does(model: str) -> None:
    assert_exact(LINEARS[model], step_of((12, 10), 8, optimizer="sgd"))


def test_a_transposed_linear_takes_what_the_allocator_was_seen_to_hold() -> None:
    def build() -> nn.Module:
        return Calls(lambda x, layer: layer(x.transpose(1, 2)), layer=nn.Linear(16, 64))

    costs = count_costs(build, step_of((16, 10), 8))
    assert (costs.train_memory, costs.inference_memory) == (48_144, 35_072)


def test_an_attention_mask_is_added_in_place() -> None:
    def build() -> nn.Module:
        def forward(x: Tensor, query: nn.Module) -> Tensor:
            heads = query(x).unflatten(2, (2, 8)).transpose(1, 2)
            mask = torch.zeros(12, 12)
            return torch.nn.functional.scaled_dot_product_attention(
                heads, heads, heads, attn_mask=mask, dropout_p=0.1
            )

        return Calls(forward, query=nn.Linear(10, 16))

    assert_exact(build, step_of((12, 10), 8, optimizer="sgd"))
