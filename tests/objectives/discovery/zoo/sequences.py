"""Models of sequences: LSTM, GRU with attention, dilated convolutions, convolutions and GRU."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from .architecture import Architecture, Width, numbers, words


class Tagger(nn.Module):
    """An embedding, an LSTM of two layers that reads both ways, a label for every word."""

    def __init__(self, embedding: int = 6, hidden: int = 5) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, embedding)
        self.lstm = nn.LSTM(embedding, hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.tags = nn.Linear(2 * hidden, 4)

    def forward(self, words: Tensor) -> Tensor:
        states, _ = self.lstm(self.embedding(words))
        return self.tags(states)


LSTM = Architecture(
    make=Tagger,
    build=Tagger,
    inputs=(words(7),),
    widths=(
        Width("embedding", 6, "embedding.weight:1 lstm.weight_ih_l0*:1", called=("embedding_dim",)),
        Width(
            "hidden",
            5,
            "lstm.*_l?:0 lstm.*_reverse:0 lstm.weight_hh_*:1 lstm.weight_ih_l1*:1 tags.weight:1",
            called=("hidden_size", "lstm"),
        ),
    ),
    fixed={"embedding": "number of embeddings", "tags": "output size"},
)


class AttentiveReader(nn.Module):
    """A GRU, and a weighted mean of its states."""

    def __init__(self, hidden: int = 8, attention: int = 6) -> None:
        super().__init__()
        self.gru = nn.GRU(3, hidden, batch_first=True)
        self.attention = nn.Linear(hidden, attention)
        self.score = nn.Linear(attention, 1, bias=False)
        self.out = nn.Linear(2 * hidden, 2)

    def forward(self, x: Tensor) -> Tensor:
        states, last = self.gru(x)
        weights = torch.softmax(self.score(torch.tanh(self.attention(states))), dim=1)
        context = torch.bmm(weights.transpose(1, 2), states).squeeze(1)
        return self.out(torch.cat([context, last[-1]], dim=-1))


GRU = Architecture(
    make=AttentiveReader,
    build=AttentiveReader,
    inputs=(numbers(9, 3),),
    widths=(
        Width(
            "hidden",
            8,
            "gru.*:0 gru.weight_hh_l0:1 attention.weight:1 out.weight:1",
            called=("hidden_size", "gru"),
        ),
        Width("attention", 6, "attention.*:0 score.weight:1"),
    ),
    fixed={"gru": "input size", "score": "broadcasts", "out": "output size"},
)


class TemporalBlock(nn.Module):
    """Two dilated convolutions with weight norm, and the way around."""

    def __init__(self, inputs: int, inner: int, outputs: int, dilation: int) -> None:
        super().__init__()
        pad = dilation
        self.conv1 = weight_norm(nn.Conv1d(inputs, inner, 3, padding=pad, dilation=dilation))
        self.conv2 = weight_norm(nn.Conv1d(inner, outputs, 3, padding=pad, dilation=dilation))
        self.match = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        return torch.relu(y + self.match(x))


class TemporalNetwork(nn.Module):
    """A temporal convolutional network of two blocks."""

    def __init__(self, inner: int = 6, channels: int = 8, inner2: int = 5) -> None:
        super().__init__()
        self.first = TemporalBlock(2, inner, channels, 1)
        self.second = TemporalBlock(channels, inner2, channels, 2)
        self.out = nn.Linear(channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.second(self.first(x))[:, :, -1])


TCN = Architecture(
    make=TemporalNetwork,
    build=TemporalNetwork,
    inputs=(numbers(2, 10),),
    widths=(
        Width(
            "inner",
            6,
            "first.conv1.bias:0 first.conv1.*.original?:0 first.conv2.*.original1:1",
            called=("first.conv1", "first_inner"),
        ),
        Width(
            "channels",
            8,
            "first.conv2.bias:0 first.conv2.*.original?:0 first.match.*:0"
            " second.conv1.*.original1:1"
            " second.conv2.bias:0 second.conv2.*.original?:0 out.weight:1",
            called=("first.conv2", "outputs"),
        ),
        Width(
            "inner2",
            5,
            "second.conv1.bias:0 second.conv1.*.original?:0 second.conv2.*.original1:1",
            called=("second.conv1", "second_inner"),
        ),
    ),
    fixed={
        "first.conv1*": "input size",
        "first.match": "input size",
        "out": "output size",
    },
)


class TextLine(nn.Module):
    """Convolutions, whose columns a GRU reads."""

    def __init__(self, conv1: int = 4, conv2: int = 6, hidden: int = 7) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, conv1, 3, padding=1)
        self.conv2 = nn.Conv2d(conv1, conv2, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.rnn = nn.GRU(conv2 * 2, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Linear(hidden * 2, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        columns = x.permute(0, 3, 1, 2).flatten(2)
        return self.out(self.rnn(columns)[0])


CRNN = Architecture(
    make=TextLine,
    build=TextLine,
    inputs=(numbers(1, 8, 12),),
    widths=(
        Width("conv1", 4, "conv1.*:0 conv2.weight:1"),
        Width("conv2", 6, "conv2.*:0 rnn.weight_ih_l0*:1"),
        Width(
            "hidden",
            7,
            "rnn.*:0 rnn.weight_hh_*:1 out.weight:1",
            called=("hidden_size", "rnn"),
        ),
    ),
    fixed={"conv1": "input size", "out": "output size"},
)
