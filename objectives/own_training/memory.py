"""The memory that a training of the user's own leaves: given back before the next one.

Whatever ended a training early is still known by its exception, whose traceback keeps the frames
that it passed through, and these all that they had made: the model, its gradients, the data.

Entry point: `release_memory`.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterable
from contextlib import suppress

import torch


def release_memory(device: torch.device, raised: Iterable[BaseException | None]) -> None:
    """Give back what a training held: nothing of it may count against the next one.

    Args:
        device: What it was trained on.
        raised: What is still known of it. Tracebacks keep their lines, and lose their variables.
    """
    for error in raised:
        _clear_frames(error)
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _clear_frames(error: BaseException | None) -> None:
    """Empty the frames that an exception, and those that it came from, have passed through."""
    pending, seen = [error], set[int]()
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        pending += [each.__context__, each.__cause__]
        if isinstance(each, BaseExceptionGroup):
            pending += each.exceptions
        for passed, _ in traceback.walk_tb(each.__traceback__):
            # And their callers, which they keep: one that was caught did not pass through these.
            for frame, _ in traceback.walk_stack(passed):
                with suppress(RuntimeError):  # it is running, as the callers of the training are
                    frame.clear()
