"""Norms over a padded axis: the padding must count neither in the mean nor in the variance.

`LayerNorm` and `RMSNorm` are replaced by ones that know which positions of an axis are a member's
own; each member of a stack has its own mask.

Entry points: `replace_norms`, `member_masks`.
"""

from typing import cast

import torch
from torch import Tensor, nn

NORMS = (nn.LayerNorm, nn.RMSNorm)


class MaskedNorm(nn.Module):
    """Layer or RMS normalisation of a member's own positions; zero in its padding.

    Attributes:
        weight: The weight of the norm that it replaces, or None.
        bias: The bias of that norm, or None.
        present: bool of the normalized shape: True at a member's own positions. All False until
            it is set to the mask that `member_masks` returns.
        subtract_mean: Whether the mean is subtracted.
    """

    present: Tensor

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        assert isinstance(norm, NORMS)
        self.weight, self.bias = norm.weight, getattr(norm, "bias", None)
        self.eps, self.subtract_mean = norm.eps, isinstance(norm, nn.LayerNorm)
        shape = norm.normalized_shape
        self._axes = tuple(range(-len(shape), 0))
        device = None if norm.weight is None else norm.weight.device
        present = torch.zeros(shape, dtype=torch.bool, device=device)
        self.register_buffer("present", present, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x [..., *shape] normalised."""
        padding = ~self.present
        values = x.masked_fill(padding, 0.0)
        count = self.present.sum()
        if self.subtract_mean:
            mean = values.sum(self._axes, keepdim=True) / count
            values = (values - mean).masked_fill(padding, 0.0)
        variance = values.square().sum(self._axes, keepdim=True) / count
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        values = values * torch.rsqrt(variance + eps)
        if self.weight is not None:
            values = values * self.weight
        return values if self.bias is None else values + self.bias


def replace_norms(template: nn.Module, models: list[nn.Module]) -> None:
    """Replace the template's norms whose shape is padded for some model, in place."""
    replacements = {
        module: MaskedNorm(module)
        for name, module in template.named_modules()
        if type(module) in NORMS
        and any(
            _normalized_shape(model, name) != _normalized_shape(template, name) for model in models
        )
    }
    for parent in list(template.modules()):
        for name, child in parent._modules.items():
            if child in replacements:
                parent._modules[name] = replacements[child]


def member_masks(template: nn.Module, model: nn.Module) -> dict[str, Tensor]:
    """Return a model's masks for the template's replaced norms, by the name of their buffer."""
    return {
        f"{name}.present": torch.ones(_normalized_shape(model, name), dtype=torch.bool)
        for name, module in template.named_modules()
        if isinstance(module, MaskedNorm)
    }


def _normalized_shape(model: nn.Module, name: str) -> tuple[int, ...]:
    return tuple(cast(nn.LayerNorm, model.get_submodule(name)).normalized_shape)
