"""How samples are loaded: what the user's `DataLoader` says, or ours for a data set without one.

Entry points: `LoaderSettings`, `LoaderSettings.of` a loader; `LoaderSettings.make` gives a loader
of batches.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, final

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
    get_worker_info,
)

from .loading import BatchDataset, BatchRequest, BatchStream


@dataclass(frozen=True, kw_only=True, eq=False)
class LoaderSettings:
    """How samples are loaded, and put together to batches.

    Attributes:
        batch_size: Samples in a batch; None where a sampler of batches, or the data set, decides.
        collate: Makes a batch of a list of samples.
        drop_last: Whether a last batch of fewer samples is left out.
        sampler: The user's own order of single samples; None for ours.
        batch_sampler: The user's own order of whole batches; None for ours.
        workers: Processes that load.
        options: What else a `DataLoader` with workers is made with.
    """

    batch_size: int | None
    collate: Callable[[Any], Any] = default_collate
    drop_last: bool = False
    sampler: Any = None
    batch_sampler: Any = None
    workers: int = 0
    options: "WorkerOptions | None" = None

    @classmethod
    def of(cls, loader: DataLoader[Any]) -> "LoaderSettings":
        """Return what a loader says; samplers that only count or shuffle are none of its own."""
        batch_size, drop_last = loader.batch_size, loader.drop_last
        sampler, batch_sampler = loader.sampler, loader.batch_sampler
        if type(batch_sampler) is BatchSampler:
            batch_size, drop_last = batch_sampler.batch_size, batch_sampler.drop_last
            sampler, batch_sampler = batch_sampler.sampler, None
        iterable = isinstance(loader.dataset, torch.utils.data.IterableDataset)
        is_plain = not iterable and _takes_each_once(sampler, loader.dataset)
        return cls(
            batch_size=batch_size,
            collate=loader.collate_fn,
            drop_last=drop_last,
            sampler=None if is_plain or iterable or batch_sampler is not None else sampler,
            batch_sampler=None if iterable else batch_sampler,
            workers=loader.num_workers,
            options=WorkerOptions.of(loader) if loader.num_workers else None,
        )

    @property
    def persistent(self) -> bool:
        """Whether workers are kept from epoch to epoch."""
        return self.options is not None and self.options.persistent

    def make(
        self, dataset: BatchDataset | BatchStream, requests: "Requests | None", seed: int
    ) -> DataLoader[Any]:
        """Return a loader that yields what `BatchDataset` and `BatchStream` give.

        Args:
            dataset: With the user's in it.
            requests: The batches to load, for a map-style data set.
            seed: Of torch's own seeds of the workers.
        """
        settings: dict[str, Any] = {} if self.options is None else self.options.as_dict(dataset)
        with warnings.catch_warnings():
            # That the user's loader has more workers than there are cores was said when it was
            # made.
            warnings.filterwarnings("ignore", message="This DataLoader will create", append=False)
            return DataLoader(
                dataset,
                batch_size=None,
                sampler=requests,
                collate_fn=as_it_is,
                num_workers=self.workers,
                generator=torch.Generator().manual_seed(seed),
                **settings,
            )


def _takes_each_once(sampler: Any, dataset: Any) -> bool:
    """Return whether a sampler counts or shuffles all samples of a data set, as torch's do."""
    if type(sampler) is RandomSampler:
        if sampler.replacement or sampler.num_samples != len(sampler.data_source):
            return False
    elif type(sampler) is not SequentialSampler:
        return False
    source = sampler.data_source
    return source is dataset or len(source) == len(dataset)


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkerOptions:
    """What a `DataLoader` with workers is made with.

    Attributes:
        start: The user's `worker_init_fn`.
        timeout: Seconds to wait for a batch; 0 without end.
        context: How processes are started; None as Python does.
        prefetch: Batches that each worker loads ahead; None as torch does.
        persistent: Whether workers are kept from epoch to epoch.
        pinned: Whether batches are pinned for a GPU, where there is one.
    """

    start: Callable[[int], None] | None
    timeout: float
    context: Any
    prefetch: int | None
    persistent: bool
    pinned: bool

    @classmethod
    def of(cls, loader: DataLoader[Any]) -> "WorkerOptions":
        """Return what a loader says."""
        return cls(
            start=loader.worker_init_fn,
            timeout=loader.timeout,
            context=loader.multiprocessing_context,
            prefetch=loader.prefetch_factor,
            persistent=loader.persistent_workers,
            pinned=loader.pin_memory,
        )

    def as_dict(self, dataset: BatchDataset | BatchStream) -> dict[str, Any]:
        """Return them as keywords of a `DataLoader`."""
        return {
            "worker_init_fn": WorkerStart(self.start),
            "timeout": self.timeout,
            "multiprocessing_context": self.context,
            "prefetch_factor": self.prefetch,
            # A stream's pass and seed are in what its workers were started with.
            "persistent_workers": self.persistent and isinstance(dataset, BatchDataset),
            "pin_memory": self.pinned and torch.cuda.is_available(),
        }


def loaded_batches(loader: DataLoader[Any]) -> Iterator[Any]:
    """Yield a loader's batches; its workers end at once where that ends midway.

    An error would keep the iterator, and so its workers, for as long as somebody holds the error.
    """
    batches = iter(loader)
    try:
        yield from batches
    except BaseException:
        _end_workers(batches)
        raise


def _end_workers(batches: Any) -> None:
    end = getattr(batches, "_shutdown_workers", None)
    if end is None:
        return
    with suppress(RuntimeError):  # torch says once more that one was killed, in a signal handler
        end()
    for worker in batches._workers:
        # Busy ones were asked to end by SIGTERM, which a trainer's children ignore as it does.
        if worker.is_alive():
            worker.kill()
            worker.join()


@final
class Requests:
    """The batches that a loader is to load, in this order; may be replaced between epochs."""

    def __init__(self) -> None:
        self.keys: Sequence[Any] = ()
        self.seeds: Callable[[int], int] = int
        self.start = 0
        self.single = False

    def __iter__(self) -> Iterator[BatchRequest]:
        for position in range(self.start, len(self.keys)):
            keys = self.keys[position]
            if isinstance(keys, torch.Tensor):
                keys = keys.tolist()
            yield BatchRequest(self.seeds(position), keys, self.single)

    def __len__(self) -> int:
        return len(self.keys) - self.start


@dataclass(frozen=True)
class WorkerStart:
    """A `worker_init_fn`: the user's, which finds its own data set in `get_worker_info()`."""

    start: Callable[[int], None] | None

    def __call__(self, worker: int) -> None:
        """Start a worker, in its process."""
        info = get_worker_info()
        assert info is not None, "this is a loader's worker"
        dataset: Dataset[Any] = info.dataset
        assert isinstance(dataset, BatchDataset | BatchStream)
        object.__setattr__(info, "dataset", dataset.dataset)  # frozen, and the copy is ours
        if self.start is not None:
            self.start(worker)


def as_it_is(batch: Any) -> Any:
    """Return a batch: the collate function where the data set gives whole ones."""
    return batch
