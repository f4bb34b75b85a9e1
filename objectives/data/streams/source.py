"""Sources of batches, and a data set made of them: what does not lie in memory as a whole.

    for epoch in range(epochs):
        for batch in data.train.batches(seed, epoch):
            ...
    for batch in data.validation.batches(0, 0):
        ...
    data.close()

A training source gives the same batches in the same order for the same seed and epoch, so a
checkpoint is a position: `batches(seed, epoch, start)` goes on with batch `start` of that epoch.
Validation and test sources ignore both: they give all samples in an order that never changes.

Entry points: `BatchSource`, the protocol; `BatchData`, the splits with what is known of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ..dataset import Task
from .batch import Batch


class BatchSource(Protocol):
    """A split that comes batch by batch, on the host."""

    @property
    def steps(self) -> int:
        """Batches in an epoch."""

    @property
    def rows(self) -> int | None:
        """Samples in an epoch; None where a stream does not say."""

    def batches(
        self, seed: int, epoch: int, start: int = 0, stop: int | None = None
    ) -> Iterator[Batch]:
        """Yield batches of an epoch, on the host.

        The iterator ends what it started (loader workers, threads) when it is exhausted or closed.

        Args:
            seed: Of the training: decides the order, and what augmentation draws.
            epoch: From 0.
            start: First batch, from 0.
            stop: Batch to end before; None for the end of the epoch.

        Raises:
            DataError: The user's data set or loader raised, ended too early, or gave what is no
                batch.
        """

    def close(self) -> None:
        """End what stands by between calls of `batches`; the source can be used again."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchData:
    """A data set that comes in batches.

    Attributes:
        name: What people call it: the function's reference.
        train: What is learnt from.
        validation: What decides: metric, early stopping, widths.
        test: What is only reported on; None where none was given.
        example: The first training batch, on the CPU.
        batch_size: Samples in a full training batch.
        task: Whether classes or quantities are predicted; None where the targets do not tell.
        outputs: Numbers to predict for a sample, or a position of it; None where that is not known.
        classes: Class names; None where there are none.
        notes: Sentences on what was recognised and how it was handled.
        worker_count: Processes that load training batches; 0 where the training process does.
    """

    name: str
    train: BatchSource
    validation: BatchSource
    test: BatchSource | None
    example: Batch
    batch_size: int
    task: Task | None = None
    outputs: int | None = None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    worker_count: int = 0

    def close(self) -> None:
        """End what stands by between epochs, in every split."""
        for source in (self.train, self.validation, self.test):
            if source is not None:
                source.close()


def close_batches(batches: Iterator[object] | None) -> None:
    """End an iterator of batches before its end: what it started, such as workers, ends with it."""
    close = getattr(batches, "close", None)
    if close is not None:
        close()
