"""Loading of a batch: the user's data set and collate function, under streams of their own.

Everything that a batch draws (augmentation, masking, a random crop) comes from a seed that is given
with its rows. So a batch is the same whichever process loads it, with any number of loader workers,
alone or after all the others; and the streams of the training are never touched.

What the user's code raises does not go through torch's loader, which would make a traceback of it,
but comes as a `LoadFailure` in place of the batch.

Entry points: `BatchDataset`, whose items are the batches of a map-style data set; `BatchStream`,
which yields those of an iterable one; `raise_failure`; `seeded_draws` and `seed_generators` of a
sampler or loader.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, default_collate, get_worker_info

from ...errors import DataError, ObjectiveError, describe_error
from ...interrupt import raise_if_interrupt
from ...randomness import Randomness
from ...user_code import LoadedFiles, is_out_of_memory, user_code_location

_CPU = torch.device("cpu")


class BatchRequest(NamedTuple):
    """Which samples a batch has, and the seed of what is drawn while they are loaded.

    Attributes:
        seed: As `stream_seed` gives it.
        keys: Row numbers, or what a sampler of the user's gives in their place.
        single: Whether `keys` is one key, under which the data set has a whole batch.
    """

    seed: int
    keys: Any
    single: bool


@dataclass(frozen=True, kw_only=True)
class LoadFailure:
    """What came in place of a batch.

    Attributes:
        sentence: What went wrong, where, and what to do.
        out_of_memory: Whether memory ran out, which is an outcome and no mistake.
    """

    sentence: str
    out_of_memory: bool


def stream_seed(*numbers: int) -> int:
    """Return a seed of 63 bits for a place in a training: other numbers, other streams."""
    word = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return int(word) >> 1


@contextmanager
def seeded_draws(sampler: Any, seed: int, epoch: int) -> Iterator[None]:
    """Have a sampler of the user's draw from a seed within the block."""
    seed_generators(sampler, seed, epoch)
    with Randomness(seed, _CPU):
        yield


def seed_generators(owner: Any, seed: int, epoch: int) -> None:
    """Seed the generators that a sampler or loader holds, and tell it the epoch if it asks."""
    for name in (None, "batch_sampler", "sampler"):
        holder = owner if name is None else getattr(owner, name, None)
        for part in (holder, getattr(holder, "sampler", None)):
            generator = getattr(part, "generator", None)
            if isinstance(generator, torch.Generator):
                generator.manual_seed(seed)
            set_epoch = getattr(part, "set_epoch", None)
            if callable(set_epoch):
                _seed_by_epoch(part, seed)
                set_epoch(epoch)


def _seed_by_epoch(sampler: Any, seed: int) -> None:
    """Seed what draws from a seed of its own and the epoch, as a `DistributedSampler` does."""
    for name in ("seed", "initial_seed"):
        if type(getattr(sampler, "__dict__", {}).get(name)) is int:
            setattr(sampler, name, seed >> 32)  # NumPy's generators take 32 bits


def raise_failure(failure: LoadFailure, source: str) -> None:
    """Raise what a batch of a source failed of.

    Args:
        failure: In place of a batch.
        source: Name of the source and the batch.

    Raises:
        DataError: A mistake.
        MemoryError: Memory ran out.
    """
    sentence = f"{source}: {failure.sentence}"
    raise MemoryError(sentence) if failure.out_of_memory else DataError(sentence)


@final
class BatchDataset(Dataset[Any]):
    """The batches of a map-style data set; its keys are `BatchRequest`s.

    Attributes:
        dataset: The user's.
    """

    def __init__(self, dataset: Any, collate: Callable[[Any], Any]) -> None:
        """Wrap a data set.

        Args:
            dataset: With `__getitem__`, and maybe `__getitems__` for many keys at once.
            collate: Makes a batch of the samples, or of what lies under a single key.
        """
        self.dataset, self._collate = dataset, collate

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (LoadedFiles(), type(self), vars(self))

    def __getitem__(self, request: BatchRequest) -> Any:
        """Return what the collate function makes of the samples, or a `LoadFailure`."""
        try:
            with Randomness(request.seed, _CPU):
                if request.single:
                    return self._collate(self._load(request.keys))
                return _collate(self._collate, self._load_all(request.keys), request.keys)
        except BaseException as error:
            return _failure(error)

    def _load_all(self, keys: Sequence[Any]) -> Any:
        load_many = getattr(self.dataset, "__getitems__", None)
        if not callable(load_many):
            return [self._load(key) for key in keys]
        try:
            return load_many(keys)
        except BaseException as error:
            raise_if_interrupt(error)
            raise _sample_error(self.dataset, keys[0], error, several=True) from error

    def _load(self, key: Any) -> Any:
        try:
            return self.dataset[key]
        except BaseException as error:
            raise_if_interrupt(error)
            raise _sample_error(self.dataset, key, error) from error


@final
class BatchStream(IterableDataset[Any]):
    """One pass through an iterable data set, in batches.

    Attributes:
        dataset: The user's.
    """

    def __init__(
        self,
        dataset: Any,
        collate: Callable[[Any], Any],
        batch_size: int | None,
        *,
        drop_last: bool,
        seed: int,
    ) -> None:
        """Wrap a data set.

        Args:
            dataset: With `__iter__`.
            collate: Makes a batch of a list of samples; without a batch size, of one item.
            batch_size: Samples in a batch; None where the items are batches.
            drop_last: Whether a last batch of fewer samples is left out.
            seed: Of all that is drawn in this pass; each loader worker has streams of its own.
        """
        self.dataset = dataset
        self._collate, self._batch_size, self._drop_last = collate, batch_size, drop_last
        self._seed = seed

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (LoadedFiles(), type(self), vars(self))

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        seed = self._seed if worker is None else stream_seed(self._seed, worker.id)
        randomness = Randomness(seed, _CPU)
        batches = self._batches()
        while True:
            try:
                with randomness:
                    batch = next(batches)
            except StopIteration:
                return
            except BaseException as error:
                yield _failure(error)
                return
            yield batch

    def _batches(self) -> Iterator[Any]:
        samples = iter(self.dataset)
        if self._batch_size is None:
            for sample in samples:
                yield self._collate(sample)
            return
        while chunk := list(islice(samples, self._batch_size)):
            if len(chunk) < self._batch_size and self._drop_last:
                return
            yield _collate(self._collate, chunk, None)


def _restore(_: LoadedFiles, kind: type[Any], state: dict[str, Any]) -> Any:
    """Return a data set in a worker that was not forked; the user's files are loaded by now."""
    restored = object.__new__(kind)
    vars(restored).update(state)
    return restored


def _collate(collate: Callable[[Any], Any], samples: Any, keys: Sequence[Any] | None) -> Any:
    """Return the batch of samples; torch's own function is not given what it would stumble over."""
    if collate is default_collate and isinstance(samples, list):
        for position, sample in enumerate(samples):
            if sample is None:
                name = "a sample" if keys is None else f"sample {keys[position]}"
                raise DataError(
                    f"{name} is None: leave such samples out, or drop them in a collate function."
                )
    try:
        return collate(samples)
    except BaseException as error:
        raise_if_interrupt(error)
        if is_out_of_memory(error):
            raise
        message = describe_error(error)
        if collate is default_collate:
            raise DataError(
                f"its samples make no batch ({message}): make them equal in shape and kind, or "
                "give the loader a collate function."
            ) from error
        raise DataError(
            f"the collate function raised {message}{user_code_location(error)}: mend it."
        ) from error


def _sample_error(
    dataset: Any, key: Any, error: BaseException, *, several: bool = False
) -> BaseException:
    """Return the error for a sample that could not be loaded."""
    if is_out_of_memory(error):
        return error
    raised = f"{describe_error(error)}{user_code_location(error)}"
    name = f"loading sample {key} and others" if several else f"loading sample {key}"
    if isinstance(error, IndexError) and hasattr(dataset, "__len__"):
        return DataError(
            f"{name} raised {raised}, though the data set says that it has {len(dataset):,} "
            "samples: let __len__ return how many there are."
        )
    return DataError(f"{name} raised {raised}: mend the data set.")


def _failure(error: BaseException) -> LoadFailure:
    raise_if_interrupt(error)
    if isinstance(error, ObjectiveError):
        return LoadFailure(sentence=str(error), out_of_memory=False)
    return LoadFailure(
        sentence=f"the data raised {describe_error(error)}{user_code_location(error)}: mend it.",
        out_of_memory=is_out_of_memory(error),
    )
