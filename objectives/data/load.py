"""Data from a built-in name, a user's file or a user's function, in five steps.

    read          what the source holds                     files, arrays       RawData
    recognise     what is to be predicted                   target              Target
    split         which row goes into which split           split               Partition
    encode        columns and target as numbers             features, arrays, target
    data set      three splits of tensors                   dataset             Data

Each step is taken once, and adds its own notes for the user. What a function gives as data sets,
loaders or samples of several arrays is not taken apart: `streams` makes `BatchData` of it.

Entry points: `load_data` takes all steps, `make_dataset` those after reading; `BUILT_IN` lists the
names; `data_fingerprint` hashes what the data is made from.
"""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..errors import DataError, describe_error, unknown_name_message
from ..user_code import (
    is_out_of_memory,
    load_object,
    source_fingerprint,
    user_code_location,
    user_errors,
)
from .arrays.labels import recognise_array
from .arrays.result import read_result
from .arrays.samples import encode_array
from .dataset import Data, RawData, Split, Task
from .features import encode_columns
from .files.content import check_regular_file
from .files.data_file import SUFFIXES, is_data_file, read_file
from .read_options import DEFAULT_OPTIONS, ReadOptions
from .row_numbers import drop_row_numbers
from .split import Partition, split_as_given, split_rows
from .streams.make_feed import DEFAULT_STREAMS, StreamOptions
from .streams.read import read_batched
from .streams.source import BatchData
from .target import Target, encode_target, recognise_target

BUILT_IN = ("digits", "breast_cancer", "wine", "iris", "diabetes")
"""Real data that scikit-learn ships, so that nothing is downloaded."""


def load_data(
    source: str,
    *,
    base: Path,
    seed: int,
    target: str | None = None,
    image: bool = False,
    task: Task | None = None,
    options: ReadOptions = DEFAULT_OPTIONS,
    own_loss: bool = False,
    streams: StreamOptions = DEFAULT_STREAMS,
) -> Data | BatchData:
    """Return the data that a spec's `proxy.data` names.

    Args:
        source: A name in `BUILT_IN`, a file, or a function as FILE.py:name or module:name.
        base: The folder that files are looked for in.
        seed: Decides which row goes into which split.
        target: Column to predict, of a file; key of the targets, where samples are dicts.
        image: Whether the model's family asks for samples `[channels, height, width]`.
        task: Overrules what the target of a file or function is recognised as.
        options: What the user says of a file.
        own_loss: Whether the loss is the user's own: it gets what a function gave, as it is.
        streams: What the user says of data that comes in batches.

    Raises:
        DataError: No such source, or none that can be trained on.
        ImportFailure: The function's reference leads nowhere.
    """
    if _is_function(source):
        function = load_object(source, base)
        raw: RawData | Data | BatchData = read_function(
            source, function, seed, task=task, streams=replace(streams, target=target)
        )
    else:
        raw = read_source(source, base=base, target=target, image=image, options=options)
    if isinstance(raw, RawData):
        return make_dataset(raw, seed, task, own_loss=own_loss)
    return raw


def make_dataset(
    raw: RawData, seed: int, task: Task | None = None, *, own_loss: bool = False
) -> Data:
    """Recognise the target, split the rows, encode them, and return the data set.

    Args:
        raw: As read from its source.
        seed: Decides which row goes into which split.
        task: Overrules what the target is recognised as, unless the source says it.
        own_loss: Whether the loss is the user's own: it gets what a function gave, as it is.

    Raises:
        DataError: A target that cannot be predicted, or nothing to learn from.
    """
    raw = drop_row_numbers(raw)
    stated = raw.task or task
    if isinstance(raw.target, np.ndarray):
        target = recognise_array(raw.target, raw.target_name, stated)
    else:
        reading = raw.reading_of(raw.target_name)
        target = recognise_target(raw.target, raw.target_name, stated, reading)
    raw = raw.select_rows(target.has_target)
    if raw.split_sizes is None:
        single_class = target.values.ndim == 1
        partition = split_rows(target.values, target.classes if single_class else None, seed)
    else:
        partition = split_as_given(raw.split_sizes, seed)
    inputs, encoding_notes = _encode_inputs(raw, partition)
    as_given = own_loss and raw.from_function and target.given is not None
    targets = encode_target(target, partition, as_given=as_given)
    train, validation, test = (
        Split(inputs=x, targets=y) for x, y in zip(inputs, targets.splits, strict=True)
    )
    return Data(
        name=raw.name,
        task=target.task,
        train=train,
        validation=validation,
        test=test,
        outputs=target.outputs,
        classes=target.classes,
        notes=(
            *raw.notes,
            *target.notes,
            *_target_notes(raw, target, as_given=as_given),
            *partition.notes,
            *encoding_notes,
        ),
        target_mean=targets.mean,
        target_scale=targets.scale,
        drawn_at_random=raw.split_sizes is None,
        class_values=target.class_values if as_given else (),
        # Numbered for a built-in loss, unless they are shares.
        one_hot=target.one_hot and (as_given or target.values.dtype.kind == "f"),
        has_columns=isinstance(raw.inputs, pd.DataFrame)
        or (raw.name in BUILT_IN and not raw.image),
    )


def _target_notes(raw: RawData, target: Target, *, as_given: bool) -> list[str]:
    """Return in which form the loss gets the targets of a user's function."""
    if not raw.from_function:
        return []
    name = target.name
    if as_given:
        return [f"your loss gets target '{name}' as it is; nothing is scaled or numbered anew"]
    if target.task == Task.REGRESSION:
        return [
            f"the loss gets target '{name}' standardised by the training rows; metrics are in its "
            "own units"
        ]
    return []


def read_source(
    source: str,
    *,
    base: Path,
    target: str | None = None,
    image: bool = False,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> RawData:
    """Return what a built-in name or a file holds.

    Args:
        source: A name in `BUILT_IN`, or a file.
        base: The folder that files are looked for in.
        target: Column to predict, for files only.
        image: Whether the model's family asks for samples `[channels, height, width]`.
        options: What the user says of a file.

    Raises:
        DataError: No such source, or none that can be read.
    """
    if source in BUILT_IN:
        _refuse_target(source, target)
        return read_builtin(source, image=image)
    if is_data_file(source) or (base / source).exists():
        return read_file(base / Path(source).expanduser(), target, image=image, options=options)
    choices = (
        f"one of {', '.join(BUILT_IN)}, a file ({', '.join(SUFFIXES)}) or a function as "
        "FILE.py:name"
    )
    raise DataError(unknown_name_message("data", source, BUILT_IN, choices))


def _is_function(source: str) -> bool:
    return source not in BUILT_IN and ":" in source and not is_data_file(source)


def _refuse_target(source: str, target: str | None) -> None:
    if target is not None:
        raise DataError(
            f"data '{source}' brings its own target, '{target}' was given beside it: drop the "
            "target, which is for files, and for samples that are dicts."
        )


def read_builtin(name: str, *, image: bool = False) -> RawData:
    """Return a data set that scikit-learn ships.

    Args:
        name: In `BUILT_IN`.
        image: For digits, samples `[1, 8, 8]` instead of 64 columns.

    Raises:
        DataError: Images are asked for, and there are none.
    """
    from sklearn import datasets  # takes a second to load, as long as torch

    bunch = getattr(datasets, f"load_{name}")()
    if image and "images" not in bunch:
        raise DataError(
            f"data '{name}' is a table of columns, images (channels, height, width) are asked "
            "for: choose family 'mlp', or data 'digits'."
        )
    has_classes = "target_names" in bunch
    return RawData(
        name=name,
        # As an array, not as a table: which columns there are (digits has blank corners) must not
        # depend on the seed.
        inputs=bunch.images if image else bunch.data,
        target=bunch.target_names[bunch.target] if has_classes else bunch.target,
        target_name="target",
        task=Task.CLASSIFICATION if has_classes else Task.REGRESSION,
        image=image,
    )


def read_function(
    name: str,
    function: Callable[..., Any],
    seed: int,
    *,
    task: Task | None = None,
    streams: StreamOptions = DEFAULT_STREAMS,
) -> RawData | Data | BatchData:
    """Call a user's function, which may take the keyword `seed`, and return its data.

    Args:
        name: The function's reference.
        function: The user's.
        seed: Given to it, and of the splits of data in batches.
        task: Overrules what the targets of data in batches tell.
        streams: What the user says of data in batches.

    Raises:
        DataError: It raised, or returned something else than data.
    """
    try:
        accepts_seed = "seed" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        accepts_seed = False
    with user_errors(lambda error: _function_error(name, error)):
        result = function(seed=seed) if accepts_seed else function()
        # What it returned may compute, and raise, only when it is read.
        batched = read_batched(name, result, seed, streams, task)
        if batched is not None:
            return batched
        _refuse_target(name, streams.target)
        return read_result(name, result)


def _function_error(name: str, error: BaseException) -> DataError:
    advice = "give less data, or run it" if is_out_of_memory(error) else "mend it, or choose other"
    where = " where there is more memory" if is_out_of_memory(error) else " data"
    return DataError(
        f"{name} raised {describe_error(error)}{user_code_location(error)}: {advice}{where}."
    )


def data_fingerprint(source: str, base: Path) -> str:
    """Return a SHA-256 of what the data is made from: file, source code, or built-in name.

    Raises:
        DataError: The file is not there.
        ImportFailure: The function's reference leads nowhere.
    """
    if source in BUILT_IN:
        return hashlib.sha256(f"scikit-learn {source}".encode()).hexdigest()
    path = base / Path(source).expanduser()
    if not is_data_file(source) and ":" in source:
        return source_fingerprint(source, base)
    check_regular_file(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): allow it.") from error


def _encode_inputs(raw: RawData, partition: Partition) -> tuple[list[Tensor], tuple[str, ...]]:
    """Return the inputs of each split as tensors, and notes on what was done to them."""
    if isinstance(raw.inputs, Tensor):  # of a user's function: taken as it is
        return [raw.inputs[torch.from_numpy(rows)] for rows in partition.splits], ()
    if not isinstance(raw.inputs, pd.DataFrame):
        return encode_array(raw.name, raw.inputs, partition, image=raw.image)
    inputs, notes = encode_columns(raw.inputs, partition)
    if not inputs[0].shape[1]:
        raise DataError(
            f"{raw.name} has no column to learn from beside '{raw.target_name}' "
            f"({'; '.join(notes)}): add some."
        )
    return inputs, notes
