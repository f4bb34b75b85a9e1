"""What a user's data function may return, and what is read from it.

Entry point: `read_result`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import DataError, describe_type
from ..dataset import Data, RawData
from ..split import SPLIT_KEYS
from ..table import read_table
from .samples import as_samples

_EXPECTED_RESULT = (
    "return (x, y), pairs ((x, y), (x, y), (x, y)) of training, validation and test, "
    "(x_train, y_train, x_val, y_val), the same with x_test and y_test, a mapping with these "
    "names, or data sets or loaders of torch's, as (train, validation) or (train, validation, "
    "test)"
)
_SPLIT_NAMES = (("x_train", "y_train"), ("x_val", "y_val"), ("x_test", "y_test"))


def read_result(name: str, result: Any) -> Data | RawData:
    """Return the data that a user's function returned.

    Args:
        name: The function's reference.
        result: `Data`; `(x, y)`, which is divided 60 / 20 / 20; two or three pairs; `(x_train,
            y_train, x_val, y_val[, x_test, y_test])`; or a mapping of these names, or of train,
            validation and test to pairs. Arrays, tensors, lists or pandas tables. Without a test
            split half of the validation rows become one.

    Raises:
        DataError: Anything else, numbers that are not finite, or rows that do not pair up.
    """
    if isinstance(result, Data):
        return result
    pairs = _split_pairs(name, result)
    has_tables = any(isinstance(x, pd.DataFrame) for x, _ in pairs)
    targets = [_as_targets(name, y, may_miss=has_tables) for _, y in pairs]
    split_sizes = None if len(pairs) == 1 else [len(values) for values in targets]
    if has_tables:
        return _read_user_tables(name, [x for x, _ in pairs], targets, pairs[0][1], split_sizes)
    inputs = [as_samples(name, x) for x, _ in pairs]
    for samples, values in zip(inputs, targets, strict=True):
        _require_pairs(name, len(samples), len(values))
    _require_equal(name, "samples", [tuple(samples.shape[1:]) for samples in inputs])
    return RawData(
        name=name,
        inputs=_join(inputs),
        target=_join_targets(name, targets),
        target_name="y",
        split_sizes=split_sizes,
        from_function=True,
    )


def _join(inputs: Sequence[Tensor]) -> Tensor:
    return inputs[0] if len(inputs) == 1 else torch.cat(list(inputs))


def _join_targets(name: str, targets: Sequence[NDArray[Any]]) -> NDArray[Any]:
    _require_equal(name, "targets", [values.shape[1:] for values in targets])
    return targets[0] if len(targets) == 1 else np.concatenate(targets)


def _split_pairs(name: str, result: Any) -> list[tuple[Any, Any]]:
    """Return pairs of inputs and targets: one to be divided, or two or three given splits."""
    if isinstance(result, Mapping):
        return _mapped_pairs(name, result)
    if isinstance(result, tuple | list):
        if len(result) in (2, 3) and all(_is_pair(part) for part in result):
            return [(x, y) for x, y in result]
        if len(result) in (2, 4, 6):
            return list(zip(result[::2], result[1::2], strict=True))
    kind = describe_type(result)
    if isinstance(result, tuple | list):
        kind += f" of {len(result)}"
    raise DataError(f"{name} returned {kind}: {_EXPECTED_RESULT}.")


def _is_pair(part: Any) -> bool:
    """Return whether something is inputs and targets; as a list of samples it would be too few."""
    return isinstance(part, tuple | list) and len(part) == 2 and not np.isscalar(part[0])


def _mapped_pairs(name: str, result: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    names = set(result)
    if names == {"x", "y"}:
        return [(result["x"], result["y"])]
    for count in (2, 3):
        if names == {key for pair in _SPLIT_NAMES[:count] for key in pair}:
            return [(result[x], result[y]) for x, y in _SPLIT_NAMES[:count]]
        keys = [[key for key in synonyms if key in names] for synonyms in SPLIT_KEYS[:count]]
        if len(names) == count and all(len(found) == 1 for found in keys):
            parts = [result[key] for (key,) in keys]
            if all(_is_pair(part) for part in parts):
                return [(x, y) for x, y in parts]
    raise DataError(
        f"{name} returned a mapping of {', '.join(map(str, result))}: {_EXPECTED_RESULT}."
    )


def _as_targets(name: str, y: Any, *, may_miss: bool = False) -> NDArray[Any]:
    """Return a user's targets as an array with a value, or an array of values, a row.

    Args:
        name: The function's reference.
        y: What it returned.
        may_miss: Whether a row without a target is dropped later on, as a table's is.
    """
    if isinstance(y, Tensor):
        y = y.detach().cpu()
        y = y.float() if y.dtype in (torch.bfloat16, torch.float16) else y
        y = (y.to_dense() if y.layout != torch.strided else y).numpy()
    elif isinstance(y, list | tuple) and y and all(isinstance(part, Tensor) for part in y):
        return _as_targets(name, torch.stack(list(y)), may_miss=may_miss)
    try:
        values = np.asarray(y)
    except ValueError as error:
        raise DataError(
            f"{name} returned targets of several lengths ({error}): give each row as many."
        ) from error
    if values.ndim == 0:
        finding = "a single value" if values.dtype != object or y is None else describe_type(y)
        raise DataError(f"{name} returned {finding} as targets: give one target a row.")
    if 0 in values.shape[1:]:
        raise DataError(f"{name} returned targets of shape {values.shape}: give each row a target.")
    missing = np.ma.is_masked(y) or pd.isna(values).any() or _any_infinite(values)
    if missing and not (may_miss and values.ndim == 1):
        raise DataError(f"{name} returned targets that are missing or infinite: leave them out.")
    return values


def _any_infinite(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "fc" and bool(np.isinf(values).any())


def _read_user_tables(
    name: str,
    tables: Sequence[Any],
    targets: Sequence[NDArray[Any]],
    y: Any,
    split_sizes: list[int] | None,
) -> RawData:
    """Return tables of columns, which are encoded as a file's are, and their targets."""
    if not all(isinstance(table, pd.DataFrame) for table in tables):
        raise DataError(f"{name} returned tables and arrays: give all splits as tables, or none.")
    for table, values in zip(tables, targets, strict=True):
        _require_pairs(name, len(table), len(values))
    columns = [tuple(map(str, table.columns)) for table in tables]
    if len(set(columns)) > 1:
        raise DataError(f"{name} returned tables of different columns: give all splits the same.")
    target = _join_targets(name, targets)
    table = tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)
    table = table.set_axis(list(map(str, table.columns)), axis=1)
    target_name, notes = _name_target(y, columns[0])
    # A matrix of targets stands beside the table: one column keeps its place.
    column = target if target.ndim == 1 else np.arange(len(target))
    table = table.copy()
    table[target_name] = column  # not `assign`, whose keywords cannot be called `self`
    raw = read_table(name, table, target_name, notes)
    return replace(
        raw,
        target=target,
        split_sizes=split_sizes,
        from_function=True,
    )


def _name_target(y: Any, columns: Collection[str]) -> tuple[str, Sequence[str]]:
    """Return a name for the target, and a note where the inputs have a column of the same name."""
    name = getattr(y, "name", None)
    if name is None:
        return next(word for word in ("y", "target", "the target") if word not in columns), ()
    if str(name) in columns:
        return str(name), (f"left out the inputs' column '{name}', which the target is, too",)
    return str(name), ()


def _require_pairs(name: str, rows: int, targets: int) -> None:
    if rows != targets:
        raise DataError(
            f"{name} returned {rows} rows of inputs and {targets} targets: give one target a row."
        )


def _require_equal(name: str, what: str, shapes: Sequence[tuple[int, ...]]) -> None:
    if len(set(shapes)) > 1:
        raise DataError(f"{name} returned {what} of shapes {sorted(set(shapes))}: make them equal.")
