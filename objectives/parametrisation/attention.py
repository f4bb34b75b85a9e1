"""Attention heads: muP asks for scores that are divided by the head's size, not by its root.

A query and a key that have learnt to agree give a score that grows with their length. While the
head's size is the same at every candidate the usual 1 / sqrt(size) is right; where the widths move
it, only 1 / size is (Tensor Programs V, definition 4.1).

torch's own `MultiheadAttention` is read off, calls of `scaled_dot_product_attention` are watched
during one forward pass. Attention that multiplies its matrices itself is not seen here; the check
of coordinates watches what goes into a softmax.

Entry point: `require_fixed_head_size`.
"""

from collections.abc import Callable, Sequence
from math import isclose
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..randomness import Randomness
from .errors import MupInapplicable

Head = tuple[int, float]
"""Size of a head, and the factor on its scores."""


def require_fixed_head_size(models: Sequence[nn.Module], inputs: Tensor | None) -> None:
    """Look at the attention of the same model at several widths.

    Args:
        models: Throw-away builds, the base first.
        inputs: A few samples, `[rows, ...]`, to watch a forward pass; None to read modules only.

    Raises:
        MupInapplicable: The widths move a head's size, and its scores do not follow 1 / size.
    """
    base, *others = [_attention_heads(model, inputs) for model in models]
    for other in others:
        for (size, factor), (other_size, other_factor) in zip(base, other, strict=False):
            if not isclose(size * factor, other_size * other_factor) and size != other_size:
                raise MupInapplicable(
                    f"the widths move the size of the attention heads ({size} and {other_size}), "
                    "while their scores are not divided by it: keep the head size and search the "
                    "number of heads, or pass scale = c / size to the attention"
                )


def _attention_heads(model: nn.Module, inputs: Tensor | None) -> list[Head]:
    head_sizes = [
        module.head_dim for module in model.modules() if isinstance(module, nn.MultiheadAttention)
    ]
    heads = [(size, size**-0.5) for size in head_sizes]
    if inputs is not None:
        # Training mode: torch's encoder takes a short cut otherwise. Dropout draws its own numbers.
        with Randomness(0, torch.device("cpu")), torch.no_grad(), _HeadRecorder() as recorder:
            model.train()(inputs)
        heads += recorder.heads
    return heads


@final
class _HeadRecorder(TorchFunctionMode):
    """Notes the head of every `scaled_dot_product_attention` that is called inside."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: list[Head] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is SCALED_DOT_PRODUCT_ATTENTION:
            query, _ = query_and_key(args, kwargs)
            self.heads.append((query.shape[-1], head_scale(query, kwargs)))
        return func(*args, **kwargs)


SCALED_DOT_PRODUCT_ATTENTION = nn.functional.scaled_dot_product_attention
_SOFTMAX = (torch.softmax, Tensor.softmax, nn.functional.softmax)


@final
class ScoreRecorder(TorchFunctionMode):
    """Hands on what goes into every softmax that is called inside, in the order of the calls.

    The scores inside `scaled_dot_product_attention` are computed once more, before any mask. Those
    of torch's `MultiheadAttention` are not seen.
    """

    def __init__(self, on_scores: Callable[[Tensor], None]) -> None:
        super().__init__()
        self._on_scores = on_scores

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _SOFTMAX:
            self._on_scores((args[0] if args else kwargs["input"]).detach())
        elif func is SCALED_DOT_PRODUCT_ATTENTION:
            query, key = (argument.detach() for argument in query_and_key(args, kwargs))
            if query.shape[:-2] == key.shape[:-2]:
                self._on_scores(query @ key.mT * head_scale(query, kwargs))
        return func(*args, **kwargs)


def query_and_key(args: Any, kwargs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return the first two arguments of attention, however they were passed."""
    query = args[0] if args else kwargs["query"]
    return query, args[1] if len(args) > 1 else kwargs["key"]


def head_scale(query: Tensor, kwargs: dict[str, Any]) -> float:
    """Return the factor on attention scores: the one asked for, or 1 / sqrt(size of a head)."""
    scale = kwargs.get("scale")
    return float(query.shape[-1] ** -0.5 if scale is None else scale)
