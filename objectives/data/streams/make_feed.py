"""How each part that a data function returned is gone through: which feed, in how many batches.

Entry points: `make_feed`; `StreamOptions`, what a spec says; `Loaded`, a part with its settings.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from ...errors import DataError, describe_type
from .arrays import ArrayDataset
from .feed import Feed, LoaderFeed, MapFeed, StreamFeed
from .loader_settings import LoaderSettings, as_it_is


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """What a spec says of data that comes in batches.

    Attributes:
        batch_size: Samples in a batch, for data sets without a loader of their own.
        steps_per_epoch: Batches in an epoch, for streams; None for their length.
        model_loss: Whether the model's forward returns its loss, and so gets the targets, too.
        target: Key of the targets, where samples are dicts; None where it has a usual name.
    """

    batch_size: int = 64
    steps_per_epoch: int | None = None
    model_loss: bool = False
    target: str | None = None


DEFAULT_STREAMS = StreamOptions()


@dataclass(frozen=True)
class Loaded:
    """A part of a loader's data set, to be loaded as the loader says."""

    dataset: Any
    settings: LoaderSettings


def make_feed(
    name: str, part: Any, options: StreamOptions, notes: list[str], *, training: bool
) -> tuple[Feed, LoaderSettings]:
    """Return what yields a split's batches, and how it loads them."""
    dataset: Any
    if isinstance(part, DataLoader) and not is_plain_loader(part):
        return _loader_feed(name, part, options, training=training)
    if isinstance(part, DataLoader):
        dataset, settings = part.dataset, LoaderSettings.of(part)
    elif isinstance(part, Loaded):
        dataset, settings = part.dataset, part.settings
    else:
        dataset, settings = part, own_settings(part, options)
    if isinstance(dataset, IterableDataset):
        return _stream_feed(name, dataset, settings, options, training=training), settings
    if not is_map_style(dataset):
        return _loader_feed(name, part, options, training=training)
    if len(dataset) == 0:
        raise DataError(f"{name} is empty: give it samples.")
    if training and options.steps_per_epoch is not None:
        notes.append("steps_per_epoch counts for streams only: the training data has a length")
    if training and (settings.sampler is not None or settings.batch_sampler is not None):
        own = settings.batch_sampler if settings.sampler is None else settings.sampler
        notes.append(
            f"the training loader's own {type(own).__name__} decides on the order, its draws from "
            "the trial's seed"
        )
    elif training and isinstance(part, DataLoader) and _is_sequential(part):
        notes.append(
            "the training loader does not shuffle: each epoch is shuffled by the trial's seed all "
            "the same; a sampler of your own keeps its order"
        )
    try:
        feed = MapFeed(dataset, settings, shuffled=training)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    if feed.steps == 0:
        raise DataError(
            f"{name} gives no batch: it has {len(dataset):,} samples, fewer than the batch size of "
            f"{settings.batch_size}, and drop_last is set; make the batches smaller."
        )
    return feed, settings


def own_settings(dataset: Any, options: StreamOptions) -> LoaderSettings:
    """Return how a data set without a loader is loaded."""
    if isinstance(dataset, ArrayDataset):  # gives whole batches
        return LoaderSettings(batch_size=options.batch_size, collate=as_it_is)
    return LoaderSettings(batch_size=options.batch_size)


def _stream_feed(
    name: str, dataset: Any, settings: LoaderSettings, options: StreamOptions, *, training: bool
) -> Feed:
    length = _length(dataset)
    pass_steps = None
    if length is not None:
        if length == 0:
            raise DataError(f"{name} is empty, by its own length: give it samples.")
        pass_steps = _epoch_steps(
            length, settings.batch_size, drop_last=settings.drop_last, workers=settings.workers
        )
        if pass_steps == 0:
            raise DataError(f"{name} gives no batch: {_describe_dropped(length, settings)}")
    # The validation data of a length are all of them, whatever an epoch of training is.
    stated = options.steps_per_epoch if training or pass_steps is None else None
    steps = _require_steps(name, stated, pass_steps)
    return StreamFeed(
        dataset,
        settings,
        pass_steps=pass_steps,
        division="" if length is None else _describe_division(length, settings),
        steps=steps,
        # Without a batch size, what the stream counts are whole batches.
        rows=length if steps == pass_steps and settings.batch_size is not None else None,
        repeated=training,
    )


def _describe_dropped(length: int, settings: LoaderSettings) -> str:
    """Return why a stream whose last batches are left out has no others, and what to do."""
    size = settings.batch_size
    if settings.workers < 2:
        return (
            f"it has {length:,} samples, fewer than the batch size of {size}, and drop_last is "
            "set; make the batches smaller."
        )
    return (
        f"each of its {settings.workers} loader workers has at most "
        f"{math.ceil(length / settings.workers):,} of its {length:,} samples, fewer than the batch "
        f"size of {size}, and drop_last is set; make the batches smaller, or take fewer workers."
    )


def _describe_division(length: int, settings: LoaderSettings) -> str:
    """Return how a stream's samples come to its batches, where several workers make them."""
    if settings.workers < 2:
        return ""
    return f", its {length:,} samples divided evenly among {settings.workers} loader workers"


def _loader_feed(
    name: str, loader: Any, options: StreamOptions, *, training: bool
) -> tuple[Feed, LoaderSettings]:
    if hasattr(loader, "__next__"):
        raise DataError(
            f"{name} is {describe_type(loader)}, which can be gone through only once: give a data "
            "set or a loader."
        )
    pass_steps = _length(loader)
    if pass_steps == 0:
        raise DataError(f"{name} is empty: give it samples.")
    stated = options.steps_per_epoch if training or pass_steps is None else None
    steps = _require_steps(name, stated, pass_steps)
    feed = LoaderFeed(loader, pass_steps=pass_steps, steps=steps, repeated=training)
    workers = getattr(loader, "num_workers", 0)
    return feed, LoaderSettings(batch_size=None, workers=workers if isinstance(workers, int) else 0)


def _require_steps(name: str, stated: int | None, pass_steps: int | None) -> int:
    steps = stated or pass_steps
    if steps is None:
        raise DataError(
            f"{name} is a stream without a length: set steps_per_epoch in [proxy], or give it a "
            "__len__."
        )
    return steps


def _length(value: Any) -> int | None:
    try:
        return len(value)
    except (TypeError, NotImplementedError, AttributeError):
        return None


def is_plain_loader(loader: DataLoader[Any]) -> bool:
    """Return whether a loader iterates as torch's own class does."""
    kind = type(loader)
    return kind.__iter__ is DataLoader.__iter__ and (kind._get_iterator is DataLoader._get_iterator)


def _is_sequential(loader: DataLoader[Any]) -> bool:
    return isinstance(loader.sampler, torch.utils.data.SequentialSampler)


def is_map_style(value: Any) -> bool:
    """Return whether a data set has numbered samples."""
    return hasattr(value, "__getitem__") and hasattr(value, "__len__")


def _epoch_steps(length: int, batch_size: int | None, *, drop_last: bool, workers: int = 0) -> int:
    """Return the batches of so many samples.

    Args:
        length: Samples; without a batch size, batches.
        batch_size: Samples in a batch.
        drop_last: Whether a batch of fewer is left out.
        workers: Processes that the samples are divided among, evenly; each makes its own batches.
    """
    if batch_size is None:
        return length
    count = max(workers, 1)
    shares = (length // count + (worker < length % count) for worker in range(count))
    if drop_last:
        return sum(share // batch_size for share in shares)
    return sum(math.ceil(share / batch_size) for share in shares)
