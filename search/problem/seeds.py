"""The seeds of trainings: one for each trial of a study, the same for every worker that runs it.

Entry points: `trial_seed`; `confirmation_seed` and `experiment_seed` for what is trained again,
`final_seed` for what is kept.
"""

from __future__ import annotations

import numpy as np


def trial_seed(study_seed: int, number: int) -> int:
    """Return the seed of trial `number`, independent of every other trial's, in [0, 2^63).

    Source: numpy's SeedSequence, which hashes its entropy so that near seeds are unrelated.
    """
    word = np.random.SeedSequence((study_seed, number)).generate_state(1, np.uint64)[0]
    return int(word >> np.uint64(1))


_CONFIRMATION_STREAM = 1
"""Sets the seeds of confirmations apart from those of trials."""


def confirmation_seed(study_seed: int, index: int) -> int:
    """Return the `index`-th fresh seed of a study, which none of its trials has, in [0, 2^63).

    All candidates that are compared are trained with the same fresh seeds.
    """
    sequence = np.random.SeedSequence((study_seed, index, _CONFIRMATION_STREAM))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


_EXPERIMENT_STREAM = 2
"""Sets the seeds of experiments apart from those of trials and of confirmations."""


def experiment_seed(study_seed: int, index: int) -> int:
    """Return the `index`-th seed of a study's experiments, in [0, 2^63).

    Neither its trials nor its confirmation have it: what was chosen by these is judged afresh.
    """
    sequence = np.random.SeedSequence((study_seed, index, _EXPERIMENT_STREAM))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


_FINAL_STREAM = 3
"""Sets the seed of a final training apart from all others."""


def final_seed(study_seed: int) -> int:
    """Return the seed of a study's final trainings, in [0, 2^63); nothing was chosen by it."""
    sequence = np.random.SeedSequence((study_seed, 0, _FINAL_STREAM))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
