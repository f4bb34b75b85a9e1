"""The next character of Python's own help texts, by a Transformer block that sees only the past."""

from pydoc_data.topics import topics

import torch
from torch import nn
from torch.utils.data import Dataset

CHARACTERS = "\n abcdefghijklmnopqrstuvwxyz0123456789.,:;()[]{}'\"=_-*<>/"
LENGTH = 48


def encode(text):
    numbers = {character: number for number, character in enumerate(CHARACTERS, start=1)}
    return torch.tensor([numbers.get(character, 0) for character in text.lower()])


class Text(Dataset):
    """Stretches of text, and the same shifted by one: what comes next at each position."""

    def __init__(self, tokens):
        self.tokens = tokens

    def __len__(self):
        return (len(self.tokens) - 1) // LENGTH

    def __getitem__(self, index):
        start = index * LENGTH
        return self.tokens[start : start + LENGTH], self.tokens[start + 1 : start + LENGTH + 1]


def load():
    tokens = encode("\n".join(topics[name] for name in sorted(topics))[:80_000])
    return Text(tokens[:64_000]), Text(tokens[64_000:])


class LanguageModel(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.scale = 8 / width  # of the attention: 1 / width keeps one learning rate for all widths
        self.embedding = nn.Embedding(len(CHARACTERS) + 1, width)
        self.positions = nn.Embedding(LENGTH, width)
        self.project = nn.Linear(width, 3 * width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.head = nn.Linear(width, len(CHARACTERS) + 1)

    def forward(self, tokens):
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.embedding(tokens) + self.positions(positions)
        query, key, value = self.project(self.norm1(x)).chunk(3, dim=-1)
        x = x + nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=self.scale
        )
        x = x + self.mlp(self.norm2(x))
        return self.head(x)  # [rows, tokens, characters]


def build(widths):
    return LanguageModel(widths["width"], widths["hidden"])
