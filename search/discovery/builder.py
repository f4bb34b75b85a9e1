"""The model of a spec's `discover`: analysed once in a process, then built at any of its widths.

The analysis is deterministic, so that each process that trains may do its own; what a spec's data
says of the model's inputs stands in for `inputs` where that is left out.

Entry points: `discovered` (the widths, and what resizes them), `model_builder` (what a spec builds
its models with), `input_spec`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...objectives.data.dataset import Data
from ...objectives.data.streams.source import BatchData
from ...objectives.discovery.resizing.resizable import find_resizable
from ...objectives.discovery.resizing.resizable_model import Resizable
from ...objectives.errors import did_you_mean
from ...objectives.training.step import Specs, TensorSpec, batch_specs
from ...objectives.user_code import load_object
from ..errors import SpecError
from ..spec.input_shape import parse_input_shape
from ..spec.sections import ModelSection, WidthsSection
from ..spec.spec import Spec

Inputs = Sequence[Specs] | Mapping[str, Specs]
"""What a model is called with, of one sample each: a spec per argument."""

_analysed: dict[tuple[Any, ...], Resizable] = {}


def discovered(
    model: ModelSection, folder: Path, data: Data | BatchData | None = None
) -> Resizable:
    """Return the widths of the model that `[model]` discovers, and what resizes it.

    Args:
        model: The section; it has `discover`.
        folder: Folder that references are relative to.
        data: What the model is trained on, where the section does not say what it is called with.

    Raises:
        SpecError: Nothing says what the model is called with.
        ObjectiveError: The model cannot be loaded, built, called or analysed.
    """
    assert model.discover is not None
    if model.inputs is not None:
        inputs: Inputs = tuple(map(input_spec, model.inputs))
    elif data is not None:
        inputs = data_inputs(data)
    else:
        raise SpecError(
            'model.inputs is missing: say what the model is called with, as input = "3x32x32" for '
            "one sample, so that its widths can be discovered; or name them in [widths]"
        )
    make_model = load_object(model.discover, folder)
    patterns = tuple(model.only or ()), tuple(model.keep or ())
    key = (make_model, repr(inputs), *patterns, model.per_layer)
    if key not in _analysed:
        _analysed[key] = find_resizable(
            make_model,
            inputs,
            only=patterns[0],
            keep=patterns[1],
            per_layer=bool(model.per_layer),
        )
    return _analysed[key]


def model_builder(
    spec: Spec, folder: Path, data: Data | BatchData | None = None
) -> str | Callable[[Mapping[str, int]], nn.Module] | None:
    """Return what builds a spec's models: the reference of `build`, or a function for `discover`.

    None where the model is a family's, or none is built. Widths that `[widths]` does not name stay
    at today's size.

    Args:
        spec: A valid spec.
        folder: Folder that its references are relative to.
        data: What the model is trained on.

    Raises:
        SpecError: `[widths]` names one that the model does not have, or gives it a size that it
            cannot have.
        ObjectiveError: The model cannot be loaded, built, called or analysed.
    """
    if spec.model.discover is None:
        return spec.model.build
    resizable = discovered(spec.model, folder, data)
    check_widths(spec.widths, resizable)

    def build(widths: Mapping[str, int]) -> nn.Module:
        # Plain numbers: what resizing itself asks of them, such as whether one is today's, makes
        # no other model, and would divide the space into parts where costs are counted.
        return resizable.build({name: int(width) for name, width in widths.items()})

    build.__name__ = spec.model.discover
    return build


def check_widths(widths: WidthsSection, resizable: Resizable) -> None:
    """Check that widths are those of a model, and that each may have all its values.

    Raises:
        SpecError: One is not, or may not.
    """
    today = resizable.discovery.sizes
    divisors = {group.name: group.multiple_of for group in resizable.discovery.groups}
    for name, entry in widths.entries.items():
        if name not in today:
            raise SpecError(
                f"widths.{name}: the model has no such width{did_you_mean(name, today)}; expected "
                f"some of {', '.join(today) or 'none'} (`widthwise discover` lists them)"
            )
        divisor = divisors.get(name, 1)
        wrong = [size for size in entry.to_width(name).values if size % divisor or size < 1]
        if wrong:
            raise SpecError(
                f"widths.{name}: {wrong[0]:,} is no positive multiple of {divisor:,}, which this "
                f"width of the model must be; today it is {today[name]:,}"
            )


def data_inputs(data: Data | BatchData) -> Inputs:
    """Return what a model is called with that is trained on data."""
    if isinstance(data, BatchData):
        inputs = batch_specs(data.example)["inputs"]
        assert isinstance(inputs, Mapping | Sequence)
        return inputs
    return (TensorSpec(shape=data.input_shape, dtype=data.train.inputs.dtype),)


def input_spec(text: str) -> TensorSpec:
    """Return the spec of an input that is written as `3x32x32` or `128:int64`.

    Raises:
        ValueError: It is neither.
    """
    shape = parse_input_shape(text)
    return TensorSpec(shape=shape.sizes, dtype=getattr(torch, shape.type_name))
