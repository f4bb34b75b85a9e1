"""Feeding: where data lies while it is trained on, and how batches come to the device.

Data lies on the device whole where it fits well: then a batch is one indexing. What does not fit
stays in the host's memory, or in a file that is mapped there (`numpy.load(…, mmap_mode="r")` in a
user's function), and a thread fetches the next batch while the present one is trained on.

Entry points: `placed`, `batches`.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor

from .dataset import Data, Split

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


@final
class Order:
    """The batches of one training, epoch by epoch, in parts of an epoch where asked.

    Every candidate of a seed sees the rows in the same order, whatever its widths.
    """

    def __init__(self, rows: int, batch_size: int, seed: int) -> None:
        """Start the stream.

        Args:
            rows: Of the training split.
            batch_size: Rows in a batch; the last one of an epoch may have fewer.
            seed: Of the training.
        """
        self._rows, self._batch_size = rows, batch_size
        word = int(np.random.SeedSequence([seed, 1]).generate_state(1, np.uint32)[0])
        self._stream = torch.Generator().manual_seed(word)
        self._epoch: tuple[Tensor, ...] = ()
        self._drawn = self._given = 0

    @property
    def midway(self) -> bool:
        """Whether the next batches are of an epoch that has begun."""
        return self._given > 0

    @property
    def position(self) -> tuple[int, int]:
        """Epochs begun, and batches given of the last one; 0 where all were."""
        return self._drawn, self._given

    def go_on_from(self, epochs: int, given: int) -> None:
        """Go to a `position` of the same stream; this one must not have given anything."""
        for _ in range(epochs):
            self._epoch = self._shuffled()
        self._given = given

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        full, rest = divmod(self._rows, self._batch_size)
        return full + (rest > 0 and not self._lone(rest))

    def until(self, share: float) -> tuple[Tensor, ...]:
        """Return the batches from where the last call ended to this share of the present epoch.

        Args:
            share: In (0, 1]; 1 ends the epoch, and the next call begins another.

        Returns:
            Row numbers, int64 on the CPU, one tensor a batch; none where the share ends within a
            batch that was given already.
        """
        if self._given == 0:
            self._epoch = self._shuffled()
        end = max(self._given, math.ceil(share * len(self._epoch)))
        part = self._epoch[self._given : end]
        self._given = 0 if share >= 1 else end
        return part

    def _shuffled(self) -> tuple[Tensor, ...]:
        order = torch.randperm(self._rows, generator=self._stream)
        self._drawn += 1
        if self._lone(len(order) % self._batch_size):
            order = order[:-1]
        return torch.split(order, self._batch_size)

    def _lone(self, rest: int) -> bool:
        """Whether a rest is one row: BatchNorm cannot train on it; another shuffle brings it."""
        return rest == 1 and self._batch_size > 1 and self._rows > self._batch_size
