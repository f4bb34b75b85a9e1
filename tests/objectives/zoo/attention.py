"""ViT-B/16, torch's own encoder, and BERT and GPT-2 as Hugging Face builds them from a config."""

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel


class Block(nn.Module):
    """A pre-norm encoder block whose heads may be of any number and size."""

    def __init__(self, width: int, heads: int, head_size: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * heads * head_size)
        self.out = nn.Linear(heads * head_size, width)
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        parts = self.project(self.norm1(x)).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        attended = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.feed(self.norm2(x))


class VisionTransformer(nn.Module):
    """A Vision Transformer (Dosovitskiy et al. 2021); the defaults are ViT-B/16 at 224."""

    def __init__(
        self,
        *,
        side: int = 224,
        patch: int = 16,
        heads: int = 12,
        head_size: int = 64,
        hidden: int = 3072,
        layers: int = 12,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        width = heads * head_size
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, (side // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(
            *(Block(width, heads, head_size, hidden) for _ in range(layers)), nn.LayerNorm(width)
        )
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        return self.head(self.blocks(x)[:, 0])


def encoder(width: int = 512, heads: int = 8, hidden: int = 2048, layers: int = 6) -> nn.Module:
    """Return torch's encoder; the defaults are the Transformer's base model (Vaswani 2017)."""
    layer = nn.TransformerEncoderLayer(width, heads, hidden, batch_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


class Bert(nn.Module):
    """BERT's encoder and pooler; dropout off or as published."""

    def __init__(self, dropout: float = 0.1, **options: int) -> None:
        super().__init__()
        config = BertConfig(
            hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, **options
        )
        self.inner = BertModel(config)

    def forward(self, words: Tensor) -> tuple[Tensor, Tensor]:
        output = self.inner(words)
        return output.last_hidden_state, output.pooler_output


class GPT2(nn.Module):
    """GPT-2 with its language-model head, which shares the embedding's weight.

    The causal mask is given: without one the library reads the positions to see whether sequences
    are packed, and where it cannot read values it builds a larger mask.
    """

    def __init__(self, dropout: float = 0.1, **options: int) -> None:
        super().__init__()
        config = GPT2Config(
            resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout, use_cache=False, **options
        )
        self.inner = GPT2LMHeadModel(config)

    def forward(self, words: Tensor) -> Tensor:
        tokens = words.shape[1]
        causal = torch.ones(tokens, tokens, dtype=torch.bool, device=words.device).tril()
        mask = causal.expand(len(words), 1, tokens, tokens)
        return self.inner(words, attention_mask=mask).logits
