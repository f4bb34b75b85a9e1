"""Whose line it was: short references to user code for one-sentence errors.

Entry points: `where`, `first_line`, `root`, `too_large`.
"""

from pathlib import Path
from traceback import extract_tb

import torch

_NOT_THE_USERS = (str(Path(torch.__file__).parent), str(Path(__file__).parent), "<frozen")


def where(error: BaseException) -> str:
    """Return " (at FILE.py line N)" for the innermost line of the user's own code, or ""."""
    for frame in reversed(extract_tb(error.__traceback__)):
        if not frame.filename.startswith(_NOT_THE_USERS):
            return f" (at {Path(frame.filename).name} line {frame.lineno})"
    return ""


def first_line(error: BaseException) -> str:
    """Return what an exception says first, without a full stop."""
    return (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")


def root(error: BaseException) -> BaseException:
    """Return the first cause of an error that was raised `from` another."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def too_large(error: BaseException) -> bool:
    """Return whether torch refused a tensor of more than 2**63 bytes."""
    return "calculation overflowed" in str(error)  # the words of torch's storage size check
