"""Samples in one array: images and the like, tokens, and whatever a user's own function returns.

Arrays from files are standardised by the training split: images `[n, channels, height, width]` per
channel, rows `[n, features]` per feature, anything else as a whole. What a user's function returns
keeps its shape and its kind of number: whole numbers stay whole, of their own type, since they may
be token ids; fractions are float32. None of it is scaled.

Entry points: `encode_array` standardises an array, `as_samples` takes a user's.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import DataError, describe_type
from ..split import Partition

CHANNELS = (1, 3, 4)
"""Channels that images have: grey, colour, colour with transparency."""

_WIDER_TYPES = {
    torch.uint16: torch.int32,
    torch.uint32: torch.int64,
    torch.uint64: torch.int64,
    torch.complex128: torch.complex64,
}
"""Types that torch does little with, and those that hold the same numbers (nearly)."""


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


def as_samples(name: str, x: Any) -> Tensor:
    """Return a user's samples as a tensor `[n, ...]` on the CPU.

    Whole numbers and true/false keep their type, fractions become float32, and `[n]` becomes
    `[n, 1]`.

    Raises:
        DataError: They are no array of finite numbers, or a sample holds none.
    """
    try:
        samples = x.detach().cpu() if isinstance(x, Tensor) else torch.from_numpy(_as_numbers(x))
        if samples.is_sparse or samples.layout != torch.strided:
            samples = samples.to_dense()
        dtype = torch.float32 if samples.is_floating_point() else samples.dtype
        samples = samples.to(_WIDER_TYPES.get(dtype, dtype)).resolve_conj()
    except (TypeError, ValueError, RuntimeError) as error:
        message = str(error).partition("\n")[0].rstrip(".")
        raise DataError(
            f"{name} returned inputs that are no array of numbers ({message}): give numbers."
        ) from error
    if samples.ndim == 0:
        raise DataError(
            f"{name} returned {_describe_scalar(x)} as inputs: give an array of samples, one a row."
        )
    if samples.is_floating_point() or samples.is_complex():
        non_finite_count = int((~torch.isfinite(samples)).sum())
        if non_finite_count:
            raise DataError(
                f"{name} returned inputs with {non_finite_count} missing or infinite numbers: fill "
                "or drop them."
            )
    if samples.ndim > 1 and 0 in samples.shape[1:]:
        raise DataError(
            f"{name} returned samples of shape {tuple(samples.shape[1:])}, which hold no number: "
            "give some to learn from."
        )
    return samples[:, None] if samples.ndim == 1 else samples


def _as_numbers(x: Any) -> NDArray[Any]:
    """Return anything as an array that torch takes; raises ValueError or TypeError for others."""
    if isinstance(x, list | tuple) and x and all(isinstance(part, Tensor) for part in x):
        x = torch.stack([part.detach().cpu() for part in x]).numpy()
    array = np.asarray(x)
    if np.ma.is_masked(x):
        raise ValueError(f"{int(np.ma.getmaskarray(x).sum())} of them are masked")
    if array.dtype == object and array.ndim:  # numbers of several types, or too large for one
        array = array.astype(np.float64)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{describe_type(x)} of type {array.dtype}")
    native = array.dtype.newbyteorder("=")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        native = np.dtype(np.float64)
    # A copy of what torch cannot share: other byte orders, negative steps, read-only memory.
    array = np.ascontiguousarray(array, dtype=native) if array.ndim else array.astype(native)
    return array if array.flags.writeable else array.copy()


def _describe_scalar(x: object) -> str:
    number = isinstance(x, int | float | complex | np.generic | Tensor | np.ndarray)
    return "a single number" if number else describe_type(x)
