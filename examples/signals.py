"""Sine, square and sawtooth waves of many frequencies, phases and heights, with noise."""

import numpy as np

STEPS = 32


def load(rows=900, seed=0):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(3, size=rows)
    cycles = rng.uniform(1.5, 3.0, size=(rows, 1))
    phase = (cycles * np.arange(STEPS) / STEPS + rng.uniform(size=(rows, 1))) % 1.0
    waves = [np.sin(2 * np.pi * phase), np.sign(phase - 0.5), 2 * phase - 1]
    x = np.choose(kinds[:, None], waves) * rng.uniform(0.7, 1.3, size=(rows, 1))
    return (x + rng.normal(0, 0.1, size=x.shape)).astype(np.float32), kinds
