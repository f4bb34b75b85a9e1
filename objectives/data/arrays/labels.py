"""Targets in arrays of more than one axis: labels of every position, several labels a row, shares.

    [n, k] of 0 and 1, one of them in each row     one-hot      numbered [n] for a built-in loss
    [n, k] of 0 and 1                              yes or no for each of k labels
    [n, ...] of whole numbers from 0               the class of each position; -100 is left out
    [n, C, ...] that sum to 1                      shares of C classes
    any other                                      quantities

Whole numbers and true/false are classes, fractions quantities, unless `task` says otherwise; the
numbers keep their shape.

Entry point: `recognise_array`, which leaves a target of one value a row to `target`.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ..dataset import IGNORED_CLASS, Task
from ..target import (
    MAX_INTEGER_CLASSES,
    Target,
    recognise_target,
    regression_target,
    require_rows,
)

_SHARE_TOLERANCE = 1e-3
"""How far from 1 the shares of a row may sum, in float32 or written with three digits."""


def recognise_array(values: NDArray[Any], name: str, task: Task | None = None) -> Target:
    """Recognise a target in an array.

    Args:
        values: `[n]` or `[n, ...]`: numbers, true/false or text.
        name: For people.
        task: Overrules what would be recognised.

    Raises:
        DataError: Too few rows, or nothing that can be predicted.
    """
    if values.shape[1:] in ((), (1,)):
        return _single_target(values, name, task)
    if values.dtype == object:
        values = _of_one_type(values, name)
    if values.dtype.kind in "US":
        return _named_classes(values, name, task)
    if values.dtype.kind not in "biuf":
        raise DataError(
            f"target '{name}' holds numbers of type {values.dtype}: give whole numbers, fractions, "
            "true and false, or text."
        )
    require_rows(name, len(values))
    if (task or _recognise_task(values)) == Task.CLASSIFICATION:
        return _classes(values, name)
    target = regression_target(values.astype(np.float64), name)
    return replace(target, given=values[target.has_target])


def _single_target(values: NDArray[Any], name: str, task: Task | None) -> Target:
    """Recognise `[n]`, or `[n, 1]` by the same rules.

    Quantities, and what is given to a loss of the user's own, keep the second axis; a built-in loss
    takes class numbers without.
    """
    target = recognise_target(values.reshape(len(values)), name, task)
    given = values[target.has_target] if values.dtype.kind in "biuf" else None
    if target.task == Task.REGRESSION:
        shape = (len(target.values), *values.shape[1:])
        return replace(target, values=target.values.reshape(shape), given=given)
    class_values = () if given is None else tuple(np.unique(given).astype(np.float64).tolist())
    return replace(target, given=given, class_values=class_values)


def _of_one_type(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Return an array of Python's objects as one of numbers or of text."""
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError):
        if all(isinstance(value, str) for value in values.flat):
            return values.astype(str)
    raise DataError(
        f"target '{name}' holds values of several types, such as {values.flat[0]!r:.40}: give "
        "numbers only, or text only."
    )


def _recognise_task(values: NDArray[Any]) -> Task:
    if values.dtype.kind == "b" or _is_binary(values):
        return Task.CLASSIFICATION
    if values.dtype.kind == "f" or not _are_class_numbers(values):
        return Task.REGRESSION
    few_values = len(np.unique(values)) <= MAX_INTEGER_CLASSES
    return Task.CLASSIFICATION if few_values or values.ndim > 2 else Task.REGRESSION


def _classes(values: NDArray[Any], name: str) -> Target:
    """Recognise numbers that stand for classes."""
    shape, rows = f"{list(values.shape[1:])}", len(values)
    if _are_shares(values):
        count = values.shape[1]
        is_hard = _is_binary(values)
        kind = "one-hot rows" if is_hard else "rows of shares"
        return _class_target(
            values,
            name,
            numbers=values.argmax(axis=1) if is_hard else values.astype(np.float64),
            classes=count,
            outputs=count,
            one_hot=True,
            note=f"classification with {count} classes, given as {kind}",
        )
    if _is_binary(values):
        single_axis = values.ndim == 2
        where = f"each of {values.shape[1]} labels" if single_axis else f"{shape} positions"
        return _class_target(
            values,
            name,
            numbers=values.astype(np.int64),
            classes=2,
            outputs=values.shape[1] if single_axis else 2,
            note=f"classification, yes or no for {where}; {values.mean():.1%} are yes",
        )
    if not _are_class_numbers(values):
        low, high = values.min(), values.max()
        raise DataError(
            f"target '{name}' of shape {list(values.shape)} holds numbers from {low:g} to {high:g} "
            "that are no classes: give whole numbers from 0 on (-100 is left out), shares that sum "
            "to 1 along axis 1, or set task to 'regression'."
        )
    present = np.unique(values[values != IGNORED_CLASS]).astype(np.int64)
    if len(present) < 2:
        raise DataError(
            f"target '{name}' has one class only, {present.tolist()}, in all {rows} rows: at least "
            "two are needed; choose another target."
        )
    count = int(present[-1]) + 1
    return _class_target(
        values,
        name,
        numbers=values.astype(np.int64),
        classes=count,
        outputs=count,
        note=f"classification with {count} classes at each of {shape} positions",
    )


def _class_target(
    values: NDArray[Any],
    name: str,
    *,
    numbers: NDArray[Any],
    classes: int,
    outputs: int,
    note: str,
    one_hot: bool = False,
) -> Target:
    if (values == values.flat[0]).all():
        raise DataError(
            f"target '{name}' is {values.flat[0]} in all {len(values)} rows and positions: there "
            "is nothing to predict; choose another target."
        )
    return Target(
        name=name,
        task=Task.CLASSIFICATION,
        values=numbers,
        classes=tuple(map(str, range(classes))),
        has_target=np.ones(len(values), dtype=np.bool_),
        notes=(f"target '{name}': {note}",),
        given=values,
        one_hot=one_hot,
        output_count=outputs,
    )


def _named_classes(values: NDArray[Any], name: str, task: Task | None) -> Target:
    """Recognise text at every position as names of classes."""
    if task == Task.REGRESSION:
        raise DataError(
            f"target '{name}' holds text ({values.flat[0]!r}), a regression needs numbers: choose "
            "another target, or task 'classification'."
        )
    require_rows(name, len(values))
    names, numbers = np.unique(values, return_inverse=True)
    target = _classes(numbers.reshape(values.shape), name)
    # Numbers that we made mean nothing to a loss of the user's but what they say to ours.
    return replace(target, classes=tuple(map(str, names.tolist())), given=None)


def _is_binary(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "biuf" and bool(((values == 0) | (values == 1)).all())


def _are_class_numbers(values: NDArray[Any]) -> bool:
    """Return whether all values are whole numbers from 0 on, or the one that is left out."""
    whole = values.dtype.kind in "biu" or bool((values == np.round(values)).all())
    return whole and bool(((values >= 0) | (values == IGNORED_CLASS)).all())


def _are_shares(values: NDArray[Any]) -> bool:
    """Return whether the values along axis 1 are shares of classes, or one of them is all."""
    if values.shape[1] < 2 or values.dtype.kind not in "biuf" or (values < 0).any():
        return False
    sums = values.sum(axis=1, dtype=np.float64)
    return bool((np.abs(sums - 1) <= _SHARE_TOLERANCE).all())
