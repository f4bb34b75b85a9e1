"""Samples of several arrays that lie in memory: several inputs, several targets, or none.

Entry points: `find_arrays` tells whether a function returned such; `ArrayDataset` is the map-style
data set of them.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import DataError, describe_type
from ..split import SPLIT_KEYS

_PLAIN_NAMES = {"x", "y"}
_OTHER_NAMES = ("x_train", "y_train")  # of arrays that are divided already

_WIDER_TYPES = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64}
_CHUNK_ROWS = 4096


@final
class ArrayDataset(Dataset[Any]):
    """Samples of several arrays; many are taken at once.

    Attributes:
        samples: What a batch is like, all of the samples at once.
    """

    def __init__(self, name: str, samples: Any) -> None:
        """Take arrays.

        Args:
            name: Of the user's function.
            samples: A tensor, `(inputs, targets)`, or a mapping; each of nested arrays.

        Raises:
            DataError: One is no array of numbers, or they have different lengths.
        """
        self.samples = _convert(name, samples)
        lengths = {len(part) for part in _leaves(self.samples)}
        if len(lengths) != 1:
            raise DataError(
                f"{name} returned arrays of {' and '.join(map(str, sorted(lengths)))} rows: give "
                "each input and target a row for every sample."
            )
        self._rows = lengths.pop()

    def __len__(self) -> int:
        return self._rows

    def __getitems__(self, rows: Sequence[int]) -> Any:
        """Return a batch of these rows."""
        index = torch.as_tensor(rows)
        return _map(lambda part: part.index_select(0, index), self.samples)

    def __getitem__(self, row: int) -> Any:
        return _map(lambda part: part[row], self.samples)


def find_arrays(result: Any) -> list[Any] | None:
    """Return the samples of each split; None where a function returned other things.

    Args:
        result: Of the user's function: `(inputs, targets)` where one of them is a mapping of
            arrays, or the inputs are a tuple of arrays; a mapping of arrays; an array without
            targets, or `(inputs, None)`; or two or three of these, or a mapping of train,
            validation and test to them.
    """
    splits = split_parts(result)
    if isinstance(result, tuple | list) and splits is not None and _names_differ(splits):
        splits = None  # inputs and targets
    if splits is not None and all(
        _is_samples(part, alone=isinstance(result, Mapping)) for part in splits
    ):
        return [_read_samples(part) for part in splits]
    return [_read_samples(result)] if _is_samples(result, alone=True) else None


def _names_differ(parts: Sequence[Any]) -> bool:
    """Return whether parts are mappings of different names."""
    return all(isinstance(part, Mapping) for part in parts) and any(
        set(part) != set(parts[0]) for part in parts
    )


def split_parts(result: Any) -> list[Any] | None:
    """Return the parts of a result that may give two or three splits; None where it cannot."""
    if isinstance(result, Mapping):
        parts = [result[key] for group in SPLIT_KEYS for key in group if key in result]
        return parts if len(parts) == len(result) and len(parts) in (2, 3) else None
    if isinstance(result, tuple | list) and len(result) in (2, 3):
        return list(result)
    return None


def _is_samples(value: Any, *, alone: bool) -> bool:
    """Return whether a value is the samples of one split, of a kind that is no plain pair.

    Args:
        value: Of the user's function, or a part of it.
        alone: Whether an array may stand for inputs without targets; in a tuple it is inputs or
            targets.
    """
    if _is_array(value):
        return alone and value.ndim > 1
    if isinstance(value, Mapping):
        if set(value) == _PLAIN_NAMES:
            return _is_samples((value["x"], value["y"]), alone=alone)
        return _is_structure(value) and not any(name in value for name in _OTHER_NAMES)
    if not isinstance(value, tuple) or len(value) != 2:
        return False
    inputs, targets = value
    if targets is None:
        return _is_array(inputs) or _is_structure(inputs)
    if isinstance(inputs, Mapping) and isinstance(targets, Mapping):
        # Two mappings of the same names are two splits.
        return set(inputs) != set(targets) and _is_structure(inputs) and _is_structure(targets)
    if isinstance(inputs, tuple):  # with a tuple of targets it would be two plain pairs
        return _is_structure(inputs) and (
            _is_structure(targets)
            if isinstance(targets, Mapping)
            # A tuple of samples has one a row; a tuple of inputs has all the rows in each.
            else _is_array(targets) and len(targets) == len(inputs[0])
        )
    if isinstance(inputs, Mapping):
        return _is_structure(inputs) and (_is_array(targets) or _is_structure(targets))
    return _is_array(inputs) and isinstance(targets, Mapping) and _is_structure(targets)


def _is_structure(value: Any) -> bool:
    """Return whether a value is a mapping of arrays, or a tuple of several of as many rows."""
    if isinstance(value, Mapping):
        return bool(value) and all(_is_array(part) and part.ndim for part in value.values())
    return (
        isinstance(value, tuple)
        and len(value) > 1
        and all(_is_array(part) and part.ndim for part in value)
        and len({len(part) for part in value}) == 1
    )


def _read_samples(value: Any) -> Any:
    """Return samples in the form of a batch."""
    if isinstance(value, Mapping) and set(value) == _PLAIN_NAMES:
        value = value["x"], value["y"]
    if isinstance(value, tuple) and value[1] is None:
        return value[0] if isinstance(value[0], Mapping) else (value[0],)
    return value


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray | pd.Series)


def _convert(name: str, value: Any) -> Any:
    """Return nested arrays as tensors on the CPU."""
    if isinstance(value, Mapping):
        return {str(key): _convert(name, part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(_convert(name, part) for part in value)
    if isinstance(value, Tensor):
        tensor = value.detach().cpu()
    else:
        array = np.asarray(value)
        if array.dtype.kind not in "biufc":
            raise DataError(
                f"{name} returned {describe_type(value)} of type {array.dtype} among several "
                "inputs or targets: give numbers."
            )
        native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
        with warnings.catch_warnings():
            # Nothing is written to it; a copy of a mapped file might not fit.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            tensor = torch.from_numpy(native)
    if tensor.ndim == 0:
        raise DataError(f"{name} returned a single number as an input or target: give arrays.")
    if tensor.is_floating_point() and not all(
        bool(torch.isfinite(chunk).all()) for chunk in torch.split(tensor, _CHUNK_ROWS)
    ):
        raise DataError(
            f"{name} returned missing or infinite numbers: fill them, or drop their rows."
        )
    return tensor.to(_WIDER_TYPES.get(tensor.dtype, tensor.dtype))


def _leaves(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    else:
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(part)


def _map(function: Any, value: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: _map(function, part) for key, part in value.items()}
    return tuple(_map(function, part) for part in value)
