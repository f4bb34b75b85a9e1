"""What is wrong with an interpreter from its start: each folder holds a `sitecustomize` for it."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).parent


def shifted_clock(seconds: float) -> dict[str, str]:
    """Environment of processes whose clock is wrong by so many seconds."""
    return {**_first(HERE / "clock"), "WIDTHWISE_TEST_CLOCK_SHIFT": str(seconds)}


def no_pickle(tried: Path) -> dict[str, str]:
    """Environment of processes that refuse to read a pickle, and write down where they should."""
    return {**_first(HERE / "pickle"), "WIDTHWISE_TEST_PICKLES": str(tried)}


def _first(folder: Path) -> dict[str, str]:
    path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(path)}
