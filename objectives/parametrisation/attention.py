"""Attention as muP needs to know it: the size of the heads, and the scores of one forward pass.

A query and a key that have learnt to agree give a score that grows with their length. While the
head's size is the same at every candidate the usual 1 / sqrt(size) is right; where the widths move
it, only 1 / size is (Tensor Programs V, definition 4.1).

torch's own `MultiheadAttention` is read off; calls of `scaled_dot_product_attention` and of softmax
are recorded while a model runs. Attention that multiplies its matrices itself is seen only by what
goes into its softmax.

Entry points: `require_fixed_head_size`; `AttentionRecorder`, with which the check of coordinates
looks at the scores.
"""

from collections.abc import Callable, Sequence
from math import isclose
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..data.streams.batch import Batch
from ..randomness import Randomness
from .errors import MupInapplicable

Head = tuple[int, float]
"""Size of a head, and the factor on its scores."""

_SOFTMAX = (torch.softmax, Tensor.softmax, nn.functional.softmax)


def require_fixed_head_size(models: Sequence[nn.Module], batch: Batch | None) -> None:
    """Look at the attention of the same model at several widths.

    Args:
        models: Throw-away builds, the base first.
        batch: A few samples for a forward pass; None to read modules only.

    Raises:
        MupInapplicable: The widths move a head's size, and its scores do not follow 1 / size.
    """
    base, *others = [_attention_heads(model, batch) for model in models]
    for other in others:
        for (size, factor), (other_size, other_factor) in zip(base, other, strict=False):
            if not isclose(size * factor, other_size * other_factor) and size != other_size:
                raise MupInapplicable(
                    f"the widths move the size of the attention heads ({size} and {other_size}), "
                    "while their scores are not divided by it: keep the head size and search the "
                    "number of heads, or pass scale = c / size to the attention"
                )


def _attention_heads(model: nn.Module, batch: Batch | None) -> list[Head]:
    head_sizes = [
        module.head_dim for module in model.modules() if isinstance(module, nn.MultiheadAttention)
    ]
    heads = [(size, size**-0.5) for size in head_sizes]
    if batch is not None:
        # Training mode: torch's encoder takes a short cut otherwise. Dropout draws its own numbers.
        recorder = AttentionRecorder(on_head=heads.append)
        with Randomness(0, torch.device("cpu")), torch.no_grad(), recorder:
            batch.call(model.train())
    return heads


@final
class AttentionRecorder(TorchFunctionMode):
    """Hands on the attention that is computed inside `with`, in the order of the calls.

    The insides of torch's `MultiheadAttention` are not seen.
    """

    def __init__(
        self,
        *,
        on_head: Callable[[Head], None] | None = None,
        on_scores: Callable[[Tensor], None] | None = None,
    ) -> None:
        """Take the callbacks.

        Args:
            on_head: Called with the head of every `scaled_dot_product_attention`.
            on_scores: Called with what goes into every softmax, before any mask; the scores of
                `scaled_dot_product_attention` are computed once more for it.
        """
        super().__init__()
        self._on_head = on_head
        self._on_scores = on_scores

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is nn.functional.scaled_dot_product_attention:
            self._record_attention(args, kwargs)
        elif func in _SOFTMAX and self._on_scores is not None:
            self._on_scores((args[0] if args else kwargs["input"]).detach())
        return func(*args, **kwargs)

    def _record_attention(self, args: Any, kwargs: dict[str, Any]) -> None:
        query = (args[0] if args else kwargs["query"]).detach()
        key = (args[1] if len(args) > 1 else kwargs["key"]).detach()
        size = query.shape[-1]
        scale = kwargs.get("scale")
        factor = float(size**-0.5 if scale is None else scale)
        if self._on_head is not None:
            self._on_head((size, factor))
        if self._on_scores is not None and query.shape[:-2] == key.shape[:-2]:
            self._on_scores(query @ key.mT * factor)
