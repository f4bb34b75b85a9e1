"""The history: what counts as tried."""

from __future__ import annotations

import numpy as np
from widthwise.search.sampler.history import History


def test_only_the_longest_training_makes_a_candidate_tried() -> None:
    history = History(
        observed=np.array([[1], [2], [3]]),
        values=np.array([0.1, 0.2, 0.3]),
        pending=np.array([[4]]),
        failed=np.array([[5]]),
        skipped=np.array([[6]]),
        fidelity=np.array([2.0, 20.0, 2.0]),
    )
    assert history.tried.ravel().tolist() == [2, 4, 5, 6]


def test_waiting_candidates_are_tried() -> None:
    none = np.empty((0, 1), dtype=np.int64)
    history = History(observed=none, values=np.empty(0), pending=none, failed=none)
    assert history.with_pending(np.array([[7]]), None).tried.ravel().tolist() == [7]
