"""A table of named columns, one of them the target, as data for training.

Entry point: `from_table`.
"""

from collections.abc import Sequence
from difflib import get_close_matches

import pandas as pd
import torch

from ..errors import DataError
from .columns import encode, format_names
from .dataset import Data, Split, Task
from .target import read_target


def from_table(
    name: str,
    table: pd.DataFrame,
    target: str | None,
    seed: int,
    *,
    task: Task | None = None,
    notes: Sequence[str] = (),
) -> Data:
    """Return the splits of a table.

    Args:
        name: Of the data, for people.
        table: Any columns; not changed.
        target: The column to predict.
        seed: Decides which row goes into which split.
        task: Overrules what the target is recognised as.
        notes: What is to be said before.

    Raises:
        DataError: No such target, nothing to learn from, or a target that cannot be predicted.
    """
    table = table.set_axis([str(column) for column in table.columns], axis=1)
    columns = list(table.columns)
    duplicates = sorted({column for column in columns if columns.count(column) > 1})
    if duplicates:
        raise DataError(
            f"{name} has more than one column named {format_names(duplicates)}: rename them."
        )
    parsed_target = read_target(table[_require_target(name, target, columns)], str(target), task)
    feature_table = table.drop(columns=[str(target)])
    if not feature_table.shape[1]:
        raise DataError(
            f"{name} has no column beside the target '{target}': add some to learn from."
        )
    if not parsed_target.has_target.all():
        feature_table = feature_table.loc[parsed_target.has_target]
    feature_table = feature_table.reset_index(drop=True)
    partition = parsed_target.partition(seed)
    inputs, encoding_notes = encode(feature_table, partition)
    if not inputs[0].shape[1]:
        raise DataError(
            f"{name} has no column to learn from beside '{target}' ({'; '.join(encoding_notes)}): add some."
        )
    targets, scale = parsed_target.split(partition)
    train, validation, test = (
        Split(inputs=torch.from_numpy(x), targets=y) for x, y in zip(inputs, targets, strict=True)
    )
    return Data(
        name=name,
        task=parsed_target.task,
        train=train,
        validation=validation,
        test=test,
        outputs=parsed_target.outputs,
        classes=parsed_target.classes,
        notes=(*notes, *parsed_target.notes, *parsed_target.rare_class_notes(), *encoding_notes),
        **scale,
    )


def _require_target(name: str, target: str | None, columns: list[str]) -> str:
    if target in columns:
        return target
    available = f"its columns are {', '.join(map(repr, columns[:30]))}" + (
        f" and {len(columns) - 30} more" if len(columns) > 30 else ""
    )
    if target is None:
        raise DataError(f"{name} needs a target, the column to predict: {available}.")
    lowered = {column.lower(): column for column in columns}
    close = get_close_matches(target.lower(), lowered, n=1)
    hint = f" (did you mean '{lowered[close[0]]}'?)" if close else ""
    raise DataError(f"{name} has no column '{target}'{hint}: {available}.")
