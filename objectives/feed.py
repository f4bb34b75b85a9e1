"""Feeding: where data lies while it is trained on, and how batches come to the device.

Data lies on the device whole where it fits well: then a batch is one indexing. What does not fit
stays in the host's memory, or in a file that is mapped there (`numpy.load(…, mmap_mode="r")` in a
user's function), and a thread fetches the next batch while the present one is trained on.

Entry points: `placed`, `batches`.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import torch
from torch import Tensor

from .data import Data, Split

Place = Literal["auto", "device", "host"]

SHARE = 0.25
"""Of a GPU's free memory that data may take: the rest is for what is trained there."""


def placed(data: Data, device: torch.device, place: Place = "auto") -> Data:
    """Return the data where it shall lie.

    Args:
        data: All splits.
        device: Where it is trained on.
        place: "device"; "host", where it lies now; or "auto": on the device if it takes at most
            `SHARE` of what is free there.
    """
    if place == "host" or (place == "auto" and not _fits(data, device)):
        return data
    return data.to(device)


def _fits(data: Data, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return size(data) <= SHARE * free


def size(data: Data) -> int:
    """Return the bytes of all splits."""
    splits = (data.train, data.validation, data.test)
    return sum(part.nbytes for split in splits for part in (split.inputs, split.targets))


def batches(
    split: Split, rows: Sequence[Tensor], device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield inputs and targets of each batch, on the device.

    Args:
        split: On the device or on the host.
        rows: Row numbers of each batch, int64, of any shape; the batch begins with it.
        device: Where they are wanted.
    """
    if split.inputs.device.type == device.type:
        for mine in rows:
            yield _gathered(split, mine.to(device))
        return
    yield from fetched_ahead(split, rows, device)


def fetched_ahead(
    split: Split, rows: Sequence[Tensor], device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what `batches` does, each batch fetched while the one before is worked on."""
    with ThreadPoolExecutor(1, thread_name_prefix="feed") as fetcher:
        coming = [fetcher.submit(_fetched, split, mine, device) for mine in rows[:1]]
        for following in (*rows[1:], None):
            if not coming:
                return
            inputs, targets = coming.pop().result()
            if following is not None:
                coming.append(fetcher.submit(_fetched, split, following, device))
            yield inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)


def _fetched(split: Split, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Gather a batch on the host; for a GPU in pinned memory, which it copies from by itself."""
    inputs, targets = _gathered(split, rows.to(split.inputs.device))
    if device.type == "cuda":
        return inputs.pin_memory(), targets.pin_memory()
    return inputs, targets


def _gathered(split: Split, rows: Tensor) -> tuple[Tensor, Tensor]:
    flat = rows.flatten()
    return (
        split.inputs.index_select(0, flat).view(*rows.shape, *split.inputs.shape[1:]),
        split.targets.index_select(0, flat).view(*rows.shape, *split.targets.shape[1:]),
    )
