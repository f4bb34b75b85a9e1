"""A batch as a model takes it: what goes into `forward`, and what the loss and metric compare with.

    what a loader gives            forward                    targets
    (x, y)                         model(x)                   y
    ((x1, x2), y)                  model(x1, x2)              y
    (x1, x2, y)                    model(x1, x2)              y
    ({"a": x1, "b": x2}, y)        model(a=x1, b=x2)          y
    {"a": x1, "labels": y}         model(a=x1)                y
    x, or (x,)                     model(x)                   none

With `loss = "model"` the forward computes its own loss, so it gets the targets, too: a dict goes
into it as a whole, targets beside a tuple come last, and beside a dict under their own keyword.

Entry points: `read_batch` reads what a loader gives as a `Batch`; `map_tensors` and `find_tensors`
go through nested values; `describe_shapes` says what shapes they have.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ...errors import DataError, describe_dtype, describe_type

TARGET_NAMES = ("labels", "label", "targets", "target", "y")
"""Keys of a dict that name its targets, where `proxy.target` names none; the first counts."""

_NUMBER_KINDS = "biufc"  # of NumPy arrays that torch takes
_WHOLE_TYPES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch of samples.

    Attributes:
        args: Positional arguments of the model's `forward`.
        kwargs: Its keyword arguments.
        targets: What a loss and a metric compare the output with: a tensor, a tuple or mapping of
            tensors; None where the data has none.
        given: What the loader gave, which a loss without targets gets.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    targets: Any = None
    given: Any = None

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with all its tensors on a device."""
        return self.map(lambda value: value.to(device, non_blocking=True))

    def map(self, function: Callable[[Any], Any]) -> "Batch":
        """Return the batch with each of its tensors replaced by the function's result.

        What the forward and `given` share is asked for once, and is shared afterwards.
        """
        results: dict[int, Any] = {}

        def once(value: Any) -> Any:
            if id(value) not in results:
                results[id(value)] = function(value)
            return results[id(value)]

        return Batch(
            args=map_tensors(once, self.args),
            kwargs=map_tensors(once, self.kwargs),
            targets=map_tensors(once, self.targets),
            given=map_tensors(once, self.given),
        )

    def select(self, rows: slice) -> "Batch":
        """Return some of its rows; what has no axis of as many entries as rows stays whole."""
        count = self.rows
        return self.map(
            lambda value: (
                value[rows]
                if isinstance(value, Tensor) and value.ndim and len(value) == count
                else value
            )
        )

    def without_targets(self) -> "Batch":
        """Return what a forward pass alone needs of it."""
        return Batch(args=self.args, kwargs=self.kwargs)

    @property
    def compared(self) -> Any:
        """What a loss and a metric compare the output with: the targets, or all that was given."""
        return self.given if self.targets is None else self.targets

    @property
    def inputs(self) -> Iterator[Tensor]:
        """The tensors that go into the forward pass."""
        return (value for value in find_tensors((self.args, self.kwargs)) if _is_tensor(value))

    @property
    def tensors(self) -> Iterator[Tensor]:
        """All tensors, those that are in several of its parts several times."""
        parts = (self.args, self.kwargs, self.targets, self.given)
        return (value for value in find_tensors(parts) if _is_tensor(value))

    @property
    def rows(self) -> int:
        """Samples in the batch: the length of the first tensor's first axis; 1 of a number."""
        for value in find_tensors((self.args, self.kwargs, self.targets)):
            if isinstance(value, PackedSequence):
                return int(value.batch_sizes[0])
            if isinstance(value, Tensor) and value.ndim:
                return len(value)
        return 1

    def call(self, model: Callable[..., Any]) -> Any:
        """Return the model's output for the batch."""
        return model(*self.args, **self.kwargs)


def read_batch(given: Any, *, model_loss: bool = False, target: str | None = None) -> Batch:
    """Return what a loader gave as a batch.

    NumPy arrays in it become tensors, and float64, as NumPy and Python count, becomes float32.

    Args:
        given: Of the kinds in the module's table; a list counts as a tuple.
        model_loss: Whether the model's forward returns its loss, and so gets the targets, too.
        target: Key of a dict's targets; None for the first of `TARGET_NAMES` that it has.

    Raises:
        DataError: It holds no tensor, or no such key.
    """
    given = _as_tensors(given)
    if next(find_tensors(given), None) is None:
        raise DataError(
            f"a batch is {_describe_kind(given)} without a tensor in it: let the data set, or the "
            "collate function, give tensors or arrays of numbers."
        )
    if isinstance(given, Mapping):
        return _read_mapping(given, target, model_loss=model_loss)
    if target is not None:
        raise DataError(
            f"target is '{target}', which names a key of samples that are dicts, and a batch is "
            f"{_describe_kind(given)}: leave target out, or let the data set give dicts."
        )
    if not _is_sequence(given):
        return Batch(args=(given,), given=given)
    if len(given) == 1:
        args, kwargs = _arguments(given[0])
        return Batch(args=args, kwargs=kwargs, given=given)
    inputs, targets = (given[0] if len(given) == 2 else tuple(given[:-1])), given[-1]
    args, kwargs = _arguments(inputs)
    if model_loss and kwargs:
        kwargs = {**kwargs, TARGET_NAMES[0]: targets}
    elif model_loss:
        args = (*args, targets)
    return Batch(args=args, kwargs=kwargs, targets=targets, given=given)


def _read_mapping(given: Mapping[str, Any], target: str | None, *, model_loss: bool) -> Batch:
    names = [str(name) for name in given]
    if target is not None and target not in given:
        raise DataError(
            f"target is '{target}', and a batch has the keys {', '.join(names)}: name one of these."
        )
    key = target or next((name for name in TARGET_NAMES if name in given), None)
    targets = None if key is None else given[key]
    kwargs = {
        str(name): value
        for name, value in given.items()
        # Names and texts of samples are for people: no forward computes with them.
        if (model_loss or name != key) and not _is_text(value)
    }
    if not kwargs:
        raise DataError(
            f"a batch is a dict of '{key}' alone, which are its targets: give it inputs, too."
        )
    return Batch(args=(), kwargs=kwargs, targets=targets, given=given)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list | tuple) and bool(value) and all(map(_is_text, value))
    )


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return what goes into a forward as positional and as keyword arguments."""
    if isinstance(inputs, Mapping):
        return (), {str(name): part for name, part in inputs.items() if not _is_text(part)}
    if _is_sequence(inputs):
        return tuple(inputs), {}
    return (inputs,), {}


def map_tensors(function: Callable[[Any], Any], value: Any) -> Any:
    """Return a nested value with each tensor in it replaced by the function's result.

    What moves itself to a device (a packed sequence, a graph) counts as one tensor. Mappings of a
    type of their own become dicts.
    """
    if _is_movable(value):
        return function(value)
    if isinstance(value, Mapping):
        return {key: map_tensors(function, part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        parts = [map_tensors(function, part) for part in value]
        if hasattr(value, "_fields"):
            return type(value)(*parts)
        return tuple(parts) if isinstance(value, tuple) else parts
    return value


def find_tensors(value: Any) -> Iterator[Any]:
    """Yield the tensors in a nested value, in its order, as `map_tensors` finds them."""
    if _is_movable(value):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from find_tensors(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from find_tensors(part)


def describe_shapes(value: Any, *, skip: int = 0) -> str:
    """Return the shapes and types of all tensors in a nested value, as people write them.

    Args:
        value: As a batch's parts are.
        skip: Leading axes that are left out: 1 for the shapes of a sample.
    """
    if isinstance(value, Tensor):
        return f"{list(value.shape[skip:])} {describe_dtype(value.dtype)}"
    if _is_movable(value):
        return describe_type(value)
    if _is_text(value):
        return "text"
    if isinstance(value, Mapping):
        return ", ".join(
            f"{name}: {describe_shapes(part, skip=skip)}" for name, part in value.items()
        )
    if isinstance(value, tuple | list):
        parts = ", ".join(describe_shapes(part, skip=skip) for part in value)
        return parts if len(value) == 1 else f"({parts})"
    return describe_type(value)


def describe_inputs(batch: Batch, *, skip: int = 0) -> str:
    """Return the shapes and types of what a model is called with, as people write them.

    Args:
        batch: What it is called with.
        skip: Leading axes that are left out: 1 for the shapes of a sample.
    """
    if batch.kwargs:
        return describe_shapes(batch.kwargs, skip=skip)
    return ", ".join(describe_shapes(part, skip=skip) for part in batch.args)


def describe_ranges(batch: Batch) -> str:
    """Return between what the whole numbers of a batch lie, part by part; "" where it has none."""
    parts = {
        **{f"input {place + 1}": value for place, value in enumerate(batch.args)},
        **batch.kwargs,
        "targets": batch.targets,
    }
    return ", ".join(
        f"{name} from {int(tensor.min())} to {int(tensor.max())}"
        for name, value in parts.items()
        for tensor in find_tensors(value)
        if isinstance(tensor, Tensor) and tensor.dtype in _WHOLE_TYPES and tensor.numel()
    )


def _as_tensors(value: Any) -> Any:
    """Return a nested value with its NumPy arrays as tensors, and float64 as float32."""
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.kind not in _NUMBER_KINDS:
            return value
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
        return _as_tensors(torch.from_numpy(array if array.flags.writeable else array.copy()))
    if isinstance(value, Tensor) and value.dtype == torch.float64:
        return value.float()
    if isinstance(value, Mapping) and not _is_movable(value):
        return {key: _as_tensors(part) for key, part in value.items()}
    if _is_sequence(value):
        parts = [_as_tensors(part) for part in value]
        if hasattr(value, "_fields"):
            return type(value)(*parts)
        return tuple(parts) if isinstance(value, tuple) else parts
    return value


def _is_movable(value: Any) -> bool:
    """Return whether a value is a tensor, or something of a library's that moves like one."""
    if isinstance(value, Tensor | PackedSequence):
        return True
    # A Hugging Face BatchEncoding moves itself, and is a mapping all the same.
    return callable(getattr(value, "to", None)) and not isinstance(value, Mapping | np.ndarray)


def _is_tensor(value: Any) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, tuple | list) and not isinstance(value, PackedSequence)


def _describe_kind(value: Any) -> str:
    kind = describe_type(value)
    return f"{kind} of {len(value)}" if _is_sequence(value) else kind
