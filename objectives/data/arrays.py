"""Samples in one array: images and the like, and whatever a user's own function returns.

Arrays from files are standardised by the training split: images `[n, channels, height, width]` per
channel, rows `[n, features]` per feature, anything else as a whole. What a user's function returns
is taken as it is: neither inputs nor targets are scaled.

Entry points: `read_result` reads what a function returned, `encode_array` standardises an array.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError, describe_type
from .dataset import Data, RawData
from .split import Partition
from .table import read_table

CHANNELS = (1, 3, 4)
"""Channels that images have: grey, colour, colour with transparency."""

_EXPECTED_RESULT = (
    "return Data, (x, y), (x_train, y_train, x_val, y_val), the same with x_test and y_test, or "
    "a mapping with these names"
)
_SPLIT_NAMES = (("x_train", "y_train"), ("x_val", "y_val"), ("x_test", "y_test"))


def read_result(name: str, result: Any) -> Data | RawData:
    """Return the data that a user's function returned.

    Args:
        name: The function's reference.
        result: `Data`; `(x, y)`, which is divided 60 / 20 / 20; `(x_train, y_train, x_val,
            y_val[, x_test, y_test])`; or a mapping of these names. Arrays, tensors or (for x and
            y) a pandas table. Without a test split half of the validation rows become one.

    Raises:
        DataError: Anything else, numbers that are not finite, or rows that do not pair up.
    """
    if isinstance(result, Data):
        return result
    pairs = _split_pairs(name, result)
    x, y = pairs[0]
    if len(pairs) == 1 and isinstance(x, pd.DataFrame):
        return _read_user_table(name, x, y)
    inputs = [_as_samples(name, x) for x, _ in pairs]
    targets = [_as_labels(name, y) for _, y in pairs]
    for samples, labels in zip(inputs, targets, strict=True):
        _require_pairs(name, len(samples), len(labels))
    shapes = {tuple(samples.shape[1:]) for samples in inputs}
    if len(shapes) > 1:
        raise DataError(f"{name} returned samples of shapes {sorted(shapes)}: make them equal.")
    return RawData(
        name=name,
        inputs=torch.cat(inputs),
        target=np.concatenate(targets),
        target_name="y",
        split_sizes=None if len(pairs) == 1 else [len(labels) for labels in targets],
    )


def encode_array(
    name: str, x: NDArray[Any], partition: Partition, *, image: bool = False
) -> tuple[list[Tensor], tuple[str, ...]]:
    """Return the standardised samples of each split, and notes on what was done to them.

    Args:
        name: Of the data, for people.
        x: `[n, features]`, `[n, h, w]`, `[n, c, h, w]`, `[n, h, w, c]` (channels are moved to the
            front) or more axes.
        partition: Which rows may be learnt from.
        image: Whether a family asks for `[c, h, w]`: grey images get their channel axis.

    Raises:
        DataError: Images are asked for, and these are none.
    """
    notes = []
    x = x.astype(np.float32)
    if x.ndim == 4 and x.shape[-1] in CHANNELS and x.shape[1] not in CHANNELS:
        x = np.ascontiguousarray(np.moveaxis(x, -1, 1))
        notes.append(f"moved the {x.shape[1]} channels of the images to the front")
    if image and x.ndim == 3:
        x = x[:, None]
    if image and x.ndim != 4:
        raise DataError(
            f"{name} has samples of shape {x.shape[1:]}, images (channels, height, width) are "
            "asked for: give an array of shape [n, channels, height, width]."
        )
    non_finite_count = _standardise(x, partition.train)
    if non_finite_count:
        notes.append(f"took {non_finite_count} missing or infinite numbers as the training mean")
    return [torch.from_numpy(x[rows]) for rows in partition.splits], tuple(notes)


def _standardise(x: NDArray[np.float32], train: NDArray[np.int64]) -> int:
    """Standardise in place by the training rows; return how many numbers were not finite."""
    non_finite = ~np.isfinite(x)
    x[non_finite] = np.nan
    train_values = x[train]
    axes = {2: (0,), 4: (0, 2, 3)}.get(x.ndim)
    mean = np.nanmean(train_values, axis=axes, keepdims=True, dtype=np.float64)
    scale = np.nanstd(train_values, axis=axes, keepdims=True, dtype=np.float64)
    x -= mean.astype(np.float32)
    x /= np.where(scale > 0, scale, 1.0).astype(np.float32)
    x[non_finite] = 0.0  # the mean, once standardised
    return int(non_finite.sum())


def _split_pairs(name: str, result: Any) -> list[tuple[Any, Any]]:
    """Return pairs of inputs and targets: one to be divided, or two or three given splits."""
    if isinstance(result, Mapping):
        if set(result) == {"x", "y"}:
            return [(result["x"], result["y"])]
        names = [pair for pair in _SPLIT_NAMES if set(pair) & set(result)]
        expected_names = [key for pair in names for key in pair]
        if (
            names == list(_SPLIT_NAMES[: len(names)])
            and len(names) > 1
            and set(expected_names) == set(result)
        ):
            return [(result[x], result[y]) for x, y in names]
        raise DataError(
            f"{name} returned a mapping of {', '.join(map(str, result))}: {_EXPECTED_RESULT}."
        )
    if isinstance(result, tuple | list) and len(result) in (2, 4, 6):
        return list(zip(result[::2], result[1::2], strict=True))
    kind = describe_type(result)
    if isinstance(result, tuple | list):
        kind += f" of {len(result)}"
    raise DataError(f"{name} returned {kind}: {_EXPECTED_RESULT}.")


def _as_samples(name: str, x: Any) -> Tensor:
    if isinstance(x, Tensor) and x.dtype == torch.int64:
        return x.detach().cpu()  # token ids for an embedding
    try:
        samples = torch.as_tensor(x if isinstance(x, Tensor) else np.asarray(x)).detach().cpu()
        samples = samples.to(torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{name} returned inputs that are no array of numbers ({error}): give numbers."
        ) from error
    non_finite_count = int((~torch.isfinite(samples)).sum())
    if non_finite_count:
        raise DataError(
            f"{name} returned inputs with {non_finite_count} missing or infinite numbers: fill or "
            "drop them."
        )
    if samples.ndim == 0:
        raise DataError(f"{name} returned a single number as inputs: {_EXPECTED_RESULT}.")
    return samples[:, None] if samples.ndim == 1 else samples


def _as_labels(name: str, y: Any) -> NDArray[Any]:
    labels = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    if labels.ndim == 0:
        raise DataError(f"{name} returned a single value as targets: give one target a row.")
    if pd.isna(labels).any() or (labels.dtype.kind == "f" and np.isinf(labels).any()):
        raise DataError(f"{name} returned targets that are missing or infinite: leave them out.")
    return labels


def _read_user_table(name: str, x: pd.DataFrame, y: Any) -> RawData:
    column = "y" if getattr(y, "name", None) is None else str(y.name)
    _require_pairs(name, len(x), len(y))
    return read_table(name, x.assign(**{column: np.asarray(y)}), column)


def _require_pairs(name: str, rows: int, targets: int) -> None:
    if rows != targets:
        raise DataError(
            f"{name} returned {rows} rows of inputs and {targets} targets: give one target a row."
        )
