"""What is wrong with an interpreter from its start: each folder holds a `sitecustomize` for it."""

from __future__ import annotations

import os
from pathlib import Path

GUARDS_FOLDER = Path(__file__).parent


def shifted_clock_environment(seconds: float) -> dict[str, str]:
    """Environment of processes whose clock is wrong by so many seconds."""
    return {**_first_on_path(GUARDS_FOLDER / "clock"), "WIDTHWISE_TEST_CLOCK_SHIFT": str(seconds)}


def no_pickle_environment(refusals_file: Path) -> dict[str, str]:
    """Environment of processes that refuse to read a pickle, and write down where they should."""
    return {
        **_first_on_path(GUARDS_FOLDER / "pickle"),
        "WIDTHWISE_TEST_PICKLES": str(refusals_file),
    }


def _first_on_path(folder: Path) -> dict[str, str]:
    path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(path)}
