"""Small networks whose tensors have several consumers, and linear layers on views.

Entry points: `CONSUMERS` (inputs of 16 numbers), `LINEARS` (inputs of 12 × 10), `Calls`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Calls(nn.Module):
    """Layers by name, and a function of them and the input as the forward pass."""

    def __init__(self, function: Callable[..., object], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.layers = nn.ModuleDict(layers)

    def forward(self, x: Tensor) -> object:
        return self.function(x, **self.layers)


def five_heads() -> nn.Module:
    """Return a network: five heads."""

    def forward(x: Tensor, trunk: nn.Module, **heads: nn.Module) -> object:
        x = trunk(x).relu()
        return tuple(head(x) for head in heads.values())

    return Calls(forward, trunk=nn.Linear(16, 64), **{f"h{i}": nn.Linear(64, 2) for i in range(5)})


def residual_blocks() -> nn.Module:
    """Return a network: residual blocks."""

    def forward(x: Tensor, stem: nn.Module, **blocks: nn.Module) -> Tensor:
        x = stem(x)
        for block in blocks.values():
            x = x + block(x)
        return x

    block = lambda: nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 96), nn.GELU(), nn.Linear(96, 32))  # noqa: E731
    return Calls(forward, stem=nn.Linear(16, 32), **{f"b{i}": block() for i in range(3)})


def densely_connected() -> nn.Module:
    """Return a network: densely connected."""

    def forward(x: Tensor, **layers: nn.Module) -> Tensor:
        features = [x]
        for layer in layers.values():
            features.append(layer(torch.cat(features, 1)).relu())
        return torch.cat(features, 1)

    return Calls(forward, **{f"l{i}": nn.Linear(16 + 24 * i, 24) for i in range(4)})


def one_layer_used_three_times() -> nn.Module:
    """Return a network: one layer used three times."""

    def forward(x: Tensor, stem: nn.Module, shared: nn.Module) -> Tensor:
        return shared(shared(shared(stem(x)).tanh()).tanh())

    return Calls(forward, stem=nn.Linear(16, 128), shared=nn.Linear(128, 128))


def gated() -> nn.Module:
    """Return a network: gated."""

    def forward(x: Tensor, left: nn.Module, right: nn.Module, out: nn.Module) -> Tensor:
        return out(left(x) * right(x).sigmoid() + left(x) * x.mean(1, keepdim=True))

    return Calls(forward, left=nn.Linear(16, 64), right=nn.Linear(16, 64), out=nn.Linear(64, 64))


def squeeze_and_excitation() -> nn.Module:
    """Return a network: squeeze and excitation."""

    def forward(x: Tensor, stem: nn.Module, squeeze: nn.Module) -> Tensor:
        x = stem(x)
        return x * squeeze(x * x).sigmoid() + x

    return Calls(forward, stem=nn.Linear(16, 64), squeeze=nn.Linear(64, 64))


def views_of_one_tensor() -> nn.Module:
    """Return a network: views of one tensor."""

    def forward(x: Tensor, stem: nn.Module, one: nn.Module, two: nn.Module) -> Tensor:
        a, b, c = stem(x).chunk(3, 1)
        return one(a) * two(b) + one(c) * a

    return Calls(forward, stem=nn.Linear(16, 96), one=nn.Linear(32, 32), two=nn.Linear(32, 32))


def broadcast_sum() -> nn.Module:
    """The gradient of a broadcast tensor is expanded: torch must not add into that."""

    def forward(x: Tensor, stem: nn.Module) -> Tensor:
        x = stem(x)
        return x - x.mean(0) - x.sum() + x.amax(1, keepdim=True)

    return Calls(forward, stem=nn.Linear(16, 64))


def both_moments() -> nn.Module:
    """Their derivative adds two tensors by itself, to a new one."""

    def forward(x: Tensor, stem: nn.Module) -> tuple[Tensor, Tensor]:
        return torch.var_mean(stem(x), 1)

    return Calls(forward, stem=nn.Linear(16, 256))


def looked_up() -> nn.Module:
    """Derivatives of look-ups scatter into zeros."""

    def forward(x: Tensor, stem: nn.Module, out: nn.Module) -> Tensor:
        x = stem(x)
        index = torch.zeros(len(x), 64, dtype=torch.int64)
        rows = torch.arange(len(x))
        return out(x.gather(1, index) + x[rows] + x.max(1, keepdim=True)[0])

    return Calls(forward, stem=nn.Linear(16, 64), out=nn.Linear(64, 64))


def in_place_operators() -> nn.Module:
    """Return a network: in place operators."""

    def forward(x: Tensor, stem: nn.Module, out: nn.Module) -> Tensor:
        x = stem(x)
        y = x.clone().mul_(x).add_(x)
        y[:, :8] += x[:, :8]
        return out(nn.functional.relu_(y)) + x

    return Calls(forward, stem=nn.Linear(16, 64), out=nn.Linear(64, 64))


def spectral() -> nn.Module:
    """Complex gradients are added too."""

    def forward(x: Tensor, stem: nn.Module, out: nn.Module) -> Tensor:
        x = stem(x)
        spectrum = torch.view_as_complex(x.view(len(x), 32, 2))
        return out((spectrum * spectrum + spectrum).abs())

    return Calls(forward, stem=nn.Linear(16, 64), out=nn.Linear(32, 2))


CONSUMERS: dict[str, Callable[[], nn.Module]] = {
    build.__name__.replace("_", " "): build
    for build in (
        five_heads,
        residual_blocks,
        densely_connected,
        one_layer_used_three_times,
        gated,
        squeeze_and_excitation,
        views_of_one_tensor,
        broadcast_sum,
        both_moments,
        looked_up,
        in_place_operators,
    )
}


def linear_of(view: Callable[[Tensor], Tensor], width: int, bias: bool = True) -> nn.Module:
    return Calls(lambda x, layer: layer(view(x)), layer=nn.Linear(width, 64, bias=bias))


LINEARS: dict[str, Callable[[], nn.Module]] = {
    "transposed": lambda: linear_of(lambda x: x.transpose(1, 2), 12),
    "transposed, no bias": lambda: linear_of(lambda x: x.transpose(1, 2), 12, bias=False),
    "permuted": lambda: linear_of(lambda x: x.unflatten(2, (5, 2)).permute(0, 2, 3, 1), 12),
    "every other row": lambda: linear_of(lambda x: x[:, ::2], 10),
    "expanded": lambda: linear_of(lambda x: x[:, :1].expand(-1, 7, -1), 10),
    "contiguous, four dimensions": lambda: linear_of(lambda x: x.unflatten(1, (3, 4)), 10),
    "one sample": lambda: linear_of(lambda x: x[0, 0], 10),
    "added by hand": lambda: Calls(
        lambda x, layer: x.transpose(1, 2) @ layer.weight.t() + layer.bias, layer=nn.Linear(12, 64)
    ),
    "gru of a transposed input": lambda: Calls(
        lambda x, gru: gru(x.transpose(1, 2))[0], gru=nn.GRU(12, 32, batch_first=True)
    ),
}
