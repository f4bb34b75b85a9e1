"""A user's own data file, without code: `.csv`, `.parquet` or `.npz`, and the target's name.

Entry point: `read_file`.
"""

from pathlib import Path

import pandas as pd

from ...errors import DataError
from ..dataset import RawData
from ..read_options import DEFAULT_OPTIONS, ReadOptions
from ..table import read_table
from ..text_columns import read_text_columns
from .csv_file import read_csv
from .npz_file import read_npz

SUFFIXES = (".csv", ".tsv", ".parquet", ".npz")


def read_file(
    path: Path,
    target: str | None,
    *,
    image: bool = False,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> RawData:
    """Return what a file holds.

    Args:
        path: The file.
        target: Column (or array) to predict.
        image: Whether a family asks for samples `[channels, height, width]`.
        options: What the user says of the file.

    Raises:
        DataError: No such file, of another kind, unreadable, or without the target.
    """
    suffix = path.suffix.lower()
    if not path.exists():
        raise DataError(f"there is no file {path}: check the path.")
    if path.is_dir():
        raise DataError(f"{path} is a folder: name a file in it.")
    if suffix not in SUFFIXES:
        raise DataError(
            f"{path} ends in '{suffix}': the kinds that can be read are {', '.join(SUFFIXES)}."
        )
    try:
        if suffix == ".npz":
            return read_npz(path, target, image=image)
        notes: tuple[str, ...] = ()
        if suffix == ".parquet":
            table = _read_parquet(path)
        else:
            text = read_csv(path, options, target)
            table, column_notes = read_text_columns(text.table, options.missing)
            notes = (*text.notes, *column_notes)
    except PermissionError as error:
        raise DataError(f"{path} may not be read: allow it, or name another file.") from error
    if image:
        raise DataError(
            f"{path} is a table of columns, images (channels, height, width) are asked for: "
            "choose family 'mlp', or give an .npz with an array of images."
        )
    return read_table(path.name, table, target, notes)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except PermissionError:
        raise
    except Exception as error:  # pyarrow has no base class of its own for what may go wrong
        cause = str(error).splitlines()[0]
        raise DataError(
            f"{path} cannot be read as Parquet ({cause:.200}): save it anew."
        ) from error
