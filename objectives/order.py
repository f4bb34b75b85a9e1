"""The order in which a training sees its rows: a stream of its own, the same in every engine.

Entry point: `Order`.
"""

import math
from typing import final

import numpy as np
import torch
from torch import Tensor


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
