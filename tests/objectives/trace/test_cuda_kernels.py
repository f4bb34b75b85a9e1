"""Types and tensors of a GPU on a fake CPU, against torch's own lists and arithmetic by hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from widthwise.objectives.cost.costs import StepSpec, TensorSpec, count_costs
from widthwise.objectives.trace.cuda_allocator import allocator_peak
from widthwise.objectives.trace.cuda_kernels import (
    FLOAT32,
    FLOAT32_RESULT,
    LOWER_PRECISION,
    WIDEST,
    cuda_kernels_in_force,
)

HEADER = Path(torch.__file__).parent / "include" / "ATen" / "autocast_mode.h"
CAPABILITY = (8, 0)
BF16, FP32, FP64 = torch.bfloat16, torch.float32, torch.float64


def operators(macro: str) -> set[str]:
    """Return the operators that one of the header's lists names."""
    text = HEADER.read_text()
    body = text[text.index(f"#define {macro}(_)") :].split("\n\n", 1)[0]
    if macro.endswith("SIGNATURE"):
        return set(re.findall(r'"([\w.]+)"', body))
    entries = re.findall(r"_\((\w+)(?:, (\w+))?\)", body.split("\n", 1)[1])
    return {f"{name}.{overload}" if overload else name for name, overload in entries}


def named_by_the_cpu(name: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{name}", "AutocastCPU")


@pytest.mark.parametrize(
    ("macros", "table"),
    [
        (["AT_FORALL_LOWER_PRECISION_FP"], LOWER_PRECISION),
        (["AT_FORALL_FP32", "AT_FORALL_DIFFERENT_REDISPATCH_SIGNATURE"], FLOAT32),
        (["AT_FORALL_FP32_SET_OPT_DTYPE"], FLOAT32_RESULT),
        (["AT_FORALL_PROMOTE"], WIDEST),
    ],
    ids=["lower", "float32", "result", "widest"],
)
def test_the_lists_are_torchs_own_beside_those_of_the_cpu(
    macros: list[str], table: tuple[str, ...]
) -> None:
    """What only GPUs have kernels for (`_thnn_…`, flash attention by name) never runs on a CPU."""
    wanted = {name for macro in macros for name in operators(macro)}
    wanted = {name for name in wanted if not name.startswith(("_thnn_", "_scaled_dot"))}
    missing = {name for name in wanted - set(table) if not named_by_the_cpu(name)}
    assert not missing
    assert set(table) <= wanted


def bf16(*shape: int) -> Tensor:
    return torch.rand(shape).to(BF16) + 1


@pytest.mark.parametrize(
    ("compute", "dtype"),
    [
        (lambda: torch.exp(bf16(3)), FP32),
        (lambda: bf16(3).pow(3), FP32),
        (lambda: bf16(3).softmax(0), FP32),
        (lambda: bf16(3).softmax(0, BF16), BF16),
        (lambda: torch.log_softmax(bf16(3), dim=0, dtype=FP64), FP64),
        (lambda: bf16(3).sum(), FP32),
        (lambda: bf16(3, 3).sum(0, keepdim=True), FP32),
        (lambda: functional.layer_norm(bf16(3), (3,)), FP32),
        (lambda: bf16(3).norm(), FP32),
        (lambda: torch.mv(torch.rand(3, 3), torch.rand(3)), BF16),
        (lambda: torch.addcmul(torch.rand(3), bf16(3), bf16(3)), FP32),
        (lambda: torch.rand(3).scatter_add(0, torch.tensor([0]), bf16(1)), FP32),
        (lambda: functional.gelu(bf16(3)), BF16),
        (lambda: bf16(3) + bf16(3), BF16),
        (lambda: torch.exp(torch.rand(3, dtype=FP64)), FP64),
    ],
    ids=range(15),
)
def test_results_have_the_types_of_a_gpu(compute: Callable[[], Tensor], dtype: torch.dtype) -> None:
    """As docs of torch.amp say which operators autocast to float32, or promote, on CUDA."""
    with cuda_kernels_in_force(BF16), torch.autocast("cpu", dtype=BF16):
        assert compute().dtype == dtype


def test_nothing_stays_in_force() -> None:
    with cuda_kernels_in_force(BF16):
        assert named_by_the_cpu("exp")
    with pytest.raises(RuntimeError, match="of the model"), cuda_kernels_in_force(BF16):
        raise RuntimeError("an error of the model")
    assert not named_by_the_cpu("exp")
    with torch.autocast("cpu", dtype=BF16):
        assert torch.exp(bf16(3)).dtype == BF16


class Exponentials(nn.Module):
    """Linear, exp, in bf16."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(20, 30)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.exp(self.linear(inputs))


def test_a_forward_pass_in_bf16_worked_by_hand() -> None:
    """Peak in exp: weights and batch, the casts of both weights that autocast keeps, the linear
    layer's result in bf16, its copy in float32 and the result in float32."""
    step = StepSpec(
        inputs=(TensorSpec(shape=(20,)),),
        batch_size=256,
        autocast=BF16,
        device_type="cuda",
        capability=CAPABILITY,
    )
    costs = count_costs(Exponentials, step)
    weights, batch, result = 20 * 30 + 30, 256 * 20, 256 * 30
    live = (4 + 2) * weights + 4 * batch + (2 + 4 + 4) * result
    assert costs.inference_memory == allocator_peak(live + 8 * 511, CAPABILITY)


class Attention(nn.Module):
    """One layer of attention that drops a share of its scores in training."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(16, 48), dropout

    def forward(self, inputs: Tensor) -> Tensor:
        query, key, value = self.linear(inputs).unsqueeze(1).chunk(3, dim=-1)
        return functional.scaled_dot_product_attention(
            query, key, value, dropout_p=self.dropout if self.training else 0.0, is_causal=True
        )


@pytest.mark.parametrize("autocast", [None, BF16], ids=["float32", "bf16"])
def test_attention_keeps_no_scores_on_a_gpu(autocast: torch.dtype | None) -> None:
    def memory(dropout: float, device_type: str) -> int:
        step = StepSpec(
            inputs=(TensorSpec(shape=(512, 16)),),
            batch_size=4,
            autocast=autocast,
            device_type=device_type,  # type: ignore[arg-type]
            capability=CAPABILITY,
        )
        return count_costs(lambda: Attention(dropout), step).train_memory

    scores = 4 * 4 * 512 * 512
    assert memory(0.1, "cuda") == memory(0.0, "cuda")
    assert memory(0.1, "cpu") > memory(0.0, "cpu") + scores
