"""A model, its weights and its rows, from what a person names.

    FILE.py:make_model      a function that returns a module, with or without widths; or a module
    FILE.safetensors, .pt   a state_dict; in a .pt also under "state_dict" or "model_state_dict"
    FILE.csv, FILE.py:load  data as a search takes it; a function may also give several inputs:
                            {"x": (ids, mask), "y": y}, or ({"ids": ids, "mask": mask}, y)

Rows are divided as a search divides them: neurons are chosen on the training rows and judged on the
validation rows; the test rows are not looked at.

Entry points: `load_model`, `load_weights`, `load_diagnosis_data`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ..data.arrays.result import read_result
from ..data.dataset import Data, Split, Task
from ..data.load import make_dataset, read_source
from ..data.read_options import DEFAULT_OPTIONS, ReadOptions
from ..errors import DataError, ModelError, describe_error, describe_type
from ..model.losses import align_to_targets, is_own_loss, load_loss
from ..model.objective import make_objective
from ..training.input_type import adapt_input_type
from ..user_code import load_object, user_code_location, user_errors
from .gradients import LossOfOutput
from .samples import Samples

_STATE_KEYS = ("state_dict", "model_state_dict", "model")
_TRAINING_SHARE, _VALIDATION_SHARE = 0.6, 0.2
"""Of rows that a function gives with several inputs; those of a search."""
_MIN_ROWS = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class DiagnosisData:
    """Rows to diagnose a model on.

    Attributes:
        training: Neurons are chosen on them.
        held_out: And judged on these.
        loss: The mean over rows.
        loss_name: For people.
        notes: On how the data were read.
    """

    training: Samples
    held_out: Samples
    loss: LossOfOutput
    loss_name: str
    notes: Sequence[str] = ()


def load_model(reference: str, base: Path, widths: Mapping[str, int] | None) -> nn.Module:
    """Return the model that a reference names.

    Args:
        reference: To a function that returns a module, or to a module.
        base: Folder that it is relative to.
        widths: Given to the function; None for a function that takes nothing.

    Raises:
        ModelError: The function raises, takes other arguments, or returns no module.
        ImportFailure: The reference leads nowhere.
    """
    named: Any = load_object(reference, base)
    if isinstance(named, nn.Module):
        if widths is not None:
            raise ModelError(f"{reference} is a module already: leave --widths out.")
        return named
    if widths is None and (needed := _required_argument(named)) is not None:
        raise ModelError(
            f"{reference} takes '{needed}': give its widths, such as --widths hidden1=64,hidden2=32"
        )
    with user_errors(
        lambda error: ModelError(
            f"{reference} raised {describe_error(error)}{user_code_location(error)}: let it return "
            "the model."
        )
    ):
        model: Any = named() if widths is None else named(dict(widths))
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"{reference} returned {describe_type(model)}: it must return a torch.nn.Module."
        )
    return model


def _required_argument(function: Callable[..., Any]) -> str | None:
    """Return the first argument that a function cannot be called without; None for none."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    for parameter in parameters:
        if parameter.default is parameter.empty and parameter.kind in positional:
            return parameter.name
    return None


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a state_dict into a model; nothing in the file is run.

    Raises:
        ModelError: The file cannot be read, or its weights are those of another model.
    """
    try:
        state = _read_state(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:
        raise ModelError(
            f"{path} holds no weights that can be read safely ({describe_error(error)}): save them "
            "with torch.save(model.state_dict(), …) or safetensors.torch.save_model."
        ) from error
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        lines = [line.strip().rstrip(". ") for line in str(error).splitlines() if line.strip()]
        reason = "; ".join(lines[1:3]) or describe_error(error)
        raise ModelError(
            f"{path} holds the weights of another model ({reason:.300}): build the model that was "
            "trained."
        ) from error


def _read_state(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    state: Any = torch.load(path, map_location="cpu", weights_only=True)
    for key in _STATE_KEYS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping):
        raise TypeError(f"found {describe_type(state)}, expected a state_dict")
    return state


def load_diagnosis_data(
    source: str,
    model: nn.Module,
    *,
    base: Path,
    target: str | None = None,
    task: Task | None = None,
    loss: str | None = None,
    options: ReadOptions = DEFAULT_OPTIONS,
    seed: int = 0,
) -> DiagnosisData:
    """Return the rows that a source names, in the types that the model takes.

    Raises:
        DataError: They cannot be read, or are too few.
        MetricError: The loss is unknown, or for another task.
    """
    if ":" in source and not (base / source).exists():
        result = _call(source, load_object(source, base), seed)
        several = _several_inputs(source, result)
        if several is not None:
            return _from_several(source, *several, task=task, loss=loss, base=base, seed=seed)
        raw = read_result(source, result)
        own_loss = is_own_loss(loss)
        data = raw if isinstance(raw, Data) else make_dataset(raw, seed, task, own_loss=own_loss)
    else:
        raw = read_source(
            source,
            base=base,
            target=target,
            options=options,
            image=any(isinstance(module, _ConvNd) for module in model.modules()),
        )
        data = make_dataset(raw, seed, task)
    objective = make_objective(build=lambda _: model, data=data, loss=loss, base=base)
    objective = adapt_input_type(objective, {})
    arrays = objective.data
    assert isinstance(arrays, Data), "it was read as arrays"
    for name, split in (("training", arrays.train), ("validation", arrays.validation)):
        _require_rows(source, name, len(split.targets))
    return DiagnosisData(
        training=_samples(arrays.train),
        held_out=_samples(arrays.validation),
        loss=objective.loss,
        loss_name=objective.loss_name,
        notes=arrays.notes,
    )


def _samples(split: Split) -> Samples:
    return Samples(inputs=[split.inputs], targets=split.targets)


def _call(name: str, function: Callable[..., Any], seed: int) -> Any:
    """Return what a user's data function returns; it may take the keyword `seed`."""
    try:
        accepts_seed = "seed" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        accepts_seed = False
    with user_errors(
        lambda error: DataError(
            f"{name} raised {describe_error(error)}{user_code_location(error)}: mend it, or choose "
            "other data."
        )
    ):
        return function(seed=seed) if accepts_seed else function()


def _several_inputs(name: str, result: Any) -> tuple[Sequence[Tensor], Any, Any] | None:
    """Return positional inputs, named inputs and targets; None where there is one input alone."""
    if isinstance(result, Mapping) and set(result) == {"x", "y"}:
        inputs, targets = result["x"], result["y"]
        if not isinstance(inputs, Mapping | tuple) or not inputs:
            return None
    elif isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], Mapping):
        inputs, targets = result
    else:
        return None
    if isinstance(inputs, Mapping):
        named = {str(key): _tensor(name, value) for key, value in inputs.items()}
        return [], named, _tensor(name, targets)
    return [_tensor(name, value) for value in inputs], {}, _tensor(name, targets)


def _tensor(name: str, value: Any) -> Tensor:
    try:
        tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.asarray(value))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name} returned {describe_type(value)}: give arrays or tensors."
        ) from error
    if not tensor.ndim:
        raise DataError(f"{name} returned a single number among its inputs: give one row a sample.")
    return tensor.float() if tensor.is_floating_point() else tensor


def _from_several(
    name: str,
    inputs: Sequence[Tensor],
    named: Mapping[str, Tensor],
    targets: Tensor,
    *,
    task: Task | None,
    loss: str | None,
    base: Path,
    seed: int,
) -> DiagnosisData:
    """Return the rows of several inputs, divided as a search divides them."""
    counts = {len(tensor) for tensor in (*inputs, *named.values(), targets)}
    if len(counts) > 1:
        raise DataError(
            f"{name} returned inputs and targets of {', '.join(map(str, sorted(counts)))} rows: "
            "give each as many."
        )
    known = task or (Task.REGRESSION if targets.is_floating_point() else Task.CLASSIFICATION)
    if known is Task.CLASSIFICATION:
        targets = targets.long()
    loss_name, function = load_loss(loss, known, base)

    def aligned(output: Any, wanted: Tensor) -> Tensor:
        return function(align_to_targets(output, wanted, known), wanted)

    everything = Samples(inputs=list(inputs), named=named, targets=targets)
    shuffled = everything.draw(everything.rows, seed)
    first = int(everything.rows * _TRAINING_SHARE)
    last = first + int(everything.rows * _VALIDATION_SHARE)
    _require_rows(name, "validation", last - first)
    return DiagnosisData(
        training=shuffled.select(slice(0, first)),
        held_out=shuffled.select(slice(first, last)),
        loss=aligned,
        loss_name=loss_name,
    )


def _require_rows(name: str, split: str, rows: int) -> None:
    if rows < _MIN_ROWS:
        raise DataError(
            f"{name} leaves {rows} {split} rows, expected at least {_MIN_ROWS}: a gain is told "
            "from chance by them; give more rows."
        )
