"""A user's own data file, without code: text, Parquet or NumPy, and the target's name.

Entry points: `is_data_file` knows a file by its name, `read_file` reads it.
"""

from pathlib import Path

from ...errors import DataError
from ..columns.column import Conventions
from ..dataset import RawData
from ..read_options import DEFAULT_OPTIONS, ReadOptions
from ..table import read_table
from .content import PACKED_SUFFIXES, check_regular_file
from .csv_file import read_csv
from .npz_file import read_npz
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
    check_regular_file(path)
    kind = _kind(path)
    if kind is None:
        raise DataError(
            f"{path} ends in '{path.suffix}': the kinds that can be read are "
            f"{', '.join(SUFFIXES)}, and text packed as {', '.join(PACKED_SUFFIXES)}."
        )
    if kind == ".npz":
        return read_npz(path, target, image=image)
    if image:
        raise DataError(
            f"{path} is a table of columns, images (channels, height, width) are asked for: "
            "choose family 'mlp', or give an .npz with an array of images."
        )
    if kind == ".parquet":
        table, notes = read_parquet(path)
        return read_table(path.name, table, target, notes, missing=options.missing)
    text = read_csv(path, options, target)
    likely = Conventions(decimal="," if text.separator == SEPARATOR_NAMES[";"] else None)
    return read_table(
        path.name, text.table, target, text.notes, missing=options.missing, likely=likely
    )


def _kind(path: Path) -> str | None:
    """Return the suffix that says what a file is; text may be packed."""
    suffix = path.suffix.lower()
    if suffix in PACKED_SUFFIXES:
        inner = Path(path.stem).suffix.lower()
        return ".csv" if inner in ("", *TEXT_SUFFIXES) else None
    return suffix if suffix in SUFFIXES else None
