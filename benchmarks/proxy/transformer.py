"""A small Transformer encoder that classifies signals, cut into a few points a token.

The residual stream, the heads and the feed-forward layers have widths of their own. Attention has
no biases: a key's bias shifts all scores alike, so its gradient is only rounding, which Adam would
turn into steps.

Entry point: `build_transformer`.
"""

from collections.abc import Mapping

from torch import Tensor, nn, zeros
from torch.nn.functional import scaled_dot_product_attention

BLOCKS = 2
HEAD_SIZE = 8
"""Numbers in a head, at every width."""

TOKENS = 20


def build_transformer(widths: Mapping[str, int], *, points: int, outputs: int) -> nn.Module:
    """Return an encoder.

    Args:
        widths: `model`, `heads` and `feed_forward`, the same in all blocks.
        points: Points of a signal; a multiple of the tokens.
        outputs: Number of classes.
    """
    model = widths["model"]
    blocks = [_Block(model, widths["heads"], widths["feed_forward"]) for _ in range(BLOCKS)]
    return nn.Sequential(
        _TokenEmbedding(points, model),
        *blocks,
        nn.LayerNorm(model),
        _MeanPool(),
        nn.Linear(model, outputs),
    )


class _TokenEmbedding(nn.Module):
    """`[rows, points]` to `[rows, tokens, model]`."""

    def __init__(self, points: int, model: int) -> None:
        super().__init__()
        self.split = nn.Unflatten(1, (TOKENS, points // TOKENS))
        self.embed = nn.Linear(points // TOKENS, model)
        self.position = nn.Parameter(zeros(TOKENS, model))

    def forward(self, signals: Tensor) -> Tensor:
        embedded: Tensor = self.embed(self.split(signals))
        return embedded + self.position


class _Block(nn.Module):
    """Attention and a feed-forward layer, each after a norm and added to the residual stream."""

    def __init__(self, model: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.attend = nn.Sequential(nn.LayerNorm(model), _Attention(model, heads))
        self.feed = nn.Sequential(
            nn.LayerNorm(model),
            nn.Linear(model, feed_forward),
            nn.GELU(),
            nn.Linear(feed_forward, model),
        )

    def forward(self, stream: Tensor) -> Tensor:
        stream = stream + self.attend(stream)
        fed: Tensor = self.feed(stream)
        return stream + fed


class _Attention(nn.Module):
    def __init__(self, model: int, heads: int) -> None:
        super().__init__()
        self.queries, self.keys, self.values = (
            nn.Linear(model, heads * HEAD_SIZE, bias=False) for _ in range(3)
        )
        self.out = nn.Linear(heads * HEAD_SIZE, model, bias=False)

    def forward(self, stream: Tensor) -> Tensor:
        parts = (
            layer(stream).unflatten(-1, (-1, HEAD_SIZE)).transpose(1, 2)
            for layer in (self.queries, self.keys, self.values)
        )
        attended = scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
        mixed: Tensor = self.out(attended)
        return mixed


class _MeanPool(nn.Module):
    def forward(self, stream: Tensor) -> Tensor:
        return stream.mean(1)
