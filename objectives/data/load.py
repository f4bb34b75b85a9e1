"""Where data comes from: a built-in name, a user's file, or a user's function.

Entry points: `load_data` decides which of them a source is; `BUILT_IN` lists the names;
`data_fingerprint` hashes what the data is made from.
"""

import hashlib
import inspect
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import DataError, describe_error
from ..user_code import is_out_of_memory, load_object, source_fingerprint
from .arrays import from_arrays, from_result
from .dataset import Data, Task
from .files import SUFFIXES, load_file
from .target import read_target

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
) -> Data:
    """Return the data that a spec's `proxy.data` names.

    Args:
        source: A name in `BUILT_IN`, a file, or a function as FILE.py:name or module:name.
        base: The folder that files are looked for in.
        seed: Decides which row goes into which split.
        target: Column to predict, for files only.
        image: Whether the model's family asks for samples `[channels, height, width]`.
        task: Overrules what the target of a file or function is recognised as.

    Raises:
        DataError: No such source, or none that can be trained on.
        ImportFailure: The function's reference leads nowhere.
    """
    is_path = Path(source).suffix.lower() in SUFFIXES
    if target is not None and not is_path and (source in BUILT_IN or ":" in source):
        raise DataError(
            f"data '{source}' brings its own target, '{target}' was given beside it: drop the "
            "target, which is for files."
        )
    if source in BUILT_IN:
        return load_builtin(source, seed, image=image)
    if is_path or (":" not in source and (base / source).is_file()):
        return load_file(base / Path(source).expanduser(), target, seed, task, image=image)
    if ":" in source:
        return load_function(source, load_object(source, base), seed, task=task)
    close = get_close_matches(source, BUILT_IN, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    raise DataError(
        f"there is no data '{source}': {hint}Choose one of {', '.join(BUILT_IN)}, a file "
        f"({', '.join(SUFFIXES)}) or a function as FILE.py:name."
    )


def load_builtin(name: str, seed: int, *, image: bool = False) -> Data:
    """Return a data set that scikit-learn ships, standardised by its training split.

    Args:
        name: In `BUILT_IN`.
        seed: Decides which row goes into which split.
        image: For digits, samples `[1, 8, 8]` instead of 64 columns.

    Raises:
        DataError: No such name, or no images when they are asked for.
    """
    if name not in BUILT_IN:
        raise DataError(f"there is no built-in data '{name}': choose one of {', '.join(BUILT_IN)}.")
    from sklearn import datasets  # takes a second to load, as long as torch

    bunch = getattr(datasets, f"load_{name}")()
    if image and "images" not in bunch:
        raise DataError(
            f"data '{name}' is a table of columns, images (channels, height, width) are asked "
            "for: choose family 'mlp', or data 'digits'."
        )
    if "target_names" in bunch:
        target = read_target(bunch.target_names[bunch.target], "target", "classification")
    else:
        target = read_target(bunch.target, "target", "regression")
    # As an array, not as a table: the columns (digits has blank corners) do not hang on the seed.
    return from_arrays(name, bunch.images if image else bunch.data, target, seed, image=image)


def load_function(
    name: str, function: Callable[..., Any], seed: int, *, task: Task | None = None
) -> Data:
    """Return the data of a user's function, which may take the keyword `seed`.

    Raises:
        DataError: It raised, or handed over something else than data.
    """
    try:
        accepts_seed = "seed" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        accepts_seed = False
    try:
        result = function(seed=seed) if accepts_seed else function()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise DataError(
            f"{name} raised {describe_error(error)}: mend it, or choose other data."
        ) from error
    return from_result(name, result, seed, task)


def data_fingerprint(source: str, base: Path) -> str:
    """Return a SHA-256 of what the data is made from: file, source code, or built-in name.

    Raises:
        DataError: The file is not there.
        ImportFailure: The function's reference leads nowhere.
    """
    if source in BUILT_IN:
        return hashlib.sha256(f"scikit-learn {source}".encode()).hexdigest()
    path = base / Path(source).expanduser()
    if path.suffix.lower() not in SUFFIXES and ":" in source:
        return source_fingerprint(source, base)
    if not path.is_file():
        raise DataError(f"there is no file {path}: check the path.")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
