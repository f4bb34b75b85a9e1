"""How long a training is by default: counted in optimiser steps, since epochs of few rows are none.

Three epochs of 200 rows are a dozen steps, after which nothing has been learnt and any stop is a
toss of a coin. So the default length, and all that early stopping goes by, are steps, which are
turned into whole epochs here: the loop knows epochs only.

Entry point: `training_length`.
"""

import math
from typing import NamedTuple

MAX_STEPS = 3_000
"""Steps of a training at most, where 20 epochs are not more: on five small tables (90 to 1,079
training rows) twice as many moved no test metric by more than 0.002 (docs/proxy.md)."""

MIN_STEPS = 300
"""Steps before which no training stops."""

PATIENCE_STEPS = 200
"""Steps without a better smoothed validation loss after which a training stops."""

SMOOTHING_STEPS = 50
"""Steps over which the validation loss is averaged before it is judged."""

STEPS_BETWEEN_VALIDATIONS = 10
"""Steps between two validations where epochs are shorter than that."""

MIN_LENGTH_EPOCHS = 20
"""Epochs of a training at most, where 3,000 steps are not more."""

MIN_PATIENCE_EPOCHS = 3
"""Epochs of patience at least: data of many rows is validated once an epoch."""


class TrainingLength(NamedTuple):
    """How long to train, in epochs: fields of `ProxySettings`."""

    epochs: int
    patience: int
    min_epochs: int
    validate_every: int
    smoothing: int


def training_length(
    rows: int, batch_size: int, *, epochs: int | None = None, patience: int | None = None
) -> TrainingLength:
    """Return the length of trainings on so many rows.

    Args:
        rows: Of the training split.
        batch_size: Rows in a step.
        epochs: As the user set them; validated one by one then.
        patience: Epochs, as the user set it; 0 never stops.
    """
    steps_per_epoch = math.ceil(rows / batch_size)

    def epochs_of(steps: int) -> int:
        return math.ceil(steps / steps_per_epoch)

    validate_every = 1
    if epochs is None:
        epochs = max(MIN_LENGTH_EPOCHS, epochs_of(MAX_STEPS))
        validate_every = max(1, round(STEPS_BETWEEN_VALIDATIONS / steps_per_epoch))
    if patience is None:
        patience = max(MIN_PATIENCE_EPOCHS, epochs_of(PATIENCE_STEPS))
    return TrainingLength(
        epochs=epochs,
        patience=patience,
        min_epochs=min(epochs, epochs_of(MIN_STEPS)),
        validate_every=validate_every,
        smoothing=max(1, round(SMOOTHING_STEPS / (steps_per_epoch * validate_every))),
    )
