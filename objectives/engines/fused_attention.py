"""torch's operators for attention on a CPU, in compiled code where that serves.

What comes out has the sizes, strides and types that torch's own operators give it, and is equal up
to rounding. Other calls are left to torch: with a mask, in half precision, of large heads, in an
unusual layout. Where all of a query's scores are NaN, so is its result, as with torch from 16 keys
on; torch gives 0 for fewer. With `is_causal`, a key or value that is no number reaches fewer of the
queries before it than in torch, whose blocks are larger.

Entry points: `FORWARD`, `BACKWARD`, `attention`, `attention_gradients`, `serves`, `LARGEST`.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from .attention_compiled import Layout, compiled

FORWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default

LARGEST = 32
"""Most numbers in a head: from there on torch's kernel is as fast in float32 (measured)."""

_TYPES = (torch.float32, torch.float64)


def serves(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    attn_mask: Tensor | None = None,
) -> bool:
    """Say whether compiled code can do a call with tensors `[rows, heads, tokens, size]`.

    Whether it does is decided by the size of a head, which may differ from candidate to candidate.
    """
    return (
        attn_mask is None
        and dropout_p == 0.0
        and query.dtype in _TYPES
        and query.dtype == key.dtype == value.dtype
        and query.stride(-1) == key.stride(-1) == value.stride(-1) == 1
        and query.shape[:2] == key.shape[:2]
        and query.shape[3:] == key.shape[3:]
        and key.shape == value.shape
        and query.numel() > 0
        and key.numel() > 0
    )


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Return what `FORWARD` does: the output, and the logarithms of the sums of exponentials."""
    found = torch.empty_like(query)
    small = query.shape[3] <= LARGEST and found.stride(-1) == 1
    if not small or not serves(query, key, value, dropout_p, attn_mask):
        return FORWARD(  # type: ignore[no-any-return]
            query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale
        )
    rows, heads, tokens, size = query.shape
    logarithms = torch.empty_strided(
        (rows, heads, tokens), (tokens * heads, 1, heads), dtype=query.dtype
    )
    tensors = (query, key, value, found, logarithms)
    compiled(query.dtype).forward(
        *[one.data_ptr() for one in tensors],
        _layout(query.shape, key.shape[2], tuple([one.stride() for one in tensors])),
        size**-0.5 if scale is None else scale,
        is_causal,
    )
    return found, logarithms


def attention_gradients(
    grad_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    dropout_p: float,
    is_causal: bool,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `BACKWARD` does: gradients with respect to query, key and value."""
    small = query.shape[3] <= LARGEST and out.stride(-1) == 1
    if not small or not serves(query, key, value, dropout_p, attn_mask):
        return BACKWARD(  # type: ignore[no-any-return]
            *(grad_out, query, key, value, out, logsumexp, dropout_p, is_causal),
            attn_mask=attn_mask,
            scale=scale,
        )
    if grad_out.stride(-1) != 1:
        grad_out = grad_out.contiguous()
    gradients = _like_torch(query), _like_torch(key), _like_torch(value)
    tensors = (grad_out, query, key, value, out, logsumexp, *gradients)
    compiled(query.dtype).backward(
        *[one.data_ptr() for one in tensors],
        _layout(query.shape, key.shape[2], tuple([one.stride() for one in tensors])),
        query.shape[3] ** -0.5 if scale is None else scale,
        is_causal,
    )
    return gradients


def _like_torch(tensor: Tensor) -> Tensor:
    """Return room for a gradient, tokens before heads."""
    _, heads, tokens, size = tensor.shape
    strides = (tokens * heads * size, size, heads * size, 1)
    return torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype)


@lru_cache(maxsize=4096)
def _layout(shape: torch.Size, others: int, strides: tuple[tuple[int, ...], ...]) -> Layout:
    rows, heads, tokens, size = shape
    found = np.zeros((1 + len(strides), 5), np.int64)
    found[0] = rows, heads, tokens, others, size
    for place, one in enumerate(strides, 1):
        found[place, :3] = one[:3]
    return found
