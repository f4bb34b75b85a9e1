"""The family `transformer`: pre-norm blocks of attention and a feed-forward network.

Samples are sequences: token ids `[steps]`, one number a step `[steps]`, or `[steps, features]`.
Where every step has a class to predict, the network is a decoder (each step sees itself and the
past) and gives logits `[rows, classes, steps]`; else it is an encoder, whose steps are averaged for
`[rows, outputs]`.

    widths: d_model; d_ff for all blocks and depth, or d_ff1, d_ff2, … of each; heads

Attention scores are divided by the size of a head and not by its root, with the usual factor at a
size of 16: so muP holds however the heads are searched (Tensor Programs V, Yang et al. 2022,
definition 4.1).

Entry point: `build_transformer`; `model.family_registry` names it.
"""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

from .activations import ACTIVATIONS
from .sequence_inputs import SequenceInputs
from .width_names import DEFAULT_DEPTH, layer_widths

_BASE_HEAD_SIZE = 16
"""Size of a head at which scores are scaled as usual, by 1 / sqrt(size)."""

_USUAL_HEADS = (4, 2, 1)
"""Heads where no width says how many: the first that divides d_model."""


def build_transformer(
    widths: Mapping[str, int],
    *,
    input_shape: tuple[int, ...],
    outputs: int,
    vocabulary: int | None = None,
    per_step: bool = False,
    activation: str = "gelu",
    dropout: float = 0.0,
    attention: str | None = None,
) -> nn.Module:
    """Return a Transformer.

    Args:
        widths: `d_model`, and maybe `d_ff` (else four times as much) with `depth`, or the `d_ff` of
            each block by number, where 0 is a block that is not there; and `heads`.
        input_shape: `(steps,)` or `(steps, features)`.
        outputs: Classes, or quantities to predict.
        vocabulary: Number of token ids; None where the inputs are numbers.
        per_step: Whether each step has a class of its own.
        activation: Of the feed-forward networks.
        dropout: Share of each block's outputs that is dropped.
        attention: "causal" or "full"; None for causal exactly where each step has a class.

    Raises:
        ValueError: d_model is not divisible by the heads.
    """
    d_model = widths["d_model"]
    heads = widths.get("heads") or next(n for n in _USUAL_HEADS if d_model % n == 0)
    if d_model % heads:
        raise ValueError(f"d_model {d_model} is not divisible by {heads} heads")
    sizes = layer_widths(widths, "d_ff")
    if sizes is None:
        sizes = [widths.get("d_ff", 4 * d_model)] * widths.get("depth", DEFAULT_DEPTH)
    causal = per_step if attention is None else attention == "causal"
    blocks = [Block(d_model, heads, d_ff, activation, dropout, causal=causal) for d_ff in sizes]
    inputs = SequenceInputs(input_shape, d_model, vocabulary)
    return Transformer(inputs, blocks, d_model, outputs, per_step=per_step)


@final
class Transformer(nn.Module):
    """Embedded steps with learned positions, blocks, a last norm and a linear head."""

    def __init__(
        self,
        inputs: SequenceInputs,
        blocks: Sequence[nn.Module],
        d_model: int,
        outputs: int,
        *,
        per_step: bool,
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.positions = nn.Embedding(inputs.steps, d_model)
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, outputs)
        self.per_step = per_step

    def forward(self, x: Tensor) -> Tensor:
        """Return logits or quantities, [rows, outputs], or [rows, classes, steps]."""
        embedded = self.inputs(x)
        positions = torch.arange(embedded.shape[1], device=embedded.device)
        hidden = self.norm(self.blocks(embedded + self.positions(positions)))
        if self.per_step:
            return self.head(hidden).transpose(1, 2)  # type: ignore[no-any-return]
        return self.head(hidden.mean(dim=1))  # type: ignore[no-any-return]


@final
class Block(nn.Module):
    """Attention and a feed-forward network, each after a norm and beside the residual stream."""

    def __init__(
        self, d_model: int, heads: int, d_ff: int, activation: str, dropout: float, *, causal: bool
    ) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.scale = _BASE_HEAD_SIZE**0.5 / (d_model // heads)
        self.attention_norm = nn.LayerNorm(d_model)
        self.project = nn.Linear(d_model, 3 * d_model)
        self.merge = nn.Linear(d_model, d_model)
        self.forward_norm = nn.LayerNorm(d_model)
        self.expand = nn.Linear(d_model, d_ff)
        self.activation = ACTIVATIONS[activation]()
        self.contract = nn.Linear(d_ff, d_model)
        self.attention_dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.forward_dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the stream after this block, [rows, steps, d_model]."""
        rows, steps, _ = x.shape
        projected = self.project(self.attention_norm(x))
        query, key, value = projected.view(rows, steps, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=self.causal, scale=self.scale
        )
        x = x + self.attention_dropout(self.merge(attended.transpose(1, 2).flatten(2)))
        expanded = self.activation(self.expand(self.forward_norm(x)))
        return x + self.forward_dropout(self.contract(expanded))  # type: ignore[no-any-return]
