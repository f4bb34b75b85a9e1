"""A user's own data file, without code: text, Parquet or NumPy, and the target's name.

Entry points: `is_data_file` knows a file by its name, `read_file` reads it, and
`read_columns_of` reads it without a target.
"""

from dataclasses import replace
from pathlib import Path

from ...errors import DataError
from ..columns.column import Conventions
from ..dataset import RawData
from ..read_options import DEFAULT_OPTIONS, ReadOptions
from ..table import ValueTable, read_values, take_target
from .content import PACKED_SUFFIXES, check_regular_file
from .csv_file import read_csv
from .npz_file import read_npz, read_npz_columns
from .parquet_file import read_parquet
from .separator import SEPARATOR_NAMES

TEXT_SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data")
SUFFIXES = (*TEXT_SUFFIXES, ".parquet", ".npz")


def is_data_file(source: str) -> bool:
    """Return whether a name ends as those of data files do."""
    return _kind(Path(source)) is not None


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
    if _require_kind(path) == ".npz":
        return read_npz(path, target, image=image)
    if image:
        raise DataError(
            f"{path} is a table of columns, images (channels, height, width) are asked for: "
            "choose family 'mlp', or give an .npz with an array of images."
        )
    return take_target(read_columns_of(path, target, options), target)


def read_columns_of(
    path: Path, target: str | None = None, options: ReadOptions = DEFAULT_OPTIONS
) -> ValueTable:
    """Return all columns of a file with their values.

    Args:
        path: The file.
        target: Column to predict, if any: it tells where the column names stand.
        options: What the user says of the file.

    Raises:
        DataError: No such file, of another kind, unreadable, or arrays that are no columns.
    """
    kind = _require_kind(path)
    if kind == ".npz":
        table = read_npz_columns(path)
        return replace(read_values(path.name, table), layout={"kind": "NumPy archive"})
    if kind == ".parquet":
        table, notes = read_parquet(path)
        values = read_values(path.name, table, notes, missing=options.missing)
        return replace(values, layout={"kind": "Parquet"})
    text = read_csv(path, options, target)
    likely = Conventions(decimal="," if text.separator == SEPARATOR_NAMES[";"] else None)
    values = read_values(path.name, text.table, text.notes, missing=options.missing, likely=likely)
    layout = {
        "kind": "text",
        "encoding": text.encoding,
        "separator": text.separator,
        "column names": text.header,
    }
    return replace(values, layout=layout)


def _require_kind(path: Path) -> str:
    check_regular_file(path)
    kind = _kind(path)
    if kind is None:
        raise DataError(
            f"{path} ends in '{path.suffix}': the kinds that can be read are "
            f"{', '.join(SUFFIXES)}, and text packed as {', '.join(PACKED_SUFFIXES)}."
        )
    return kind


def _kind(path: Path) -> str | None:
    """Return the suffix that says what a file is; text may be packed."""
    suffix = path.suffix.lower()
    if suffix in PACKED_SUFFIXES:
        inner = Path(path.stem).suffix.lower()
        return ".csv" if inner in ("", *TEXT_SUFFIXES) else None
    return suffix if suffix in SUFFIXES else None
