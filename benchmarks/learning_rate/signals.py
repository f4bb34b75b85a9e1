"""Ten classes of generated one-dimensional signals, in the spirit of MNIST-1D (Greydanus 2020).

Each class has a smooth template: a few bumps at random places, of random heights and breadths. A
sample is its template, stretched, shifted, scaled and tilted at random, under smooth and white
noise. Where a shape stands says nothing about the class, so a linear model does badly and each
doubling of a perceptron's width helps.

Entry point: `signals`.
"""

import numpy as np
import torch
from widthwise.objectives.data.dataset import Data, Split

CLASSES = 10
SIGNAL_LENGTH = 40
BUMPS_PER_TEMPLATE = 5

MAX_STRETCH = 0.2
"""Most that a template is stretched or squeezed, as a share."""

MAX_SHIFT = 0.25
"""Most that it is shifted, as a share of the signal's length, and wrapped round."""

HEIGHT_DEVIATION = 0.4
TILT_DEVIATION = 0.6
NOISE_DEVIATION = 0.3
"""Standard deviations: of the logarithm of the height; of a slope's rise; of each kind of noise.

A template's own is 1.
"""


def signals(train: int, validation: int, seed: int) -> Data:
    """Return a data set.

    Args:
        train: Rows of the training split.
        validation: Rows of the validation split; there is no test split.
        seed: Decides templates and samples.
    """
    rng = np.random.default_rng(seed)
    templates = [_template(rng) for _ in range(CLASSES)]
    labels = rng.integers(CLASSES, size=train + validation)
    samples = np.stack([_sample(templates[label], rng) for label in labels])
    inputs, targets = torch.from_numpy(samples.astype(np.float32)), torch.from_numpy(labels)
    row_slices = (slice(0, train), slice(train, None), slice(0, 0))
    train_split, validation_split, test_split = (
        Split(inputs=inputs[row_slice], targets=targets[row_slice]) for row_slice in row_slices
    )
    return Data(
        name="signals",
        task="classification",
        train=train_split,
        validation=validation_split,
        test=test_split,
        outputs=CLASSES,
    )


Template = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Places in [0, 1), breadths and heights of the bumps."""


def _template(rng: np.random.Generator) -> Template:
    return (
        rng.uniform(0, 1, BUMPS_PER_TEMPLATE),
        rng.uniform(0.03, 0.12, BUMPS_PER_TEMPLATE),
        rng.choice([-1.0, 1.0], BUMPS_PER_TEMPLATE) * rng.uniform(0.5, 1.5, BUMPS_PER_TEMPLATE),
    )


def _sample(template: Template, rng: np.random.Generator) -> np.ndarray:
    """Return one signal, `[SIGNAL_LENGTH]`."""
    bump_positions, bump_widths, bump_heights = template
    grid = np.arange(SIGNAL_LENGTH) / SIGNAL_LENGTH
    stretch = 1 + rng.uniform(-MAX_STRETCH, MAX_STRETCH)
    centres = rng.uniform(-MAX_SHIFT, MAX_SHIFT) + 0.5 + (bump_positions - 0.5) * stretch
    # On a circle, so that no bump is lost over an end.
    distance = (grid[:, None] - centres + 0.5) % 1 - 0.5
    shape = (bump_heights * np.exp(-0.5 * (distance / (bump_widths * stretch)) ** 2)).sum(1)
    shape = np.exp(rng.normal(0, HEIGHT_DEVIATION)) * (shape - shape.mean()) / shape.std()
    smooth = np.convolve(rng.normal(0, 1, SIGNAL_LENGTH + 8), np.full(9, 1 / 3), mode="valid")
    white = rng.normal(0, 1, SIGNAL_LENGTH)
    tilt = rng.normal(0, TILT_DEVIATION) * (grid - 0.5)
    return np.asarray(shape + tilt + NOISE_DEVIATION * (smooth + white))
