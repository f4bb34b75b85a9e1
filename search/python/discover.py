"""`widthwise.discover`: the widths of a module, and the module at other sizes.

    found = widthwise.discover(model, torch.zeros(1, 3, 32, 32))
    found.sizes                            # {"stage1": 64, "stage2": 128, …}
    found.build({"stage1": 32})            # a fresh module; the model itself stays as it is

Entry points: `discover`, `DiscoveredModel`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor, nn

from ...objectives.discovery.groups import FixedLayer, WidthGroup
from ...objectives.discovery.resizing.resizable import find_resizable
from ...objectives.discovery.resizing.resizable_model import Resizable
from ...objectives.errors import describe_type
from ...objectives.training.step import Specs, TensorSpec
from ..discovery.builder import input_spec
from ..errors import SpecError

Example = Tensor | str | Sequence[Tensor | str] | Mapping[str, Tensor | str]
"""What a model is called with: a batch, or the shape of one sample as a text; or one for each
argument of forward, in order or by name."""


@final
@dataclass(frozen=True)
class DiscoveredModel:
    """The widths of a model, each of which was tried at other sizes.

    Attributes:
        resizable: What resizes the model.
    """

    resizable: Resizable

    @property
    def groups(self) -> tuple[WidthGroup, ...]:
        """The widths: name, today's size, what it is a multiple of, and the layers it sizes."""
        return self.resizable.discovery.groups

    @property
    def fixed(self) -> tuple[FixedLayer, ...]:
        """Every layer that has a size in no width, with the reason."""
        return self.resizable.discovery.fixed

    @property
    def how(self) -> str:
        """How the model is resized: "constructor", "config" or "surgery"."""
        return self.resizable.discovery.how

    @property
    def sizes(self) -> dict[str, int]:
        """Today's size of each width, and number of blocks, by name."""
        return dict(self.resizable.discovery.sizes)

    def build(self, sizes: Mapping[str, int]) -> nn.Module:
        """Return a fresh model; widths that are not named keep today's size.

        Raises:
            ModelError: There is no such width, or it cannot have this size.
        """
        return self.resizable.build(sizes)

    def call(self, sizes: Mapping[str, int]) -> str | None:
        """Return the Python call that builds a model of these sizes; None where no call does.

        Raises:
            ModelError: There is no such width, or it cannot have this size.
        """
        return self.resizable.call(sizes)

    def to_json(self) -> dict[str, Any]:
        """Return what `widthwise discover --json` writes."""
        return self.resizable.discovery.to_json()


def discover(
    model: nn.Module | Callable[[], nn.Module],
    example: Example,
    *,
    only: Sequence[str] = (),
    keep: Sequence[str] = (),
    per_layer: bool = False,
) -> DiscoveredModel:
    """Return the widths of a model, found without editing it; nothing is trained.

    Args:
        model: A module; or a function without arguments that returns a fresh one, whose
            constructor can then be called with other numbers.
        example: What it is called with: tensors with a batch, or texts such as "3x32x32" and
            "128:int64" for one sample.
        only: Patterns of the layers whose widths are searched, with * and ?; empty for all.
        keep: Patterns of layers whose sizes stay.
        per_layer: Whether widths of repeated blocks are apart.

    Raises:
        SpecError: The example is none.
        ModelError: The model cannot be built, called or analysed.
    """
    inputs: Sequence[Specs] | Mapping[str, Specs]
    if isinstance(example, Mapping):
        inputs = {name: _spec(value) for name, value in example.items()}
    elif isinstance(example, Tensor | str):
        inputs = (_spec(example),)
    elif isinstance(example, Sequence):
        inputs = tuple(map(_spec, example))
    else:
        raise _no_example(example)
    return DiscoveredModel(
        find_resizable(
            model, inputs, only=_patterns(only), keep=_patterns(keep), per_layer=per_layer
        )
    )


def _spec(example: object) -> TensorSpec:
    if isinstance(example, str):
        try:
            return input_spec(example)
        except ValueError as error:
            raise SpecError(f"discover: {error}") from None
    if not isinstance(example, Tensor) or example.ndim == 0:
        raise _no_example(example)
    return TensorSpec(shape=tuple(example.shape[1:]), dtype=example.dtype)


def _no_example(example: object) -> SpecError:
    found = "a single number" if isinstance(example, Tensor) else describe_type(example)
    return SpecError(
        f"discover: the example is {found}; expected a tensor with a batch, or the shape of one "
        'sample such as "3x32x32" or "128:int64", for each argument of forward'
    )


def _patterns(patterns: Sequence[str]) -> tuple[str, ...]:
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)
