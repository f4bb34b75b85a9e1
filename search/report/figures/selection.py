"""Which of many trials are shown: stated, the same each time, never by chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def spread_selection(count: int, most: int) -> NDArray[np.intp]:
    """Return which of `count` ranked things are shown, by rising rank, at most `most` of them.

    Half of them are the best ones, the others spread evenly over all remaining ranks, the last one
    among them: 10 of 1,000 are the ranks 0 to 4, 204, 403, 601, 800 and 999.

    Args:
        count: How many there are.
        most: How many may be shown, at least 2.
    """
    if count <= most:
        return np.arange(count)
    best = most // 2
    rest = np.linspace(best, count - 1, most - best + 1)[1:].round().astype(np.intp)
    return np.concatenate([np.arange(best), rest])
