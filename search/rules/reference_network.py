"""Reference networks: the plain network of each kind, whose memory is counted.

`parameter_count` has their parameters by formula. Entry points: `reference_network`, `sample_spec`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...objectives.model.families.feedforward import build_cnn, build_mlp
from ...objectives.training.step import TensorSpec
from .inquiry import Inquiry, Kind, Task

_HEAD_SIZE = 64
"""Width of an attention head, as in Vaswani et al. (2017) and all the published encoders."""


def reference_network(inquiry: Inquiry, width: int) -> nn.Module:
    """Return the network of a width; of a convolutional one it is that of the first block."""
    shape, outputs = inquiry.input_shape, inquiry.outputs
    if inquiry.kind is Kind.MLP:
        widths = {f"hidden{layer}": width for layer in range(1, inquiry.layers + 1)}
        return build_mlp(widths, input_shape=shape, outputs=outputs)
    if inquiry.kind is Kind.CNN:
        widths = {f"channels{block}": width * 2**block for block in range(inquiry.layers)}
        return build_cnn(widths, input_shape=shape, outputs=outputs)
    return SequenceNetwork(inquiry, width)


def sample_spec(inquiry: Inquiry) -> TensorSpec:
    """Return shape and type of what the network is called with, for one sample."""
    if inquiry.task is Task.LANGUAGE:
        return TensorSpec(shape=inquiry.input_shape, dtype=torch.int64)
    if inquiry.task is Task.IMAGE and inquiry.kind is Kind.TRANSFORMER:
        return TensorSpec(shape=(inquiry.steps, inquiry.step_features))  # the patches
    return TensorSpec(shape=inquiry.input_shape)


class SequenceNetwork(nn.Module):
    """Tokens, frames, steps or patches through a transformer encoder or an LSTM, then a head.

    Args:
        inquiry: What it is for.
        width: Of every layer.
    """

    def __init__(self, inquiry: Inquiry, width: int) -> None:
        super().__init__()
        self._every_step = inquiry.predicts_tokens
        is_language, is_encoder = inquiry.task is Task.LANGUAGE, inquiry.kind is Kind.TRANSFORMER
        self.embedding: nn.Module = nn.Identity()
        if is_language:
            assert inquiry.vocabulary is not None
            self.embedding = nn.Embedding(inquiry.vocabulary, width)
        elif is_encoder:
            self.embedding = nn.Linear(inquiry.step_features, width)
        self.positions: nn.Parameter | None = None
        self.body: nn.Module
        if is_encoder:
            self.positions = nn.Parameter(torch.zeros(inquiry.steps, width))
            self.body = nn.Sequential(
                *(
                    nn.TransformerEncoderLayer(
                        width, _heads(width), 4 * width, dropout=0.0, batch_first=True
                    )
                    for _ in range(inquiry.layers)
                )
            )
        else:
            features = width if is_language else inquiry.step_features
            self.body = nn.LSTM(features, width, inquiry.layers, batch_first=True)
        self.head = nn.Linear(width, inquiry.outputs)

    def forward(self, samples: Tensor) -> Tensor:
        """Return the outputs, [n, outputs], or [n, steps, outputs] where tokens are predicted."""
        hidden = self.embedding(samples)
        if self.positions is not None:
            hidden = hidden + self.positions
        hidden = self.body(hidden)
        if isinstance(hidden, tuple):
            hidden = hidden[0]
        output: Tensor = self.head(hidden if self._every_step else hidden.mean(dim=1))
        return output


def _heads(width: int) -> int:
    """Return how many heads a width has; a width that no 64 divides has one."""
    return width // _HEAD_SIZE if width % _HEAD_SIZE == 0 else 1
