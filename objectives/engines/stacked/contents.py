"""What a stack's members hold: parameters in one flat tensor, buffers beside them.

Entry point: `Contents`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Size, Tensor

from ...training.serialize import on_cpu
from .padding import Layout, corner, stacked


@final
@dataclass(frozen=True, kw_only=True)
class Contents:
    """Tensors of all members, written to in place.

    Attributes:
        layout: Of the flat tensor.
        weights: All parameters that are trained, or something that there is of each: flat.
        held: The other tensors [members, ...], by name.
    """

    layout: Layout
    weights: Tensor
    held: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        members: Sequence[Mapping[str, Tensor]],
        parameters: Mapping[str, Tensor],
        others: Mapping[str, Tensor],
    ) -> "Contents":
        """Stack copies of tensors.

        Args:
            members: Each one's tensors.
            parameters: A network of the common widths': what is trained, padded with zeros.
            others: Likewise, the other tensors; these are their own padding.
        """
        layout = Layout(
            members=len(members), shapes={name: one.shape for name, one in parameters.items()}
        )
        weights = {
            name: stacked([mine[name] for mine in members], torch.zeros_like(padded))
            for name, padded in parameters.items()
        }
        return cls(
            layout=layout,
            weights=layout.flat(weights),
            held={
                name: stacked([mine[name] for mine in members], padded)
                for name, padded in others.items()
            },
        )

    @property
    def stacks(self) -> dict[str, Tensor]:
        """All tensors [members, ...], by name; views."""
        return {**self.layout.views(self.weights), **self.held}

    def clone(self) -> "Contents":
        """Return a copy."""
        held = {name: one.clone() for name, one in self.held.items()}
        return Contents(layout=self.layout, weights=self.weights.clone(), held=held)

    def copy_(self, other: "Contents", rows: Tensor, names: Collection[str]) -> None:
        """Take over what another one has of some members, by index, in the tensors named."""
        mine, theirs = self.stacks, other.stacks
        for name in names:
            mine[name].index_copy_(0, rows, theirs[name].index_select(0, rows))

    def part(self, rows: Tensor) -> "Contents":
        """Return a copy of some members, by index."""
        return Contents(
            layout=Layout(members=len(rows), shapes=self.layout.shapes),
            weights=self.layout.part(self.weights, rows),
            held={name: one.index_select(0, rows) for name, one in self.held.items()},
        )

    def member(
        self, index: int, sizes: Mapping[str, Sequence[int]], names: Collection[str]
    ) -> dict[str, Tensor]:
        """Return copies of a member's tensors, of their true sizes, on the CPU."""
        stacks = self.stacks
        return {name: on_cpu(corner(stacks[name][index], sizes[name])) for name in names}

    def put(self, index: int, sizes: Mapping[str, Size], tensors: Mapping[str, Tensor]) -> None:
        """Copy a member's tensors into their corners."""
        stacks = self.stacks
        for name, one in tensors.items():
            corner(stacks[name][index], sizes[name]).copy_(one)
