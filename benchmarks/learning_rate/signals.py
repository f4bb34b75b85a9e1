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
POINTS = 40
BUMPS = 5

STRETCH = 0.2
"""Most that a template is stretched or squeezed, as a share."""

SHIFT = 0.25
"""Most that it is shifted, as a share of the signal's length, and wrapped round."""

SCALE = 0.4
TILT = 0.6
NOISE = 0.3
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
    random = np.random.default_rng(seed)
    templates = [_template(random) for _ in range(CLASSES)]
    labels = random.integers(CLASSES, size=train + validation)
    rows = np.stack([_sample(templates[label], random) for label in labels])
    inputs, targets = torch.from_numpy(rows.astype(np.float32)), torch.from_numpy(labels)
    parts = (slice(0, train), slice(train, None), slice(0, 0))
    first, second, none = (Split(inputs=inputs[part], targets=targets[part]) for part in parts)
    return Data(
        name="signals",
        task="classification",
        train=first,
        validation=second,
        test=none,
        outputs=CLASSES,
    )


Template = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Places in [0, 1), breadths and heights of the bumps."""


def _template(random: np.random.Generator) -> Template:
    return (
        random.uniform(0, 1, BUMPS),
        random.uniform(0.03, 0.12, BUMPS),
        random.choice([-1.0, 1.0], BUMPS) * random.uniform(0.5, 1.5, BUMPS),
    )


def _sample(template: Template, random: np.random.Generator) -> np.ndarray:
    """Return one signal, `[POINTS]`."""
    places, breadths, heights = template
    grid = np.arange(POINTS) / POINTS
    stretch = 1 + random.uniform(-STRETCH, STRETCH)
    centres = random.uniform(-SHIFT, SHIFT) + 0.5 + (places - 0.5) * stretch
    # On a circle, so that no bump is lost over an end.
    distance = (grid[:, None] - centres + 0.5) % 1 - 0.5
    shape = (heights * np.exp(-0.5 * (distance / (breadths * stretch)) ** 2)).sum(1)
    shape = np.exp(random.normal(0, SCALE)) * (shape - shape.mean()) / shape.std()
    smooth = np.convolve(random.normal(0, 1, POINTS + 8), np.full(9, 1 / 3), mode="valid")
    white = random.normal(0, 1, POINTS)
    tilt = random.normal(0, TILT) * (grid - 0.5)
    return np.asarray(shape + tilt + NOISE * (smooth + white))
