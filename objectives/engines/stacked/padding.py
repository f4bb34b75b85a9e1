"""Padding: how networks of one structure stand in tensors of common sizes.

Every tensor of a network lies in the leading corner of a larger one, zeros around its parameters:

    true [2, 3]      padded [3, 4]      a stack of them [members, 3, 4]
    a b c            a b c 0
    d e f            d e f 0
                     0 0 0 0

Channels come first in torch, so the corner of a convolution's output, once flattened, is the
corner of the layer after it. Whether a module computes the same so is for `probe` to find out.

Entry points: `Network`, `structure`, `stacked`, `corner`, `Layout`.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..base import Member, Training


@dataclass(frozen=True, kw_only=True)
class Network:
    """A member, built.

    Attributes:
        place: Its place in the team.
        member: What it was built from.
        model: The network of its true size.
        rates: Trainable parameter's name to AdamW's step size.
        kept: Name to what decay leaves of the parameter in a step, 1 without decay.
    """

    place: int
    member: Member
    model: nn.Module
    rates: Mapping[str, float]
    kept: Mapping[str, float]

    @classmethod
    def build(cls, training: Training, place: int, member: Member) -> "Network":
        """Return the freshly initialised network.

        Raises:
            ModelError: The builder raised, gave no module, or one with nothing to train.
        """
        model, _ = training.build(member)
        groups = training.optimizer(model, member).param_groups
        rates = {id(p): group["lr"] for group in groups for p in group["params"]}
        kept = {
            id(p): 1 - group["lr"] * group["weight_decay"]
            for group in groups
            for p in group["params"]
        }
        names = {name: id(parameter) for name, parameter in trainable(model).items()}
        return cls(
            place=place,
            member=member,
            model=model,
            rates={name: rates[key] for name, key in names.items()},
            kept={name: kept[key] for name, key in names.items()},
        )


def trainable(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that training changes."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def held(model: nn.Module) -> dict[str, Tensor]:
    """Return the buffers, and the parameters that training leaves alone."""
    frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    return {**frozen, **dict(model.named_buffers())}


def structure(model: nn.Module) -> Hashable:
    """Return all that a model is but its sizes: only models of equal structure share a stack."""
    modules = tuple((name, type(module)) for name, module in model.named_modules())
    tensors = tuple(
        tuple((name, one.ndim, one.dtype) for name, one in group.items())
        for group in (trainable(model), held(model))
    )
    return modules, tensors


def corner(tensor: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the view of the leading `sizes` of a tensor."""
    return tensor[tuple(slice(size) for size in sizes)]


def fits(sizes: Sequence[int], padded: Sequence[int]) -> bool:
    """Whether a tensor of these sizes has room in the padded one's corner."""
    return len(sizes) == len(padded) and all(n <= m for n, m in zip(sizes, padded, strict=True))


def stacked(tensors: Sequence[Tensor], background: Tensor) -> Tensor:
    """Return copies of the background [members, ...], each with a tensor in its corner."""
    stack = background.detach().expand(len(tensors), *background.shape).clone()
    for padded, tensor in zip(stack, tensors, strict=True):
        corner(padded, tensor.shape).copy_(tensor.detach())
    return stack


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the parameters of all members lie in one flat tensor: parameter by parameter.

    So that one operation updates them all, and each parameter's stack is contiguous.

    Attributes:
        members: How many.
        shapes: Parameter's name to its padded shape.
    """

    members: int
    shapes: Mapping[str, torch.Size]

    def flat(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return stacks [members, ...], by name, as one flat tensor."""
        return torch.cat([tensors[name].reshape(-1) for name in self.shapes])

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Return the stacks [members, ...] in a flat tensor, by name."""
        sizes = [self.members * shape.numel() for shape in self.shapes.values()]
        parts = torch.split(flat, sizes)
        return {
            name: part.view(self.members, *shape)
            for part, (name, shape) in zip(parts, self.shapes.items(), strict=True)
        }

    def part(self, flat: Tensor, rows: Tensor) -> Tensor:
        """Return the flat tensor of some members alone."""
        return torch.cat([one.index_select(0, rows).view(-1) for one in self.views(flat).values()])
