"""Parquet files: tables whose columns have types of their own.

Entry point: `read_parquet`.
"""

from pathlib import Path

import pandas as pd

from ...errors import DataError
from .content import check_regular_file


def read_parquet(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the table, and notes for the user on how it was read.

    An index that has a name is a column; one without a name only numbers the rows, or names them.

    Raises:
        DataError: It cannot be read as Parquet.
    """
    check_regular_file(path)
    try:
        table = pd.read_parquet(path)
    except PermissionError as error:
        raise DataError(f"{path} may not be read: allow it, or name another file.") from error
    except Exception as error:  # pyarrow has no base class of its own for what may go wrong
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path} cannot be read as Parquet ({cause:.200}): save it anew."
        ) from error
    if isinstance(table.index, pd.RangeIndex) and table.index.name is None:
        return table, ()
    index = table.index.to_frame(index=False)
    keep = [
        position
        for position, name in enumerate(table.index.names)
        if name is not None and name not in table.columns
    ]
    notes = (
        ("dropped the index of the table, which has no name of its own",)
        if len(keep) < table.index.nlevels
        else ()
    )
    columns = table.reset_index(drop=True)
    return pd.concat([index.iloc[:, keep], columns], axis=1), notes
