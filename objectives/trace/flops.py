"""FLOPs of what runs inside a block, by torch's own counter with its gaps mended.

FLOPs = 2 × MACs: one multiply-add is one MAC and two FLOPs, as `torch.utils.flop_counter` counts
(a bias, an activation or a norm counts 0). Matrix products dominate every network; what else is
known to be cheap counts 0 and is listed in `elementwise`; anything in neither list is named by
`FlopCounter.uncounted`.

Gaps of torch 2.13 that the formulas below close, each with a test that fails without it:

| operation | torch counts | upstream |
|---|---|---|
| attention on the CPU, forward and backward | 0 | pytorch issue 195460 |
| fused LSTM on the CPU, forward and backward | 0 | meta-pytorch/tnt issue 624 |
| weight gradient of a grouped convolution | groups × too much | pytorch pull request 183405 |
| matrix × vector, `addbmm`, `addr`-like products, `Bilinear`, `cdist` | 0 | |
| products of complex numbers | as of real ones; here 4 × | |
| the fused encoder layer (`torch.backends.mha`) | 0 | switched off while counting |

Entry points: `FlopCounter`, `fused_encoder_disabled`.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any, final

import torch
from torch import Tensor
from torch.utils.flop_counter import (
    FlopCounterMode,
    bmm_flop,
    conv_flop_count,
    mm_flop,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from .elementwise import is_elementwise

aten = torch.ops.aten
Shape = tuple[int, ...]


def attention_flops(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Count softmax(Q Kᵀ) V of [batch, heads, tokens, head size]: two products.

    FLOPs = 2 × batch × heads × T_q × T_k × (d_qk + d_v); a causal mask saves nothing, as in torch.
    Worked example: 1 sample, 12 heads, 64 tokens of 64: 2 × 12 × 64 × 64 × 128 = 12,582,912.
    """
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def attention_backward_flops(
    grad_output: Shape, query: Shape, key: Shape, value: Shape, *_: Any, **__: Any
) -> int:
    """Count the gradients of Q, K and V: four products, and Q Kᵀ once more.

    The fused kernel did not keep the scores and computes them again, so attention's step is 3.5 ×
    its forward pass where a plain product's is 3 ×.
    """
    return int(sdpa_backward_flop_count(grad_output, query, key, value))  # type: ignore[no-untyped-call]


def convolution_backward_flops(
    grad_output: Shape, inputs: Shape, weight: Shape, *options: Any, **_: Any
) -> int:
    """Count the gradients of a convolution: each multiplies what the forward pass multiplied.

    FLOPs = (input needed + weight needed) × 2 × N × positions × numel(weight), where the weight
    [out, in / groups, *kernel] already holds the groups and positions are the output's (of a
    transposed convolution, the input's). Worked example: a depthwise 3 × 3 convolution of 4
    channels, 5 × 5 to 3 × 3, one sample: 2 × 9 × 36 = 648 FLOPs a gradient.
    """
    *_bias_stride_padding_dilation, transposed, _output_padding, _groups, output_mask = options
    forward = conv_flop_count(list(inputs), list(weight), list(grad_output), transposed=transposed)
    return int(forward * sum(output_mask[:2]))


def lstm_layer_flops(inputs: Shape, weight_ih: Shape, weight_hh: Shape, *_: Any, **__: Any) -> int:
    """Count one direction of one fused LSTM layer.

    FLOPs = 2 × time × batch × (numel(weight_ih) + numel(weight_hh)): each step multiplies the four
    gates [4H, I] by the input and [4H, H] by the state. Worked example: 4 steps, 3 samples,
    I = 5, H = 7: 2 × 12 × (140 + 196) = 8,064.
    """
    return 2 * prod(inputs[:-1]) * (prod(weight_ih) + prod(weight_hh))


def lstm_layer_backward_flops(*args: Any, **kwargs: Any) -> int:
    """Count the gradients of input, state and both weights: twice the forward pass.

    The fused kernel computes the input's gradient whether or not it is needed.
    """
    return 2 * lstm_layer_flops(*args, **kwargs)


def matrix_vector_flops(matrix: Shape, *_: Any, **__: Any) -> int:
    """Count [m, n] × [n]: 2 × m × n."""
    return 2 * prod(matrix)


def added_matrix_vector_flops(_added: Shape, matrix: Shape, *_: Any, **__: Any) -> int:
    """Count bias + [m, n] × [n]: 2 × m × n."""
    return matrix_vector_flops(matrix)


def added_product_flops(_added: Shape, left: Shape, right: Shape, **_: Any) -> int:
    """Count bias + left × right, of matrices or of batches of them."""
    return int((mm_flop if len(left) == 2 else bmm_flop)(left, right))


def trilinear_flops(
    first: Shape,
    second: Shape,
    third: Shape,
    expand1: list[int],
    expand2: list[int],
    expand3: list[int],
    *_: Any,
    **__: Any,
) -> int:
    """Count sum(first × second × third) over the broadcast shape (`nn.Bilinear`).

    One MAC for each weight and sample, 2 FLOPs; the product of the two inputs counts as
    element-wise, 0. Worked example: batch 8, Bilinear(3, 4, 5): 2 × 8 × 5 × 3 × 4 = 960.
    """
    shapes: list[list[int]] = []
    for shape, axes in ((first, expand1), (second, expand2), (third, expand3)):
        sizes = list(shape)
        for axis in sorted(axes):
            sizes.insert(axis, 1)
        shapes.append(sizes)
    size: int = prod(max(sizes) for sizes in zip(*shapes, strict=True))
    return 2 * size


def cdist_flops(left: Shape, right: Shape, *_: Any, **__: Any) -> int:
    """Count all distances of [*, m, k] and [*, n, k]: 2 × m × n × k a batch."""
    return 2 * prod(left) * right[-2]


def cdist_backward_flops(_grad: Shape, left: Shape, right: Shape, *_: Any, **__: Any) -> int:
    """Count one side's gradient: every distance spreads over k elements once more."""
    return cdist_flops(left, right)


FORMULAS: dict[Any, Callable[..., int]] = {
    aten._scaled_dot_product_flash_attention_for_cpu: attention_flops,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward_flops,
    aten.mkldnn_rnn_layer: lstm_layer_flops,
    aten.mkldnn_rnn_layer_backward: lstm_layer_backward_flops,
    aten.convolution_backward: convolution_backward_flops,
    aten.mv: matrix_vector_flops,
    aten.dot: matrix_vector_flops,
    aten.vdot: matrix_vector_flops,
    aten.addmv: added_matrix_vector_flops,
    aten.addbmm: added_product_flops,
    aten._addmm_activation: added_product_flops,
    aten._trilinear: trilinear_flops,
    aten._cdist_forward: cdist_flops,
    aten._cdist_backward: cdist_backward_flops,
}
"""Operation to formula of its shapes, in FLOPs, beside torch's own."""


COMPLEX_MACS = 4
"""Multiply-adds of real numbers in one of complex numbers: (a + bi)(c + di) has four products."""


class _NullModuleTracker:
    """Torch's module tracker without the hooks: they keep gradients alive and cost time."""

    parents = frozenset({"Global"})

    def __enter__(self) -> "_NullModuleTracker":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@final
class FlopCounter(FlopCounterMode):
    """Counts FLOPs inside `with`; `flops` is the total so far."""

    def __init__(self) -> None:
        super().__init__(display=False, custom_mapping=FORMULAS)
        self.mod_tracker = _NullModuleTracker()  # type: ignore[assignment]

    def _count_flops(self, func_packet: Any, out: Any, args: Any, kwargs: Any) -> Any:
        if func_packet in self.flop_registry:
            count = self.flop_registry[func_packet](*args, **kwargs, out_val=out)
            tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            if any(tensor.is_complex() for tensor in tensors):
                count *= COMPLEX_MACS
            self.flop_counts["Global"][func_packet] += count
        return out

    @property
    def flops(self) -> int:
        """FLOPs counted so far."""
        return int(self.get_total_flops())

    def uncounted(self, operations: Iterable[Any]) -> list[str]:
        """Return the names of the operations that no formula covers and that are not cheap."""
        return sorted(
            {
                str(operation.overloadpacket)
                for operation in operations
                if operation.overloadpacket not in self.flop_registry
                and not is_elementwise(operation)
            }
        )


@contextmanager
def fused_encoder_disabled() -> Iterator[None]:
    """Keep torch on paths whose operations can be seen: no fused encoder layer inside."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
