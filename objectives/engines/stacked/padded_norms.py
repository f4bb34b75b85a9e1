"""Norms over a padded axis: the padding must count neither in the mean nor in the variance.

`LayerNorm` and `RMSNorm` are swapped for ones that know which places of an axis are a member's
own; each member of a stack has its own mask.

Entry points: `swap_norms`, `masks`.
"""

from typing import cast

import torch
from torch import Tensor, nn

NORMS = (nn.LayerNorm, nn.RMSNorm)


class MaskedNorm(nn.Module):
    """Layer or RMS normalisation of a member's own places; zero in its padding.

    Attributes:
        weight: As of the norm it stands for, or None.
        bias: Likewise.
        present: bool of the normalized shape: True at a member's own places, of which `masks`
            tells; nowhere before.
        centred: Whether the mean is taken away.
    """

    present: Tensor

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        assert isinstance(norm, NORMS)
        self.weight, self.bias = norm.weight, getattr(norm, "bias", None)
        self.eps, self.centred = norm.eps, isinstance(norm, nn.LayerNorm)
        shape = norm.normalized_shape
        self._axes = tuple(range(-len(shape), 0))
        device = None if norm.weight is None else norm.weight.device
        present = torch.zeros(shape, dtype=torch.bool, device=device)
        self.register_buffer("present", present, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x [..., *shape] normalised."""
        absent = ~self.present
        own = x.masked_fill(absent, 0.0)
        numbers = self.present.sum()
        if self.centred:
            mean = own.sum(self._axes, keepdim=True) / numbers
            own = (own - mean).masked_fill(absent, 0.0)
        variance = own.square().sum(self._axes, keepdim=True) / numbers
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        own = own * torch.rsqrt(variance + eps)
        if self.weight is not None:
            own = own * self.weight
        return own if self.bias is None else own + self.bias


def swap_norms(template: nn.Module, models: list[nn.Module]) -> None:
    """Swap the template's norms of a shape that some model pads, in place."""
    swapped = {
        module: MaskedNorm(module)
        for name, module in template.named_modules()
        if type(module) in NORMS and any(_shape(m, name) != _shape(template, name) for m in models)
    }
    for parent in list(template.modules()):
        for name, child in parent._modules.items():
            if child in swapped:
                parent._modules[name] = swapped[child]


def masks(template: nn.Module, model: nn.Module) -> dict[str, Tensor]:
    """Return a model's own places in the template's swapped norms, by the buffer's name."""
    return {
        f"{name}.present": torch.ones(_shape(model, name), dtype=torch.bool)
        for name, module in template.named_modules()
        if isinstance(module, MaskedNorm)
    }


def _shape(model: nn.Module, name: str) -> tuple[int, ...]:
    return tuple(cast(nn.LayerNorm, model.get_submodule(name)).normalized_shape)
