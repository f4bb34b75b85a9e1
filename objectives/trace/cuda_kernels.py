"""What torch computes otherwise on a GPU, for a trace that runs on a fake CPU.

- **Autocast.** On a GPU torch.autocast has lists of its own: norms, exponentials, powers and sums
  are computed in float32 there and in the lower precision on a CPU. In between stand tensors of
  twice the size.
- **Attention with dropout** is one fused kernel on a GPU, which draws its mask anew in the backward
  pass; on a CPU the scores are kept.

The lists are those of torch's `ATen/autocast_mode.h`, which a test compares. Within the block they
are put in force on the CPU too, for operators that its own lists do not name.

Entry points: `kernels_in_force` of a step, `cuda_kernels_in_force`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey, DispatchKeySet

from ..training.step import StepSpec

Kernel = Callable[..., Any]

LOWER_PRECISION = (
    *("_convolution", "convolution", "prelu", "addmv", "addr", "einsum", "mv", "chain_matmul"),
    *("linalg_multi_dot", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"),
)
"""Operators computed in the lower precision."""

FLOAT32 = (
    *("acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log2", "log1p"),
    *("reciprocal", "rsqrt", "sinh", "tan", "pow.Tensor_Scalar", "pow.Tensor_Tensor"),
    *("pow.Scalar", "softplus", "layer_norm", "native_layer_norm", "rms_norm", "group_norm"),
    *("frobenius_norm.dim", "nuclear_norm", "nuclear_norm.dim", "cosine_similarity", "dist"),
    *("pdist", "renorm", "logsumexp", "upsample_nearest1d", "_upsample_nearest_exact1d"),
    *("upsample_nearest2d", "_upsample_nearest_exact2d", "upsample_nearest3d"),
    *("_upsample_nearest_exact3d", "upsample_linear1d", "upsample_bilinear2d"),
    *("_upsample_bilinear2d_aa", "upsample_trilinear3d", "upsample_bicubic2d"),
    *("_upsample_bicubic2d_aa", "norm.Scalar", "norm.ScalarOpt_dim"),
)
"""Operators computed in float32."""

FLOAT32_RESULT = (
    *("softmax.int", "log_softmax.int", "cumprod", "cumsum", "linalg_vector_norm"),
    *("linalg_matrix_norm", "linalg_matrix_norm.str_ord", "sum", "sum.dim_IntList"),
)
"""Operators whose result is float32 unless the caller says otherwise."""

WIDEST = (
    *("addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "vdot", "index_put"),
    *("tensordot", "scatter_add"),
)
"""Operators computed in the widest type of their arguments."""

_AUTOCAST, _AUTOGRAD = "AutocastCPU", "AutogradCPU"


def kernels_in_force(step: StepSpec) -> AbstractContextManager[None]:
    """Let operators on a fake CPU be those of the device that a step is counted for."""
    if step.device_type == "cuda":
        return cuda_kernels_in_force(step.autocast)
    return nullcontext()


@contextmanager
def cuda_kernels_in_force(autocast: torch.dtype | None) -> Iterator[None]:
    """Let operators on a fake CPU keep the tensors, and have the types, that they have on a GPU.

    Args:
        autocast: The lower precision of torch.autocast; None where it is not used.
    """
    library: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    try:
        attention = torch.ops.aten.scaled_dot_product_attention.default
        library.impl("scaled_dot_product_attention", _fused_attention(attention), _AUTOGRAD)
        if autocast is not None:
            for names, rule in (
                (LOWER_PRECISION, _cast_to(autocast)),
                (FLOAT32, _cast_to(torch.float32)),
                (FLOAT32_RESULT, _float32_result),
                (WIDEST, _cast_to_widest),
            ):
                for name in names:
                    if not _is_in_force(name):
                        library.impl(name, _without_autocast(_operator(name), rule), _AUTOCAST)
        yield
    finally:
        library._destroy()


def _operator(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet), overload or "default")


def _is_in_force(name: str) -> bool:
    """Return whether the CPU's own lists name an operator."""
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{name}", _AUTOCAST)


def _fused_attention(operator: Any) -> Kernel:
    """Return attention that keeps no scores where it drops some."""

    def kernel(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,  # noqa: ARG001 - the scores that it drops are not kept
        *args: Any,
        **options: Any,
    ) -> Any:
        return operator.decompose(query, key, value, attn_mask, 0.0, *args, **options)

    return kernel


def _without_autocast(
    operator: Any, rule: Callable[[Any, list[Any], dict[str, Any]], None]
) -> Kernel:
    """Return a kernel that changes its arguments by a rule and goes on without autocast."""

    def kernel(*args: Any, **options: Any) -> Any:
        arguments, keywords = list(args), dict(options)
        with torch._C._ExcludeDispatchKeyGuard(DispatchKeySet(DispatchKey.AutocastCPU)):
            rule(operator, arguments, keywords)
            return operator(*arguments, **keywords)

    return kernel


def _cast_to(dtype: torch.dtype) -> Callable[[Any, list[Any], dict[str, Any]], None]:
    def rule(_operator: Any, arguments: list[Any], keywords: dict[str, Any]) -> None:
        arguments[:] = [_cast(value, dtype) for value in arguments]
        keywords.update({name: _cast(value, dtype) for name, value in keywords.items()})

    return rule


def _float32_result(operator: Any, arguments: list[Any], keywords: dict[str, Any]) -> None:
    """Ask for a float32 result, unless a type is asked for."""
    names = [argument.name for argument in operator._schema.arguments]
    position = names.index("dtype")
    asked = keywords.get("dtype") or (arguments[position] if len(arguments) > position else None)
    if asked is None and _is_castable(arguments[0]):
        del arguments[position:]
        keywords["dtype"] = torch.float32


def _cast_to_widest(operator: Any, arguments: list[Any], keywords: dict[str, Any]) -> None:
    tensors = [value for value in [*arguments, *keywords.values()] if _is_castable(value)]
    if any(tensor.dtype == torch.float32 for tensor in tensors):
        _cast_to(torch.float32)(operator, arguments, keywords)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if _is_castable(value):
        return value.to(dtype)
    if isinstance(value, list | tuple):
        return type(value)(_cast(item, dtype) for item in value)
    return value


def _is_castable(value: Any) -> bool:
    """Return whether autocast changes a value's type: a float, but float64 is left alone."""
    return isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64
