"""Batches: in which order the rows come, and how they come to the device.

Data that is small beside the device's free memory is moved there whole: then a batch is one
indexing. Other data stays in the host's memory, or in a file that is mapped there
(`numpy.load(…, mmap_mode="r")` in a user's function), and a thread gathers the next batch while the
present one is trained on.

Entry points: `place_data` moves the data, `BatchSampler` draws the rows of each batch, `batches`
gathers them.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import final

import numpy as np
import torch
from torch import Tensor

from ..device_workers import device_workers
from .dataset import Data, Split

MAX_MEMORY_FRACTION = 0.25
"""Share of a GPU's free memory that data may take: the rest is for training.

Of workers that share a GPU each takes its part of that."""


class DataLocation(StrEnum):
    """Where data is while it is trained on.

    `AUTO` is the device if the data takes at most `MAX_MEMORY_FRACTION` of its free memory, else
    the host.
    """

    AUTO = "auto"
    DEVICE = "device"
    HOST = "host"


def place_data(
    data: Data, device: torch.device, location: DataLocation = DataLocation.AUTO
) -> Data:
    """Return the data on the device, or on the host where it is to stay there.

    Args:
        data: All splits.
        device: Where it is trained on.
        location: Where it is to be.
    """
    if location == DataLocation.HOST or (
        location == DataLocation.AUTO and not _fits_on_device(data, device)
    ):
        return data
    return data.to(device)


def _fits_on_device(data: Data, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return data_bytes(data) <= MAX_MEMORY_FRACTION * free / device_workers()


def data_bytes(data: Data) -> int:
    """Return the bytes of all splits."""
    splits = (data.train, data.validation, data.test)
    return sum(part.nbytes for split in splits for part in (split.inputs, split.targets))


def batches(
    split: Split, rows: Sequence[Tensor], device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield inputs and targets of each batch, on the device.

    Args:
        split: On the device or on the host.
        rows: Row numbers of each batch, int64; the batch has their shape and then a sample's.
        device: Where they are trained on.
    """
    if split.inputs.device.type == device.type:
        for batch_rows in rows:
            yield _gather_batch(split, batch_rows.to(device))
        return
    yield from prefetched_batches(split, rows, device)


def prefetched_batches(
    split: Split, rows: Sequence[Tensor], device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what `batches` does, each batch gathered while the one before is trained on."""
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as fetcher:
        pending = [
            fetcher.submit(_fetch_batch, split, batch_rows, device) for batch_rows in rows[:1]
        ]
        for next_rows in (*rows[1:], None):
            if not pending:
                return
            inputs, targets = pending.pop().result()
            if next_rows is not None:
                pending.append(fetcher.submit(_fetch_batch, split, next_rows, device))
            yield inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)


def _fetch_batch(split: Split, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Gather a batch on the host; for a GPU in pinned memory, which it copies asynchronously."""
    inputs, targets = _gather_batch(split, rows.to(split.inputs.device))
    if device.type == "cuda":
        return inputs.pin_memory(), targets.pin_memory()
    return inputs, targets


def _gather_batch(split: Split, rows: Tensor) -> tuple[Tensor, Tensor]:
    flat = rows.flatten()
    return (
        split.inputs.index_select(0, flat).view(*rows.shape, *split.inputs.shape[1:]),
        split.targets.index_select(0, flat).view(*rows.shape, *split.targets.shape[1:]),
    )


@final
class BatchSampler:
    """The batches of one training, epoch by epoch or in parts of an epoch.

    Every candidate of a seed sees the rows in the same order, whatever its widths.
    """

    def __init__(self, rows: int, batch_size: int, seed: int) -> None:
        """Seed the order of the rows.

        Args:
            rows: Of the training split.
            batch_size: Rows in a batch; the last one of an epoch may have fewer.
            seed: Of the training.
        """
        self._rows, self._batch_size = rows, batch_size
        word = int(np.random.SeedSequence([seed, 1]).generate_state(1, np.uint32)[0])
        self._generator = torch.Generator().manual_seed(word)
        self._epoch_batches: tuple[Tensor, ...] = ()
        self._epochs_begun = self._batches_given = 0

    @property
    def mid_epoch(self) -> bool:
        """Whether the next batches belong to an epoch that has begun."""
        return self._batches_given > 0

    @property
    def position(self) -> tuple[int, int]:
        """Epochs begun, and batches given of the last one; 0 where all of them were."""
        return self._epochs_begun, self._batches_given

    def load_state(self, epochs: int, batches_given: int) -> None:
        """Go to a `position` of an equal sampler; this one must not have given any batches."""
        for _ in range(epochs):
            self._epoch_batches = self._draw_epoch()
        self._batches_given = batches_given

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        full, remainder = divmod(self._rows, self._batch_size)
        return full + (remainder > 0 and not self._is_single_row(remainder))

    def batches_until(self, fraction: float) -> tuple[Tensor, ...]:
        """Return the batches between the end of the last call and this share of the epoch.

        Args:
            fraction: In (0, 1]; 1 ends the epoch, and the next call begins another.

        Returns:
            Row numbers, int64 on the CPU, one tensor a batch; none where the share ends within a
            batch that was given before.
        """
        if self._batches_given == 0:
            self._epoch_batches = self._draw_epoch()
        end = max(self._batches_given, math.ceil(fraction * len(self._epoch_batches)))
        batches = self._epoch_batches[self._batches_given : end]
        self._batches_given = 0 if fraction >= 1 else end
        return batches

    def _draw_epoch(self) -> tuple[Tensor, ...]:
        order = torch.randperm(self._rows, generator=self._generator)
        self._epochs_begun += 1
        if self._is_single_row(len(order) % self._batch_size):
            order = order[:-1]
        return torch.split(order, self._batch_size)

    def _is_single_row(self, remainder: int) -> bool:
        """Return whether the last batch would be a single row, on which BatchNorm cannot train."""
        return remainder == 1 and self._batch_size > 1 and self._rows > self._batch_size
