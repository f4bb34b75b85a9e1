"""Attention scores as they go into a softmax, whose output hides how large they have grown.

Entry points: `Scores`, `head_scale`.
"""

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

ATTENTION = nn.functional.scaled_dot_product_attention
_SOFTMAX = (torch.softmax, Tensor.softmax, nn.functional.softmax)


@final
class Scores(TorchFunctionMode):
    """Hands on what goes into every softmax that is called inside, in the order of the calls.

    The scores inside `scaled_dot_product_attention` are computed once more, before any mask. Those
    of torch's `MultiheadAttention` are not seen.
    """

    def __init__(self, note: Callable[[Tensor], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _SOFTMAX:
            self._note((args[0] if args else kwargs["input"]).detach())
        elif func is ATTENTION:
            query, key = (given.detach() for given in query_and_key(args, kwargs))
            if query.shape[:-2] == key.shape[:-2]:
                self._note(query @ key.mT * head_scale(query, kwargs))
        return func(*args, **kwargs)


def query_and_key(args: Any, kwargs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return the first two arguments of attention, however they were passed."""
    query = args[0] if args else kwargs["query"]
    return query, args[1] if len(args) > 1 else kwargs["key"]


def head_scale(query: Tensor, kwargs: dict[str, Any]) -> float:
    """Return the factor on attention scores: the one asked for, or 1 / sqrt(size of a head)."""
    scale = kwargs.get("scale")
    return float(query.shape[-1] ** -0.5 if scale is None else scale)
