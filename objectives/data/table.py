"""A table of named columns, one of them the target, as data for training.

Entry point: `from_table`.
"""

from collections.abc import Sequence
from difflib import get_close_matches

import pandas as pd
import torch

from ..errors import DataError
from .columns import encode, named
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
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise DataError(f"{name} has more than one column named {named(twice)}: rename them.")
    goal = read_target(table[_target(name, target, columns)], str(target), task)
    rows = table.drop(columns=[str(target)])
    if not rows.shape[1]:
        raise DataError(
            f"{name} has no column beside the target '{target}': add some to learn from."
        )
    if not goal.kept.all():
        rows = rows.loc[goal.kept]
    rows = rows.reset_index(drop=True)
    partition = goal.partition(seed)
    inputs, how = encode(rows, partition)
    if not inputs[0].shape[1]:
        raise DataError(
            f"{name} has no column to learn from beside '{target}' ({'; '.join(how)}): add some."
        )
    targets, scale = goal.divide(partition)
    train, validation, test = (
        Split(inputs=torch.from_numpy(x), targets=y) for x, y in zip(inputs, targets, strict=True)
    )
    return Data(
        name=name,
        task=goal.task,
        train=train,
        validation=validation,
        test=test,
        outputs=goal.outputs,
        classes=goal.classes,
        notes=(*notes, *goal.notes, *goal.rare(), *how),
        **scale,
    )


def _target(name: str, target: str | None, columns: list[str]) -> str:
    if target in columns:
        return target
    have = f"its columns are {', '.join(map(repr, columns[:30]))}" + (
        f" and {len(columns) - 30} more" if len(columns) > 30 else ""
    )
    if target is None:
        raise DataError(f"{name} needs a target, the column to predict: {have}.")
    lowered = {column.lower(): column for column in columns}
    close = get_close_matches(target.lower(), lowered, n=1)
    hint = f" (did you mean '{lowered[close[0]]}'?)" if close else ""
    raise DataError(f"{name} has no column '{target}'{hint}: {have}.")
