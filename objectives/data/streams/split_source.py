"""A split's batches as the training takes them: read, compared with the first, errors in sentences.

Entry point: `SplitSource`, the `BatchSource` over a feed.
"""

import re
from collections.abc import Iterator
from typing import Any, final

from torch import Tensor

from ...errors import DataError, ObjectiveError, describe_dtype, describe_error
from ...interrupt import raise_if_interrupt
from ...user_code import is_out_of_memory, user_code_location
from .batch import Batch, describe_inputs, describe_shapes, find_tensors, map_tensors, read_batch
from .feed import Feed
from .loading import LoadFailure, raise_failure
from .source import close_batches

_DEAD_WORKER = re.compile(r"worker \(pid\(?s?\)? ?([\d, ]+)\)")
_FROM_WORKER = re.compile(r"^Caught (\w+) in DataLoader worker process")


@final
class SplitSource:
    """The batches of a split.

    Attributes:
        name: Of the split and its data, for people.
    """

    def __init__(
        self, feed: Feed, name: str, *, fixed: bool, model_loss: bool, target: str | None
    ) -> None:
        """Take a feed.

        Args:
            feed: What yields what the user's code makes.
            name: Such as "my_data.py:load: the training data".
            fixed: Whether seed and epoch are ignored: of validation and test.
            model_loss: Whether the model's forward returns its loss, and so gets the targets.
            target: Key of the targets, where samples are dicts.
        """
        self.name = name
        self._feed, self._fixed = feed, fixed
        self._model_loss, self._target = model_loss, target
        self._first: Batch | None = None
        self._parked: dict[tuple[int, int], Iterator[Any]] = {}

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self._feed.steps

    @property
    def rows(self) -> int | None:
        """Samples in an epoch; None where a stream does not say."""
        return self._feed.rows

    @property
    def may_end_early(self) -> bool:
        """Whether `steps` are the most: of a stream that does not say how long it is."""
        return self._feed.may_end_early

    def batches(
        self, seed: int, epoch: int, start: int = 0, stop: int | None = None
    ) -> Iterator[Batch]:
        """Yield batches of an epoch; see `BatchSource`."""
        if self._fixed:
            seed = epoch = 0
        end = self.steps if stop is None else min(stop, self.steps)
        raw = self._parked.pop((seed, epoch), None) if start == 0 else None
        if raw is None:
            raw = self._feed.open(seed, epoch, start)
        try:
            for position in range(start, end):
                batch = self._next(raw, position)
                if batch is None:
                    return
                if position == self.steps - 1:
                    # Before it is yielded: who takes the last batch may not come back.
                    raw = self._finish(raw, seed, epoch)
                yield batch
        finally:
            close_batches(raw)

    def _finish(self, raw: Iterator[Any], seed: int, epoch: int) -> Iterator[Any]:
        """Return what is left to close of an epoch's iterator after its last batch."""
        if self._feed.continues:
            # A stream goes on in the next epoch: with a new iterator it would have to be drawn
            # from its beginning.
            self._parked[seed, epoch + 1] = raw
            return iter(())
        next(raw, None)  # so that it ends as it likes
        return raw

    def first_again(self) -> Batch:
        """Return the first batch of the first epoch, loaded once more where it was loaded before.

        A generator of the user's goes on there; another process may begin with a copy of it.
        """
        raw = self._feed.open_again()
        try:
            batch = self._next(raw, 0)
        finally:
            close_batches(raw)
        assert batch is not None, "a source without a first batch is refused"
        return batch

    def close(self) -> None:
        """End what stands by between calls of `batches`."""
        for raw in self._parked.values():
            close_batches(raw)
        self._parked.clear()
        self._feed.close()

    def _next(self, raw: Iterator[Any], position: int) -> Batch | None:
        """Return the next batch; None where the data may end, and does.

        Raises:
            DataError: It cannot be loaded, or is no batch like the first one.
        """
        name = f"{self.name}, batch {position + 1:,}"
        try:
            given = next(raw)
        except StopIteration:
            self._check_end(position)
            return None
        except BaseException as error:
            raise_if_interrupt(error)
            if is_out_of_memory(error):
                raise
            if isinstance(error, ObjectiveError):
                raise DataError(f"{self.name}: {error}") from error
            if dead := _DEAD_WORKER.search(str(error)):
                # When that is noticed has nothing to do with the batch that is waited for.
                raise DataError(
                    f"{self.name}: a loader worker (process {dead[1].strip()}) died: it was "
                    "killed, maybe for the memory that it took, or crashed; give the loader fewer "
                    "workers, or mend the data set."
                ) from error
            raise DataError(f"{name}: {_describe_loader_error(error)}") from error
        if isinstance(given, LoadFailure):
            raise_failure(given, name)
        try:
            batch = read_batch(given, model_loss=self._model_loss, target=self._target)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        if self._first is None:
            self._first = _outline(batch)
        else:
            _require_same_kind(name, self._first, batch)
        return batch

    def _check_end(self, position: int) -> None:
        if position == 0:
            raise DataError(f"{self.name} is empty: give it samples.")
        if not self._feed.may_end_early:
            raise DataError(
                f"{self.name} has {self.steps:,} batches in an epoch, and ended after "
                f"{position:,}: let __len__ return how many there are."
            )


def _outline(batch: Batch) -> Batch:
    """Return a batch of the same kind without its numbers."""
    return Batch(
        args=map_tensors(_without_numbers, batch.args),
        kwargs=map_tensors(_without_numbers, batch.kwargs),
        targets=map_tensors(_without_numbers, batch.targets),
    )


def _without_numbers(value: Any) -> Any:
    return value.to("meta") if _is_tensor(value) else value


def shape_change(first: Batch, batch: Batch) -> str:
    """Return in which shapes a batch's samples differ from another's; "" where they do not.

    Lengths may differ by right, where a collate function pads each batch by itself: it is for
    whoever trains on the batch, and fails.
    """
    for part, one, other in (
        ("inputs", (first.args, first.kwargs), (batch.args, batch.kwargs)),
        ("targets", first.targets, batch.targets),
    ):
        before = [tuple(value.shape[1:]) for value in find_tensors(one) if _is_tensor(value)]
        now = [tuple(value.shape[1:]) for value in find_tensors(other) if _is_tensor(value)]
        if before != now:
            return (
                f"its {part} are {_describe_part(batch, part)} a sample, those of the first batch "
                f"were {_describe_part(first, part)}"
            )
    return ""


def _require_same_kind(name: str, first: Batch, batch: Batch) -> None:
    """Raise DataError where a batch has other parts, axes or types than the first one."""
    for part in ("inputs", "targets"):
        if _signature(first, part) != _signature(batch, part):
            raise DataError(
                f"{name}: its {part} are {_describe_part(batch, part)} a sample, those of the "
                f"first batch were {_describe_part(first, part)}: give all batches the same "
                "inputs and targets, of the same types and as many axes."
            )


def _signature(batch: Batch, part: str) -> object:
    if part == "targets":
        return _kinds(batch.targets)
    return (
        _kinds(batch.args),
        sorted(batch.kwargs),
        [_kinds(batch.kwargs[name]) for name in sorted(batch.kwargs)],
    )


def _kinds(value: Any) -> list[object]:
    return [
        (tensor.ndim, describe_dtype(tensor.dtype)) if _is_tensor(tensor) else type(tensor).__name__
        for tensor in find_tensors(value)
    ]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _describe_part(batch: Batch, part: str) -> str:
    if part == "targets":
        return describe_shapes(batch.targets, skip=1)
    return describe_inputs(batch, skip=1)


def _describe_loader_error(error: BaseException) -> str:
    """Return a sentence on what torch's loader, or another one, raised."""
    message = str(error)
    if _FROM_WORKER.match(message):
        lines = [line for line in message.strip().splitlines() if line.strip()]
        return f"a loader worker raised {lines[-1].strip().rstrip('.')}: mend the loader."
    if "timed out" in message and "DataLoader" in message:
        return f"the loader {message.partition(' ')[2].rstrip('.')}: give it a longer timeout."
    return f"the loader raised {describe_error(error)}{user_code_location(error)}: mend it."
