"""The seeds of trainings: one for each trial of a study, the same for every worker that runs it.

Entry point: `trial_seed`.
"""

from __future__ import annotations

import numpy as np


def trial_seed(study_seed: int, number: int) -> int:
    """Return the seed of trial `number`, independent of every other trial's, in [0, 2^63).

    Source: numpy's SeedSequence, which hashes its entropy so that near seeds are unrelated.
    """
    word = np.random.SeedSequence((study_seed, number)).generate_state(1, np.uint64)[0]
    return int(word >> np.uint64(1))
