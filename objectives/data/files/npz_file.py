"""NumPy archives: one array of samples and one of targets, or one array for each column.

Entry points: `read_npz`; `read_npz_columns`, where there is no target.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import DataError
from ..dataset import RawData
from ..table import format_names, read_table
from .content import check_regular_file

SAMPLE_NAMES = ("x", "X", "inputs", "features", "images")
"""Names under which all samples may lie in one array."""


def read_npz(path: Path, target: str | None, *, image: bool = False) -> RawData:
    """Return what an archive holds.

    Args:
        path: The archive.
        target: The array to predict.
        image: Whether a family asks for samples `[channels, height, width]`.

    Raises:
        DataError: Unreadable, no such target, or arrays of different lengths.
    """
    arrays = _read_arrays(path)
    samples_name = None
    if target in arrays:
        samples_name = next((key for key in SAMPLE_NAMES if key in arrays and key != target), None)
    used_names = list(arrays) if samples_name is None else [samples_name, str(target)]
    lengths = {name: len(arrays[name]) if arrays[name].ndim else 0 for name in used_names}
    _check_lengths(path, lengths)
    if samples_name is None or target is None:
        if image:
            raise DataError(
                f"{path} holds single columns, images (channels, height, width) are asked for: "
                f"give one array of samples named {' or '.join(map(repr, SAMPLE_NAMES))}."
            )
        # Every array is a column; `read_table` says what is missing, and which columns there are.
        return read_table(path.name, _columns_table(path, arrays, target), target)
    unused = [name for name in arrays if name not in used_names]
    notes = (f"left out arrays: {format_names(unused)}",) if unused else ()
    x, y = arrays[samples_name], arrays[target]
    if x.ndim > 2 or image:
        if not np.issubdtype(x.dtype, np.number):
            raise DataError(f"array '{samples_name}' of {path} is of type {x.dtype}: give numbers.")
        return RawData(
            name=path.name, inputs=x, target=y, target_name=target, image=image, notes=notes
        )
    x = x.reshape(len(x), -1)
    table = pd.DataFrame(x, columns=[f"{samples_name}{column}" for column in range(x.shape[1])])
    if y.ndim > 1 and y.shape[1:] != (1,):
        raise DataError(
            f"array '{target}' of {path} has the shape {y.shape}: give one target a row."
        )
    table[target] = y.reshape(len(y))
    return read_table(path.name, table, target, notes)


def read_npz_columns(path: Path) -> pd.DataFrame:
    """Return the arrays of an archive as columns; samples in one array as one column each.

    Raises:
        DataError: Unreadable, of different lengths, or of samples that are no rows of numbers.
    """
    arrays = _read_arrays(path)
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    _check_lengths(path, lengths)
    columns: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        if array.ndim == 2 and array.shape[1] > 1:
            columns |= {f"{name}{column}": array[:, column] for column in range(array.shape[1])}
        else:
            columns[name] = array.reshape(len(array), -1)[:, 0] if array.ndim == 2 else array
    return _columns_table(path, columns)


def _check_lengths(path: Path, lengths: Mapping[str, int]) -> None:
    if len(set(lengths.values())) > 1:
        row_counts = ", ".join(f"'{name}' {rows}" for name, rows in lengths.items())
        raise DataError(f"the arrays of {path} differ in rows ({row_counts}): make them equal.")


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    check_regular_file(path)
    try:
        # Opened here: numpy leaves a broken archive open.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is a single array: save the target beside it as .npz.")
            members = {str(name): archive[name] for name in archive.files}
    except PermissionError as error:
        raise DataError(f"{path} may not be read: allow it, or name another file.") from error
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and numpy: each has its own for a damaged file
        cause = str(error).splitlines() or [type(error).__name__]
        said = "it holds Python objects" if "pickle" in cause[0] else f"{cause[0]:.200}"
        raise DataError(
            f"{path} cannot be read as .npz ({said}): save it with numpy.savez, plain numbers or "
            "text only."
        ) from error
    # What is no array, numpy gives as bytes.
    arrays = {
        name: _plain_array(path, name, array)
        for name, array in members.items()
        if isinstance(array, np.ndarray)
    }
    if not arrays:
        raise DataError(f"{path} holds no arrays: save samples and target with numpy.savez.")
    return arrays


def _plain_array(path: Path, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in the byte order of this machine, bytes as text.

    Raises:
        DataError: It is structured, or its bytes are no text.
    """
    if array.dtype.names is not None:
        fields = ", ".join(map(repr, array.dtype.names[:8]))
        raise DataError(
            f"array '{name}' of {path} is structured, with the fields {fields}: save each field as "
            f"an array, by numpy.savez(file, **{{field: {name}[field] for field in "
            f"{name}.dtype.names}})."
        )
    if array.dtype.kind == "S":
        try:
            return np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"array '{name}' of {path} holds bytes that are no text in UTF-8: save text."
            ) from error
    if array.dtype.kind == "V":
        raise DataError(
            f"array '{name}' of {path} is of type {array.dtype}, which numpy knows no values of: "
            "save numbers or text."
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _columns_table(
    path: Path, arrays: dict[str, NDArray[Any]], target: str | None = None
) -> pd.DataFrame:
    """Return arrays of one value a row as columns.

    Raises:
        DataError: One has more; the sentence names what is missing beside the target.
    """
    if all(array.ndim == 1 for array in arrays.values()):
        return pd.DataFrame(arrays)
    listed = ", ".join(f"'{name}' {array.shape}" for name, array in arrays.items())
    if target is None:
        problem = "needs a target, the array to predict, since not all arrays are columns"
    elif target in arrays:
        sample_names = ", ".join(map(repr, SAMPLE_NAMES))
        problem = f"has no array of samples beside '{target}', which is one named {sample_names}"
    else:
        problem = f"has no array '{target}'"
    raise DataError(f"{path} {problem}: its arrays are {listed}.")
