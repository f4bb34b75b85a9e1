"""Perceptrons: plain, residual, two heads, two inputs, an autoencoder, experts, branches."""

import torch
from torch import Tensor, nn

from .architecture import Architecture, Width, numbers


class Perceptron(nn.Module):
    """Two hidden layers of the same size, which are two widths all the same."""

    def __init__(self, hidden1: int = 20, hidden2: int = 20) -> None:
        super().__init__()
        self.fc1 = nn.Linear(10, hidden1)
        self.fc2 = nn.Linear(hidden1, hidden2)
        self.fc3 = nn.Linear(hidden2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.fc1(x))
        return self.fc3(torch.relu(self.fc2(x)))


PLAIN = Architecture(
    make=Perceptron,
    build=Perceptron,
    inputs=(numbers(10),),
    widths=(
        Width("hidden1", 20, "fc1.*:0 fc2.weight:1", called=("fc1",)),
        Width("hidden2", 20, "fc2.*:0 fc3.weight:1", called=("fc2",)),
    ),
    fixed={"fc1": "input size", "fc3": "output size"},
)


class ResidualBlock(nn.Module):
    """LayerNorm, up, down, and the way around them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.dropout(self.down(nn.functional.gelu(self.up(self.norm(x)))))


class ResidualPerceptron(nn.Module):
    """As for tables: a stem, blocks, a head."""

    def __init__(self, width: int = 16, hidden: int = 24, blocks: int = 3) -> None:
        super().__init__()
        self.stem = nn.Linear(12, width)
        self.blocks = nn.Sequential(*[ResidualBlock(width, hidden) for _ in range(blocks)])
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)))


RESIDUAL = Architecture(
    make=ResidualPerceptron,
    build=ResidualPerceptron,
    inputs=(numbers(12),),
    widths=(
        Width(
            "width",
            16,
            "stem.*:0 blocks.*.norm.*:0 blocks.*.up.weight:1 blocks.*.down.*:0 head.weight:1",
        ),
        Width("hidden", 24, "blocks.*.up.*:0 blocks.*.down.weight:1"),
    ),
    fixed={"stem": "input size", "head": "output size"},
)


class ActorCritic(nn.Module):
    """A trunk, a head for the policy and one for the value, as in reinforcement learning."""

    def __init__(self, trunk: tuple[int, int] = (20, 16), policy: int = 12, value: int = 8) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Linear(7, trunk[0]), nn.Tanh(), nn.Linear(trunk[0], trunk[1]), nn.Tanh()
        )
        self.policy = nn.Sequential(nn.Linear(trunk[1], policy), nn.Tanh(), nn.Linear(policy, 4))
        self.value = nn.Sequential(nn.Linear(trunk[1], value), nn.Tanh(), nn.Linear(value, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.trunk(x)
        return self.policy(x).log_softmax(-1), self.value(x).squeeze(-1)


TWO_HEADS = Architecture(
    make=ActorCritic,
    build=lambda first=20, second=16, policy=12, value=8: ActorCritic(
        (first, second), policy, value
    ),
    inputs=(numbers(7),),
    widths=(
        Width("first", 20, "trunk.0.*:0 trunk.2.weight:1", called=("trunk.0",)),
        Width(
            "second",
            16,
            "trunk.2.*:0 policy.0.weight:1 value.0.weight:1",
            called=("trunk.2",),
        ),
        Width("policy", 12, "policy.0.*:0 policy.2.weight:1", called=("policy.0",)),
        Width("value", 8, "value.0.*:0 value.2.weight:1", called=("value.0",)),
    ),
    fixed={"trunk.0": "input size", "policy.2": "output size", "value.2": "output size"},
)


class ImageAndTable(nn.Module):
    """A picture and a row of a table, side by side before the last layers."""

    def __init__(self, channels: int = 6, hidden: int = 10, joint: int = 14) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.table = nn.Linear(5, hidden)
        self.joint = nn.Linear(channels * 4 * 4 + hidden, joint)
        self.out = nn.Linear(joint, 1)

    def forward(self, image: Tensor, row: Tensor) -> Tensor:
        seen = torch.flatten(torch.relu(self.conv(image)), 1)
        known = torch.relu(self.table(row))
        return self.out(torch.relu(self.joint(torch.cat([seen, known], dim=1))))


TWO_INPUTS = Architecture(
    make=ImageAndTable,
    build=ImageAndTable,
    inputs=(numbers(1, 8, 8), numbers(5)),
    widths=(
        Width("channels", 6, "conv.*:0 joint.weight:1", called=("conv",)),
        Width("hidden", 10, "table.*:0 joint.weight:1", called=("table",)),
        Width("joint", 14, "joint.*:0 out.weight:1"),
    ),
    fixed={"conv": "input size", "table": "input size", "out": "output size"},
)


class Autoencoder(nn.Module):
    """Down to a code, and up again."""

    def __init__(self, sizes: tuple[int, int, int] = (16, 4, 12)) -> None:
        super().__init__()
        into, code, back = sizes
        self.encoder = nn.Sequential(nn.Linear(18, into), nn.ReLU(), nn.Linear(into, code))
        self.decoder = nn.Sequential(nn.Linear(code, back), nn.ReLU(), nn.Linear(back, 18))

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


AUTOENCODER = Architecture(
    make=Autoencoder,
    build=lambda into=16, code=4, back=12: Autoencoder((into, code, back)),
    inputs=(numbers(18),),
    widths=(
        Width("into", 16, "encoder.0.*:0 encoder.2.weight:1", called=("encoder.0",)),
        Width("code", 4, "encoder.2.*:0 decoder.0.weight:1", called=("encoder.2",)),
        Width("back", 12, "decoder.0.*:0 decoder.2.weight:1", called=("decoder.0",)),
    ),
    fixed={"encoder.0": "input size", "decoder.2": "output size"},
)


class Expert(nn.Module):
    """A feed-forward layer."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(d_model, d_ff)
        self.w2 = nn.Linear(d_ff, d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(torch.relu(self.w1(x)))


class MixtureOfExperts(nn.Module):
    """Every expert's answer, weighted by a gate."""

    def __init__(self, d_model: int = 12, d_ff: int = 20, experts: int = 3) -> None:
        super().__init__()
        self.embed = nn.Linear(9, d_model)
        self.gate = nn.Linear(d_model, experts)
        self.experts = nn.ModuleList([Expert(d_model, d_ff) for _ in range(experts)])
        self.norm = nn.LayerNorm(d_model)
        self.out = nn.Linear(d_model, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        weights = self.gate(x).softmax(dim=-1)
        answers = torch.stack([expert(x) for expert in self.experts], dim=-1)
        return self.out(self.norm(x + (answers * weights.unsqueeze(1)).sum(dim=-1)))


EXPERTS = Architecture(
    make=MixtureOfExperts,
    build=MixtureOfExperts,
    inputs=(numbers(9),),
    widths=(
        Width(
            "d_model",
            12,
            "embed.*:0 gate.weight:1 experts.*.w1.weight:1 experts.*.w2.*:0 norm.*:0 out.weight:1",
        ),
        Width("d_ff", 20, "experts.*.w1.*:0 experts.*.w2.weight:1"),
    ),
    fixed={"embed": "input size", "gate": "by forward", "out": "output size"},
)


class Branching(nn.Module):
    """Which layer comes next depends on the numbers themselves."""

    def __init__(self, stem: int = 12, hidden: int = 8) -> None:
        super().__init__()
        self.stem = nn.Linear(6, stem)
        self.calm = nn.Linear(stem, hidden)
        self.wild = nn.Linear(stem, hidden)
        self.head = nn.Linear(hidden, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = self.wild(x) if x.var() > 1 else self.calm(x)
        return self.head(torch.relu(x))


BRANCHING = Architecture(
    make=Branching,
    build=Branching,
    inputs=(numbers(6),),
    widths=(),
    fixed=dict.fromkeys(("stem", "calm", "wild", "head"), "data-dependent control flow"),
)
