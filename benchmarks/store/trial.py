"""What one recorded trial is, for both sides: six widths, ten reports, a few attributes, a value.

Nothing is trained: the seconds are those of the store. Widths are drawn at random, so no sampler's
time is in them either.
"""

import random

from optuna.distributions import IntDistribution

LOW, HIGH, STEP = 8, 1024, 8
DISTRIBUTIONS = {f"width{i}": IntDistribution(LOW, HIGH, step=STEP) for i in range(6)}
CONSTRAINTS = {"flops": -0.25, "parameters": -0.5}
START_ATTRIBUTES = {"origin": "sampler", "seed": 7, "flops": 2_000_000, "parameters": 200_000}
END_ATTRIBUTES = {"test": 0.96, "outcome": "complete"}
VALUE = 0.97
CURVE = [VALUE - 0.05 * (9 - epoch) for epoch in range(10)]

FILL_BATCH_SIZE = 500
"""Trials a transaction while a study is filled up."""


def draw_widths(generator: random.Random) -> dict[str, int]:
    """Widths of one candidate."""
    return {name: generator.randrange(LOW, HIGH + 1, STEP) for name in DISTRIBUTIONS}
