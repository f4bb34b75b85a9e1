"""Activation checkpointing, switched on from outside a model, and models that do it themselves.

Entry points: `with_activation_checkpointing`, `Recomputing`, `InSequence`.
"""

from functools import partial

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential


def with_activation_checkpointing(model: nn.Module, blocks: tuple[str, ...]) -> nn.Module:
    """Make the modules of these classes recompute their activations in the backward pass."""
    recomputed = [module for module in model.modules() if type(module).__name__ in blocks]
    assert recomputed
    for module in recomputed:
        module.forward = partial(checkpoint, module.forward, use_reentrant=False)
    return model


class Recomputing(nn.Module):
    """Six residual blocks whose activations are computed again."""

    def __init__(self, dropout: float = 0.0, **options: bool) -> None:
        super().__init__()
        self.options = options
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Dropout(dropout), nn.Linear(32, 16))
            for _ in range(6)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + checkpoint(block, x, **self.options)
        return x


class InSequence(nn.Module):
    """Layers that are recomputed in three segments."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(16, 16)
        self.body = nn.Sequential(*(nn.Linear(16, 16) for _ in range(6)))

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint_sequential(self.body, 3, self.stem(x), use_reentrant=False)
