"""The verdict on a study, in a word that scripts can rely on.

Entry point: `Verdict`, whose values are those of `verdict` in `report.json`.
"""

from __future__ import annotations

import enum


class Verdict(enum.StrEnum):
    """What a search has come to.

    Attributes:
        GAIN: A searched network is better than the plain baselines.
        NO_GAIN: None is known to be: a plain baseline is the one to take.
        SMALLEST_SUFFICIENT: The smallest network that is good enough is known.
        UNDECIDED: The evidence is too thin to choose.
        NOT_TRAINED: Nothing learned more than a constant prediction.
        TARGET_MISSED: Nothing reaches the target.
        NO_TRIALS: No training is complete.
    """

    GAIN = "gain"
    NO_GAIN = "no gain"
    SMALLEST_SUFFICIENT = "smallest sufficient"
    UNDECIDED = "undecided"
    NOT_TRAINED = "not trained"
    TARGET_MISSED = "target missed"
    NO_TRIALS = "no trials"
