"""Perceptrons, recurrent nets and a tied embedding."""

from itertools import pairwise

from torch import Tensor, nn

MLP = (784, 512, 256, 10)


def mlp(widths: tuple[int, ...] = MLP) -> nn.Module:
    """Return a perceptron with ReLUs between its layers."""
    layers = [module for a, b in pairwise(widths) for module in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


class TwoHeads(nn.Module):
    """31 → 64 → 32 → (4, 4): one trunk, two classifiers."""

    def __init__(self, inputs: int = 31, first: int = 64, second: int = 32, classes: int = 4):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Linear(inputs, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU()
        )
        self.left, self.right = nn.Linear(second, classes), nn.Linear(second, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.trunk(x)
        return self.left(x), self.right(x)


class Recurrent(nn.Module):
    """A recurrent classifier of sequences: its head reads the last step."""

    def __init__(
        self, kind: type[nn.RNNBase], inputs: int, hidden: int, layers: int, classes: int
    ) -> None:
        super().__init__()
        self.layers = kind(inputs, hidden, num_layers=layers, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x)[0][:, -1])


class TiedBigram(nn.Module):
    """A neural bigram: embedding, one hidden layer, and an output that shares the embedding."""

    def __init__(self, words: int = 10_000, width: int = 256) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.out = nn.Linear(width, words, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, words: Tensor) -> Tensor:
        return self.out(self.hidden(self.embedding(words)))
