"""What a data function returned, as a data set that comes in batches.

    data sets       `torch.utils.data.Dataset`, or whatever has `__getitem__` and `__len__`
    streams         `torch.utils.data.IterableDataset`
    loaders         `torch.utils.data.DataLoader`, or whatever can be iterated again and again
    arrays          several inputs or targets, or none of these

each one, which is divided, or two or three of them: training, validation, test.

Entry point: `read_batched`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from ...bitwise import bitwise_equal, has_bits
from ...errors import DataError, describe_error, describe_type
from ...interrupt import raise_if_interrupt
from ...user_code import is_out_of_memory, user_code_location
from ..dataset import Data, Task
from ..split import MIN_ROWS_FOR_ALL_SPLITS, shuffled_partition, stratified_partition
from .arrays import ArrayDataset, find_arrays, split_parts
from .batch import Batch, find_tensors
from .describe import describe_split
from .loader_settings import LoaderSettings
from .make_feed import (
    Loaded,
    StreamOptions,
    is_map_style,
    is_plain_loader,
    make_feed,
    own_settings,
)
from .samples import recognise_task
from .source import BatchData, close_batches
from .split_source import SplitSource

_SPLITS = ("training", "validation", "test")
_ARRAYS = (Tensor, np.ndarray, pd.DataFrame, pd.Series, pd.Index)
_COLLECTIONS = (str, bytes, tuple, list, set, frozenset, Mapping, range)


def read_batched(
    name: str, result: Any, seed: int, options: StreamOptions, task: Task | None = None
) -> BatchData | None:
    """Return a data set that comes in batches; None where a function returned plain arrays.

    Args:
        name: The function's reference.
        result: What it returned.
        seed: Decides which samples of an undivided data set go into which split.
        options: What the spec says.
        task: Overrules what the targets tell.

    Raises:
        DataError: A data set or loader that is empty, gives no batches, or cannot be divided.
    """
    if isinstance(result, BatchData):
        return result
    if isinstance(result, Data):
        return None
    notes: list[str] = []
    if _is_batched(result):
        parts = _divide(name, result, seed, options, notes)
    else:
        given = split_parts(result)
        if given is not None and all(map(_is_batched, given)):
            parts = given
        elif given is not None and any(map(_is_batched, given)):
            kinds = ", ".join(map(describe_type, given))
            raise DataError(
                f"{name} returned {kinds}: give all splits as data sets or loaders, or none."
            )
        else:
            arrays = find_arrays(result)
            if arrays is None:
                return None
            parts = [ArrayDataset(name, samples) for samples in arrays]
            if len(parts) == 1:
                parts = _divide(name, parts[0], seed, options, notes)
    return _make_data(name, parts, options, task, notes)


def _make_data(
    name: str, parts: list[Any], options: StreamOptions, task: Task | None, notes: list[str]
) -> BatchData:
    sources, settings = [], []
    for split, part in zip(_SPLITS, parts, strict=False):
        split_name = f"{name}: the {split} data"
        with _user_errors(split_name):
            feed, how = make_feed(split_name, part, options, notes, training=split == "training")
        sources.append(
            SplitSource(
                feed,
                split_name,
                fixed=split != "training",
                model_loss=options.model_loss,
                target=options.target,
            )
        )
        settings.append(how)
    examples = [_first_batch(source) for source in sources]
    _check_equal_draws(sources[0], examples[0], notes)
    _check_targets(name, examples)
    train = examples[0]
    classes = _class_names(parts[0])
    lines = [
        describe_split(split, source, how, example)
        for split, source, how, example in zip(_SPLITS, sources, settings, examples, strict=False)
    ]
    return BatchData(
        name=name,
        train=sources[0],
        validation=sources[1],
        test=sources[2] if len(sources) > 2 else None,
        example=train,
        batch_size=max(settings[0].batch_size or 0, train.rows),
        task=task or recognise_task(train.targets),
        outputs=None if classes is None else len(classes),
        classes=classes,
        notes=(*lines, *notes),
        worker_count=settings[0].workers,
    )


def _is_batched(value: Any) -> bool:
    """Return whether a value is a data set or a loader, and no array or collection of samples."""
    if isinstance(value, Dataset | DataLoader):
        return True
    if isinstance(value, (*_ARRAYS, *_COLLECTIONS)):
        return False
    if hasattr(value, "__array__") or hasattr(value, "toarray"):
        return False
    return is_map_style(value) or hasattr(value, "__iter__")


def _divide(name: str, part: Any, seed: int, options: StreamOptions, notes: list[str]) -> list[Any]:
    """Return training, validation and test of a data set, or of a loader of one.

    Raises:
        DataError: It cannot be divided, or has too few samples.
    """
    loader = part if isinstance(part, DataLoader) else None
    dataset: Any = part if loader is None else loader.dataset
    plain = loader is None or (is_plain_loader(loader) and _has_plain_order(loader))
    if isinstance(dataset, IterableDataset) or not is_map_style(dataset) or not plain:
        raise DataError(
            f"{name} returned {describe_type(part)} alone, whose samples cannot be divided: return "
            "one for training and one for validation."
        )
    with _user_errors(f"{name}: the data set"):
        rows = len(dataset)
    if rows < MIN_ROWS_FOR_ALL_SPLITS:
        raise DataError(
            f"{name} returned a data set of {rows} samples: give at least "
            f"{MIN_ROWS_FOR_ALL_SPLITS}, which are divided into training, validation and test."
        )
    labels = _labels(dataset)
    partition = (
        shuffled_partition(rows, seed) if labels is None else (stratified_partition(labels, seed))
    )
    how = "drawn by the study's seed" + ("" if labels is None else ", classes in proportion")
    notes.append(f"divided 60 / 20 / 20 into training, validation and test, {how}")
    if not isinstance(dataset, ArrayDataset):
        notes.append(
            "augmentation in the data set is in its validation and test part, too; return several "
            "data sets to leave it out there"
        )
    subsets = [Subset(dataset, indices.tolist()) for indices in partition.splits]
    settings = own_settings(dataset, options) if loader is None else LoaderSettings.of(loader)
    # Drop_last is for training: nothing is left out of what a candidate is judged by.
    whole = replace(settings, drop_last=False)
    return [Loaded(subset, whole if index else settings) for index, subset in enumerate(subsets)]


def _labels(dataset: Any) -> Any:
    """Return the classes of samples in memory, by which they are divided; None without."""
    if not isinstance(dataset, ArrayDataset) or not isinstance(dataset.samples, tuple):
        return None
    targets = dataset.samples[-1] if len(dataset.samples) > 1 else None
    if not isinstance(targets, Tensor) or targets.ndim != 1 or targets.is_floating_point():
        return None
    _, labels = np.unique(targets.numpy(), return_inverse=True)
    return labels


def _has_plain_order(loader: DataLoader[Any]) -> bool:
    settings = LoaderSettings.of(loader)
    return settings.sampler is None and settings.batch_sampler is None


def _first_batch(source: SplitSource) -> Batch:
    batches = source.batches(0, 0, 0, 1)
    try:
        for batch in batches:
            return batch
    finally:
        close_batches(batches)
        source.close()  # no worker stands by for a training that may never begin
    raise DataError(f"{source.name} is empty: give it samples.")


def _check_equal_draws(source: SplitSource, first: Batch, notes: list[str]) -> None:
    """Note where the same seed gives another first batch."""
    again = source.first_again()
    pairs = zip(find_tensors(first.given), find_tensors(again.given), strict=False)
    if any(has_bits(one) and not bitwise_equal(one, other) for one, other in pairs):
        notes.append(
            "the training data ignores the seed: the first batch was another one the second time, "
            "so trials cannot be repeated exactly; let it draw from torch's, numpy's or random's "
            "global streams"
        )


def _check_targets(name: str, examples: list[Batch]) -> None:
    train, validation = (example.targets is not None for example in examples[:2])
    if train != validation:
        with_targets, without = _SPLITS[:2] if train else _SPLITS[1::-1]
        raise DataError(
            f"{name}: a batch of the {with_targets} data has targets, one of the {without} data "
            "has none: give both, or neither."
        )


def _class_names(part: Any) -> tuple[str, ...] | None:
    """Return the names of the classes that a data set has, as torchvision's do."""
    dataset = getattr(part, "dataset", part)
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    classes = getattr(dataset, "classes", None)
    if isinstance(classes, list | tuple) and classes:
        return tuple(map(str, classes))
    return None


@contextmanager
def _user_errors(name: str) -> Iterator[None]:
    """Say what a user's data set raised of itself, such as its length."""
    try:
        yield
    except DataError:
        raise
    except BaseException as error:
        raise_if_interrupt(error)
        if is_out_of_memory(error):
            raise
        raise DataError(
            f"{name} raised {describe_error(error)}{user_code_location(error)}: mend it."
        ) from error
