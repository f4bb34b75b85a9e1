"""The order in which one training takes the batches of a source, and their way to the device.

A training takes an epoch in parts: between them it is validated, reports, or is interrupted. The
source is read on where the part before ended, so that loader workers go on, too.

Entry points: `EpochOrder` and `EpochPart`, what is due next; `EpochReader`, which reads it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from ...errors import DataError
from .batch import Batch
from .source import BatchSource, close_batches


@dataclass(frozen=True, kw_only=True)
class EpochPart:
    """Consecutive batches of an epoch.

    Attributes:
        epoch: From 0.
        start: The first batch, from 0.
        stop: The batch to end before.
    """

    epoch: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@final
class EpochOrder:
    """The batches of one training, epoch by epoch or in parts of an epoch.

    As `data.batches.BatchSampler`, for a source that keeps the order itself.
    """

    def __init__(self, steps: int) -> None:
        """Begin before the first epoch.

        Args:
            steps: Batches in an epoch.
        """
        self._steps = steps
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
        """Go to a `position` of an equal order; this one must not have given any batches."""
        self._epochs_begun, self._batches_given = epochs, batches_given

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return self._steps

    def batches_until(self, fraction: float) -> EpochPart:
        """Return the batches between the end of the last call and this share of the epoch.

        Args:
            fraction: In (0, 1]; 1 ends the epoch, and the next call begins another.

        Returns:
            An empty part where the share ends within a batch that was given before.
        """
        if self._batches_given == 0:
            self._epochs_begun += 1
        start = self._batches_given
        end = max(start, math.ceil(fraction * self._steps))
        self._batches_given = 0 if fraction >= 1 else end
        return EpochPart(epoch=self._epochs_begun - 1, start=start, stop=end)


@final
class EpochReader:
    """Reads the parts of a training's epochs, one after the other."""

    def __init__(self, source: BatchSource, seed: int, device: torch.device) -> None:
        """Begin without reading anything.

        Args:
            source: Of training batches.
            seed: Of the training.
            device: Where the batches are to be.
        """
        self._source, self._seed, self._device = source, seed, device
        self._batches: Iterator[Batch] | None = None
        self._position = (-1, 0)

    def read(self, part: EpochPart) -> Iterator[Batch]:
        """Yield the batches of a part, on the device.

        Raises:
            DataError: The source failed, or ended before its epoch did.
        """
        for step in range(part.start, part.stop):
            if self._batches is None or self._position != (part.epoch, step):
                self.close()
                self._batches = self._source.batches(self._seed, part.epoch, step)
            batch = next(self._batches, None)
            if batch is None:
                raise DataError(
                    f"the training data ended after batch {step} of {self._source.steps} of epoch "
                    f"{part.epoch}: let every epoch have as many batches as the first."
                )
            self._position = (part.epoch, step + 1)
            yield to_device(batch, self._device)
        if part.stop == self._source.steps:
            self.close()

    def close(self) -> None:
        """End what reads ahead; reading goes on anew afterwards."""
        batches, self._batches = self._batches, None
        close_batches(batches)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Return a batch on a device; to a GPU it is copied while that computes."""
    if device.type == "cuda":
        batch = batch.map(_pinned)
    return batch.to(device)


def _pinned(value: Any) -> Any:
    """Return a tensor in memory that a GPU copies from by itself."""
    if isinstance(value, Tensor) and value.device.type == "cpu" and not value.is_pinned():
        return value.pin_memory()
    return value
