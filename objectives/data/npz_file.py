"""NumPy archives: one array of samples and one of targets, or one array for each column.

Entry point: `load_npz`.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError
from .arrays import from_arrays
from .columns import named
from .dataset import Data, Task
from .table import from_table
from .target import read_target

SAMPLES = ("x", "X", "inputs", "features", "images")
"""Names under which all samples may lie in one array."""


def load_npz(
    path: Path, target: str | None, seed: int, *, task: Task | None = None, image: bool = False
) -> Data:
    """Return the splits of an archive.

    Raises:
        DataError: Unreadable, no such target, or arrays of different lengths.
    """
    arrays = _read(path)
    samples = next((name for name in SAMPLES if name in arrays and name != target), None)
    if target not in arrays or (samples is None and len(arrays) > 1):
        # Every array a column: `from_table` says what is missing, and which columns there are.
        samples = samples if target in arrays else None
    used = [samples, target] if samples and target else list(arrays)
    lengths = {name: len(arrays[name]) if arrays[name].ndim else 0 for name in used if name}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"'{name}' {rows}" for name, rows in lengths.items())
        raise DataError(f"the arrays of {path} differ in rows ({shown}): make them equal.")
    left = [name for name in arrays if name not in used]
    notes = (f"left out arrays: {named(left)}",) if left else ()
    if samples is None or target is None:
        if image:
            raise DataError(
                f"{path} holds single columns, images (channels, height, width) are asked for: "
                f"give one array of samples named {' or '.join(map(repr, SAMPLES))}."
            )
        return from_table(path.name, _columns(path, arrays), target, seed, task=task)
    x = arrays[samples]
    if x.ndim > 2 or image:
        if not np.issubdtype(x.dtype, np.number):
            raise DataError(f"array '{samples}' of {path} is of type {x.dtype}: give numbers.")
        goal = read_target(arrays[target], target, task)
        return from_arrays(path.name, x, goal, seed, image=image, notes=notes)
    x = x.reshape(len(x), -1)
    table = pd.DataFrame(x, columns=[f"{samples}{k}" for k in range(x.shape[1])])
    y = arrays[target]
    if y.ndim > 1 and y.shape[1:] != (1,):
        raise DataError(
            f"array '{target}' of {path} has the shape {y.shape}: give one target a row."
        )
    table[target] = y.reshape(len(y))
    return from_table(path.name, table, target, seed, task=task, notes=notes)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        # Opened here: numpy leaves a broken archive open.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is a single array: save the target beside it as .npz.")
            arrays = {str(name): archive[name] for name in archive.files}
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        reason = "it holds Python objects" if "pickle" in str(error) else f"{error}".splitlines()[0]
        raise DataError(
            f"{path} cannot be read as .npz ({reason}): save it with numpy.savez, plain numbers "
            "or text only."
        ) from error
    if not arrays:
        raise DataError(f"{path} holds no arrays: save samples and target with numpy.savez.")
    return arrays


def _columns(path: Path, arrays: dict[str, NDArray[Any]]) -> pd.DataFrame:
    deep = [name for name, array in arrays.items() if array.ndim != 1]
    if deep:
        raise DataError(
            f"{path} has no target among its arrays, or samples not named "
            f"{', '.join(map(repr, SAMPLES))}: its arrays are "
            + ", ".join(f"'{name}' {array.shape}" for name, array in arrays.items())
            + "."
        )
    return pd.DataFrame(arrays)
