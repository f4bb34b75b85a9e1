"""Rules of kernels without symbolic sizes, judged against the layers built at other sizes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.discovery.discover import discover
from widthwise.objectives.training.step import TensorSpec

SERIES = (TensorSpec(shape=(6, 5)),)


class Layers(nn.Module):
    """A recurrent stack between an input and a last layer."""

    def __init__(self, stack: nn.RNNBase, given: int) -> None:
        super().__init__()
        self.stack = stack
        self.last = nn.Linear(given, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.stack(x)[0][:, -1])


class Cells(nn.Module):
    """Two cells, the second of which reads what the first gives."""

    def __init__(self, first: int = 7, second: int = 9, bias: bool = True) -> None:
        super().__init__()
        self.sizes = [first, second]
        self.one, self.two = nn.GRUCell(5, first, bias=bias), nn.LSTMCell(first, second, bias=bias)
        self.last = nn.Linear(second, 2)

    def forward(self, x: Tensor) -> Tensor:
        first, second, cell = (x.new_zeros(len(x), self.sizes[n]) for n in (0, 1, 1))
        for step in range(x.shape[1]):
            first = self.one(x[:, step], first)
            second, cell = self.two(first, (second, cell))
        return self.last(second)


class Pair(nn.Module):
    """A bilinear layer of two linear ones."""

    def __init__(self, first: int = 7, second: int = 9, given: int = 4) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, first), nn.Linear(5, second)
        self.both, self.last = nn.Bilinear(first, second, given), nn.Linear(given, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.both(self.a(x), self.b(x)).mean(1))


class Normed(nn.Module):
    """Channels that are normed in four groups, and each by itself."""

    def __init__(self, first: int = 8, second: int = 12) -> None:
        super().__init__()
        self.a, self.b = nn.Conv1d(6, first, 1), nn.Conv1d(first, second, 1)
        self.in_four, self.by_itself = nn.GroupNorm(4, first), nn.GroupNorm(second, second)
        self.last = nn.Linear(second, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.by_itself(self.b(self.in_four(self.a(x)))).mean(-1))


@pytest.mark.parametrize(
    ("build", "today", "other"),
    [
        pytest.param(
            lambda h: Layers(nn.GRU(5, h, 2, batch_first=True, bias=False), h),
            (8,),
            (11,),
            id="gru-without-bias",
        ),
        pytest.param(
            lambda h, p: Layers(
                nn.LSTM(5, h, 2, batch_first=True, proj_size=p, bidirectional=True), 2 * p
            ),
            (8, 3),
            (12, 5),
            id="projected-lstm",
        ),
        pytest.param(
            lambda h: Layers(nn.RNN(5, h, batch_first=True, nonlinearity="relu"), h),
            (8,),
            (3,),
            id="rnn",
        ),
        pytest.param(Cells, (7, 9), (4, 15), id="cells"),
        pytest.param(lambda a, b: Cells(a, b, bias=False), (7, 9), (8, 8), id="cells-no-bias"),
        pytest.param(Pair, (7, 9, 4), (2, 3, 5), id="bilinear"),
        pytest.param(Normed, (8, 12), (20, 5), id="group-norm"),
    ],
)
def test_sizes_follow_as_the_layers_own_constructors_have_them(
    build: Callable[..., nn.Module], today: tuple[int, ...], other: tuple[int, ...]
) -> None:
    discovery = discover(lambda: build(*today), SERIES)
    assert [group.size for group in discovery.groups] == list(today)
    names = [group.name for group in discovery.groups]
    rebuilt = {n: tuple(t.shape) for n, t in build(*other).state_dict().items()}
    assert discovery.shapes(dict(zip(names, other, strict=True))) == rebuilt


def test_a_cell_of_the_wrong_size_is_refused_as_torch_refuses_it() -> None:
    class Wrong(Cells):
        def __init__(self) -> None:
            super().__init__()
            self.sizes = [8, 9]

    with pytest.raises(RuntimeError):
        Wrong()(torch.zeros(2, 6, 5))
    with pytest.raises(Exception, match="cannot be called with this example"):
        discover(Wrong, SERIES)


def test_channels_in_groups_are_a_multiple_of_the_groups() -> None:
    discovery = discover(Normed, SERIES)
    assert [group.multiple_of for group in discovery.groups] == [4, 1]
    assert [str(e) for e in (discovery.attributes["by_itself", "num_groups"],)] == ["second"]


class Padded(nn.Module):
    """A depthwise convolution that is padded by hand, and two more ways to pad."""

    def __init__(self, channels: int = 6) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, channels, 1)
        self.depthwise = nn.Conv2d(channels, channels, 3, groups=channels)
        self.last = nn.Conv2d(channels + 2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(nn.functional.pad(self.first(x), (1, 1, 1, 1)))
        x = nn.functional.pad(nn.functional.pad(x, (2, 2, 0, 0), mode="reflect"), (0, -4))
        return self.last(nn.functional.pad(x, (0, 0, 0, 0, 1, 1), value=0.5))


def test_padding_keeps_and_adds_to_sizes() -> None:
    discovery = discover(Padded, (TensorSpec(shape=(3, 8, 8)),))
    (group,) = discovery.groups
    assert (group.size, group.multiple_of) == (6, 1)
    shapes = discovery.shapes({group.name: 9})
    expected = {name: tuple(value.shape) for name, value in Padded(9).named_parameters()}
    assert {name: shapes[name] for name in expected} == expected
