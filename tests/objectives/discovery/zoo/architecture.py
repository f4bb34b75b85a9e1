"""What a person would say about a model's widths, written in one line a width.

Members are patterns of `parameter:dimension` with the parameter's qualified name, so `"fc1.*:0
fc2.weight:1"` is what leaves `fc1` and what enters `fc2`. A width's members are exactly those that
its patterns match.

Entry points: `Architecture`, `Width`, `numbers`, `words`, `batch`, `parameter_shapes`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from widthwise.objectives.training.step import TensorSpec

VOCABULARY = 11
"""Words that every architecture of the zoo knows."""


def numbers(*shape: int) -> TensorSpec:
    """Return the spec of real numbers."""
    return TensorSpec(shape=shape)


def words(count: int) -> TensorSpec:
    """Return the spec of a sequence of words."""
    return TensorSpec(shape=(count,), dtype=torch.int64)


@dataclass(frozen=True)
class Width:
    """One width that a person would name.

    Attributes:
        name: What a person calls it, and the builder's argument for it.
        size: Today's.
        members: Patterns of what moves with it, separated by spaces.
        multiple_of: What every size must be a multiple of.
        called: Other names for it that a person would understand.
    """

    name: str
    size: int
    members: str
    multiple_of: int = 1
    called: tuple[str, ...] = ()

    def members_in(self, model: nn.Module) -> set[tuple[int, int]]:
        """Return what its patterns match: the parameter's identity, and the dimension.

        A tied parameter has one identity and several names.
        """
        patterns = self.members.split()
        matched: dict[str, set[tuple[int, int]]] = {pattern: set() for pattern in patterns}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            for dim in range(parameter.dim()):
                for pattern in patterns:
                    if fnmatchcase(f"{name}:{dim}", pattern):
                        matched[pattern].add((id(parameter), dim))
        idle = [pattern for pattern, found in matched.items() if not found]
        assert not idle, f"{self.name}: no parameter matches {idle}"
        return set().union(*matched.values())


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A model as people write it, and what a person would say about it.

    Attributes:
        make: Makes it at today's sizes; what discovery is given.
        build: Makes it at other sizes, by the widths' names; nothing that discovery sees.
        inputs: One sample of each argument, in their order or by their names.
        widths: All that may be chosen.
        flow: What the data alone tells apart, where the configuration ties more; empty where it
            does not.
        fixed: For every layer with a size that stays, a word of the reason.
    """

    make: Callable[[], nn.Module]
    build: Callable[..., nn.Module]
    inputs: tuple[TensorSpec, ...] | Mapping[str, TensorSpec]
    widths: tuple[Width, ...]
    flow: tuple[Width, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)


def batch(
    inputs: tuple[TensorSpec, ...] | Mapping[str, TensorSpec],
) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Return four random samples: what a model is called with, by position and by name."""
    generator = torch.Generator().manual_seed(0)

    def draw(spec: TensorSpec) -> Tensor:
        if spec.dtype == torch.int64:
            return torch.randint(VOCABULARY, (4, *spec.shape), generator=generator)
        return torch.randn(4, *spec.shape, generator=generator)

    if isinstance(inputs, Mapping):
        return (), {name: draw(spec) for name, spec in inputs.items()}
    return tuple(draw(spec) for spec in inputs), {}


def parameter_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter, under each of its names."""
    return {
        name: tuple(parameter.shape)
        for name, parameter in model.named_parameters(remove_duplicate=False)
    }
