"""The tensors of a stack: parameters in one flat tensor, buffers beside them.

Entry point: `StackedTensors`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Size, Tensor

from ...training.serialize import cpu_copy
from .padding import FlatLayout, crop, stack_padded


@final
@dataclass(frozen=True, kw_only=True)
class StackedTensors:
    """Tensors of all members, written to in place.

    Attributes:
        layout: Where each parameter lies in the flat tensor.
        weights: All trained parameters, flat; or something of the same shapes, such as moments.
        frozen_and_buffers: The other tensors [members, ...], by name.
    """

    layout: FlatLayout
    weights: Tensor
    frozen_and_buffers: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        members: Sequence[Mapping[str, Tensor]],
        parameters: Mapping[str, Tensor],
        others: Mapping[str, Tensor],
    ) -> "StackedTensors":
        """Stack copies of tensors.

        Args:
            members: The tensors of each member, by name.
            parameters: The trained parameters of a network of the common widths; members' are
                padded with zeros to their shapes.
            others: The other tensors of that network; members' are padded with their values.
        """
        layout = FlatLayout(
            members=len(members), shapes={name: tensor.shape for name, tensor in parameters.items()}
        )
        weights = {
            name: stack_padded([member[name] for member in members], torch.zeros_like(padded))
            for name, padded in parameters.items()
        }
        return cls(
            layout=layout,
            weights=layout.flat(weights),
            frozen_and_buffers={
                name: stack_padded([member[name] for member in members], padded)
                for name, padded in others.items()
            },
        )

    @property
    def named_stacks(self) -> dict[str, Tensor]:
        """All tensors [members, ...], by name; views."""
        return {**self.layout.views(self.weights), **self.frozen_and_buffers}

    def clone(self) -> "StackedTensors":
        """Return a copy."""
        frozen_and_buffers = {
            name: tensor.clone() for name, tensor in self.frozen_and_buffers.items()
        }
        return StackedTensors(
            layout=self.layout, weights=self.weights.clone(), frozen_and_buffers=frozen_and_buffers
        )

    def copy_(self, other: "StackedTensors", positions: Tensor, names: Collection[str]) -> None:
        """Copy the tensors of these names, of the members at some positions, from another one."""
        own_stacks, other_stacks = self.named_stacks, other.named_stacks
        for name in names:
            own_stacks[name].index_copy_(
                0, positions, other_stacks[name].index_select(0, positions)
            )

    def subset(self, positions: Tensor) -> "StackedTensors":
        """Return a copy of the members at some positions."""
        return StackedTensors(
            layout=FlatLayout(members=len(positions), shapes=self.layout.shapes),
            weights=self.layout.subset(self.weights, positions),
            frozen_and_buffers={
                name: tensor.index_select(0, positions)
                for name, tensor in self.frozen_and_buffers.items()
            },
        )

    def read(
        self, position: int, sizes: Mapping[str, Sequence[int]], names: Collection[str]
    ) -> dict[str, Tensor]:
        """Return copies of a member's tensors, of their true sizes, on the CPU."""
        stacks = self.named_stacks
        return {name: cpu_copy(crop(stacks[name][position], sizes[name])) for name in names}

    def write(
        self, position: int, sizes: Mapping[str, Size], tensors: Mapping[str, Tensor]
    ) -> None:
        """Copy a member's tensors into the leading corners of the padded ones."""
        stacks = self.named_stacks
        for name, tensor in tensors.items():
            crop(stacks[name][position], sizes[name]).copy_(tensor)
