"""Padding: how networks of one structure lie in tensors of common sizes.

Every tensor of a network lies in the leading corner of a larger one, zeros around its parameters:

    true [2, 3]      padded [3, 4]      a stack of them [members, 3, 4]
    a b c            a b c 0
    d e f            d e f 0
                     0 0 0 0

Channels come first in torch, so the corner of a convolution's output, once flattened, is the
corner of the layer after it. Whether a module computes the same when padded, `probe` finds out.

Entry points: `BuiltMember`, `structure`, `stack_padded`, `crop`, `FlatLayout`.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..base import Member, TrainingSetup


@dataclass(frozen=True, kw_only=True)
class BuiltMember:
    """A member with its network.

    Attributes:
        index: Its index in the session.
        member: What it was built from.
        model: The network of its true size.
        rates: Trainable parameter's name to AdamW's step size.
        decay_factors: Name to what decay leaves of the parameter in a step, 1 without decay.
    """

    index: int
    member: Member
    model: nn.Module
    rates: Mapping[str, float]
    decay_factors: Mapping[str, float]

    @classmethod
    def build(cls, training: TrainingSetup, index: int, member: Member) -> "BuiltMember":
        """Return the freshly initialised network.

        Raises:
            ModelError: The builder raised, gave no module, or one with nothing to train.
        """
        model, _ = training.build(member)
        groups = training.optimizer(model, member).param_groups
        rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
        decay_factors = {
            id(parameter): 1 - group["lr"] * group["weight_decay"]
            for group in groups
            for parameter in group["params"]
        }
        names = {name: id(parameter) for name, parameter in trainable_parameters(model).items()}
        return cls(
            index=index,
            member=member,
            model=model,
            rates={name: rates[key] for name, key in names.items()},
            decay_factors={name: decay_factors[key] for name, key in names.items()},
        )


def trainable_parameters(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that training changes."""
    return {
        name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
    }


def frozen_and_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Return the buffers, and the parameters that are not trained."""
    frozen = {
        name: parameter
        for name, parameter in model.named_parameters()
        if not parameter.requires_grad
    }
    return {**frozen, **dict(model.named_buffers())}


def structure(model: nn.Module) -> Hashable:
    """Return what a model is besides its sizes: only models of equal structure share a stack."""
    modules = tuple((name, type(module)) for name, module in model.named_modules())
    tensors = tuple(
        tuple((name, tensor.ndim, tensor.dtype) for name, tensor in group.items())
        for group in (trainable_parameters(model), frozen_and_buffers(model))
    )
    return modules, tensors


def crop(tensor: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the view of the leading `sizes` of a tensor."""
    return tensor[tuple(slice(size) for size in sizes)]


def fits(sizes: Sequence[int], padded: Sequence[int]) -> bool:
    """Return whether a tensor of these sizes fits into the padded one."""
    return len(sizes) == len(padded) and all(
        size <= padded_size for size, padded_size in zip(sizes, padded, strict=True)
    )


def stack_padded(tensors: Sequence[Tensor], background: Tensor) -> Tensor:
    """Return copies of the background [members, ...], each with a tensor in its leading corner."""
    stack = background.detach().expand(len(tensors), *background.shape).clone()
    for padded, tensor in zip(stack, tensors, strict=True):
        crop(padded, tensor.shape).copy_(tensor.detach())
    return stack


@dataclass(frozen=True, kw_only=True)
class FlatLayout:
    """Where the parameters of all members lie in one flat tensor: parameter by parameter.

    One operation updates them all, and each parameter's stack is contiguous.

    Attributes:
        members: How many members.
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

    def subset(self, flat: Tensor, positions: Tensor) -> Tensor:
        """Return the flat tensor of some members alone."""
        return torch.cat(
            [stack.index_select(0, positions).view(-1) for stack in self.views(flat).values()]
        )
