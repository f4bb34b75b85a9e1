"""Results that hold more bytes than their shape says, which shape rules do not know.

The kernels of some losses allocate one value an element, reduce them and shrink the result's shape
to a scalar: its storage keeps the size of the batch until the loss is let go. `embedding_bag`
writes one index more than it returns.

`mse_loss`, `smooth_l1_loss`, `soft_margin_loss` and `binary_cross_entropy` are such losses; others,
`huber_loss` or `cross_entropy`, return a storage of one element.

Entry point: `oversize`.
"""

from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

_LOSSES = (
    aten.mse_loss.default,
    aten.smooth_l1_loss.default,
    aten.soft_margin_loss.default,
    aten.binary_cross_entropy.default,
)
_BAGS = (aten._embedding_bag.default, aten._embedding_bag_forward_only.default)
_SUM = 0


def oversize(operation: Any, args: tuple[Any, ...], result: Any) -> None:
    """Give an operation's fake result the storage that the kernel would give it."""
    if operation in _LOSSES and result.dim() == 0:
        both = torch.broadcast_shapes(args[0].shape, args[1].shape)  # type: ignore[no-untyped-call]
        elements = both.numel()
        _resize(result, elements * result.element_size())
    elif operation in _BAGS and len(args) > 4 and args[4] != _SUM:
        index = result[1]
        _resize(index, index.untyped_storage().nbytes() + index.element_size())


def _resize(tensor: Tensor, size: int) -> None:
    tensor.untyped_storage().resize_(size)
