"""What discovery finds in a module: width groups, and the layers that stay as they are.

A width group is one number that a person may choose, and every dimension of a parameter that moves
with it. How it moves is an expression in the groups' sizes: the fused projection of an attention
layer has 3*d_model rows, a Linear after a flatten 49*channels columns.

    discovery.groups[0]                       # WidthGroup(name="d_model", size=64, …)
    discovery.parameters["qkv.weight"]        # (3*d_model, d_model), as expressions
    discovery.parameters["qkv.weight"][0].value({"d_model": 96})  # 288

Where equal blocks repeat, their number is one more choice, a depth group.

Entry points: `Discovery`, `WidthGroup`, `DepthGroup`, `FixedLayer`, `Expression`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, final

How = Literal["constructor", "config", "surgery"]


@final
@dataclass(frozen=True)
class Term:
    """A product of sizes: `coefficient * size * size … // divisor`.

    Attributes:
        coefficient: A whole number other than 0.
        groups: Names of the groups that are multiplied, in alphabetical order; a square names its
            group twice, a constant none.
        divisor: A whole number from 1, without a factor in common with the coefficient.
    """

    coefficient: int
    groups: tuple[str, ...] = ()
    divisor: int = 1

    def value(self, sizes: Mapping[str, int]) -> int:
        """Return the term's value, in whole numbers."""
        product = math.prod((sizes[name] for name in self.groups), start=self.coefficient)
        return product // self.divisor

    def __str__(self) -> str:
        """Return the term as Python writes it: "3*d_model//4"."""
        factors = [*([] if self.coefficient == 1 and self.groups else [str(self.coefficient)])]
        text = "*".join([*factors, *self.groups])
        return text if self.divisor == 1 else f"{text}//{self.divisor}"


@final
@dataclass(frozen=True)
class Expression:
    """A size as a function of the groups' sizes: a sum of terms.

    Attributes:
        terms: Added up; none for 0. A constant is one term that names no group.
    """

    terms: tuple[Term, ...]

    @classmethod
    def constant(cls, value: int) -> Expression:
        """Return the expression that is always this value."""
        return cls((Term(value),) if value else ())

    @property
    def groups(self) -> frozenset[str]:
        """Names of the groups that move it; none for a constant."""
        return frozenset(name for term in self.terms for name in term.groups)

    @property
    def is_constant(self) -> bool:
        """Whether no group moves it."""
        return not self.groups

    def value(self, sizes: Mapping[str, int]) -> int:
        """Return the size, in whole numbers, for the sizes of all groups by name."""
        return sum(term.value(sizes) for term in self.terms)

    def __str__(self) -> str:
        """Return the expression as Python writes it: "a + 3*b"."""
        return " + ".join(map(str, self.terms)) or "0"


@final
@dataclass(frozen=True)
class Member:
    """A dimension of a parameter that moves with a group.

    Attributes:
        module: Dotted path of the layer that holds the parameter; "" for the model itself.
        parameter: The parameter's own name in that layer, such as "weight".
        dim: Which of its dimensions, from 0.
    """

    module: str
    parameter: str
    dim: int

    @property
    def qualified_parameter(self) -> str:
        """The parameter's name in the whole model, such as "layers.0.weight"."""
        return f"{self.module}.{self.parameter}" if self.module else self.parameter


@final
@dataclass(frozen=True)
class WidthGroup:
    """A width of the model that may be chosen.

    Attributes:
        name: Unique in the model; a valid name of a width.
        size: Today's size.
        multiple_of: Every size must be a multiple of this number; 1 where any size will do.
        members: What moves with it, in the order of the model's parameters; never empty.
    """

    name: str
    size: int
    multiple_of: int
    members: tuple[Member, ...]


@final
@dataclass(frozen=True)
class DepthGroup:
    """A list of equal blocks whose number may be chosen, from 1.

    Attributes:
        name: Unique among all groups; a valid name of a width.
        size: Today's number of blocks.
        blocks: Dotted paths of today's blocks, `PATH.0`, `PATH.1` and so on.
    """

    name: str
    size: int
    blocks: tuple[str, ...]

    @property
    def multiple_of(self) -> int:
        """What its size is a multiple of: any number of blocks will do."""
        return 1

    @property
    def path(self) -> str:
        """Dotted path of the list."""
        return self.blocks[0].rpartition(".")[0]


@final
@dataclass(frozen=True)
class FixedLayer:
    """A layer with parameters, of which a dimension is in no group.

    Attributes:
        module: Dotted path of the layer; "" for the model itself.
        reason: Why it stays, such as "output size (10)"; several are joined by "; ".
    """

    module: str
    reason: str


@final
@dataclass(frozen=True)
class Discovery:
    """The widths of one model, and how each of its sizes follows from them.

    Attributes:
        groups: In the order of their first members.
        fixed: In the order of the model's layers.
        how: How a model of other sizes comes about.
        parameters: For every parameter, by its qualified name, an expression for each dimension;
            a tied parameter stands under each of its names.
        buffers: The same for every buffer.
        attributes: For every attribute of a layer that carries a size, by the layer's dotted path
            and the attribute's name, its expression; a tuple where the attribute is one, as
            `normalized_shape` is.
        depths: Lists of equal blocks, whose number may be chosen.
    """

    groups: tuple[WidthGroup, ...]
    fixed: tuple[FixedLayer, ...]
    how: How = "surgery"
    parameters: Mapping[str, tuple[Expression, ...]] = field(default_factory=dict)
    buffers: Mapping[str, tuple[Expression, ...]] = field(default_factory=dict)
    attributes: Mapping[tuple[str, str], Expression | tuple[Expression, ...]] = field(
        default_factory=dict
    )
    depths: tuple[DepthGroup, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """Today's sizes by the name of the group, and numbers of blocks."""
        return {choice.name: choice.size for choice in self.choices}

    @property
    def choices(self) -> list[WidthGroup | DepthGroup]:
        """All that may be chosen: widths, then numbers of blocks."""
        return [*self.groups, *self.depths]

    def shapes(self, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Return the shape of every parameter and buffer, by its qualified name.

        Args:
            sizes: By the name of the group; groups that are not named keep today's.
        """
        chosen = {**self.sizes, **sizes}
        expressions = {**self.parameters, **self.buffers}
        for depth in self.depths:
            expressions = with_depth(expressions, depth, chosen[depth.name])
        return {
            name: tuple(dimension.value(chosen) for dimension in dimensions)
            for name, dimensions in expressions.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Return groups, fixed layers and `how` as plain lists and dictionaries."""
        return {
            "groups": [
                {
                    "name": group.name,
                    "size": group.size,
                    "multiple_of": group.multiple_of,
                    "members": _members_to_json(group.members),
                }
                for group in self.groups
            ]
            + [
                {
                    "name": depth.name,
                    "size": depth.size,
                    "multiple_of": 1,
                    "members": [
                        {"module": block, "parameter": None, "dim": None} for block in depth.blocks
                    ],
                    "depth": True,
                }
                for depth in self.depths
            ],
            "fixed": [{"module": layer.module, "reason": layer.reason} for layer in self.fixed],
            "how": self.how,
        }


ValueT = TypeVar("ValueT")


def with_depth(by_name: Mapping[str, ValueT], depth: DepthGroup, number: int) -> dict[str, ValueT]:
    """Return what belongs to qualified names, for another number of blocks.

    Args:
        by_name: For today's model; blocks that are added are like the first.
        depth: The list of blocks.
        number: How many blocks there are to be.
    """
    first = f"{depth.blocks[0]}."
    kept = {
        name: value
        for name, value in by_name.items()
        if not any(name.startswith(f"{block}.") for block in depth.blocks[number:])
    }
    for position in range(depth.size, number):
        for name, value in by_name.items():
            if name.startswith(first):
                kept[f"{depth.path}.{position}.{name.removeprefix(first)}"] = value
    return kept


def _members_to_json(members: Sequence[Member]) -> list[dict[str, Any]]:
    return [
        {"module": member.module, "parameter": member.parameter, "dim": member.dim}
        for member in members
    ]
