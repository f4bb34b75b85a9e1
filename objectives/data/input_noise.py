"""Input noise: normal noise on the training inputs, other in every step, the same in every engine.

It is drawn from the member's seed and the number of the step alone, so that no engine, neighbour or
interruption changes it. Its scale is the inputs' own standard deviation over the training rows:
that of each column of a table, and of all numbers together where a sample has more axes.

Training with noise of a small variance is a penalty on the network's slope (Bishop, "Training with
noise is equivalent to Tikhonov regularization", 1995).

Entry points: `input_scale`, `add_noise`.
"""

import numpy as np
import torch
from torch import Tensor


def input_scale(inputs: Tensor) -> Tensor:
    """Return the standard deviation of training inputs: [columns] of a table, else a scalar.

    Args:
        inputs: Rows first, floating-point.
    """
    if inputs.ndim == 2:
        return inputs.std(dim=0, correction=0)
    return inputs.std(correction=0)


def add_noise(inputs: Tensor, scale: Tensor, seed: int, step: int) -> Tensor:
    """Return a batch with the noise of a step.

    Args:
        inputs: Rows first, on any device.
        scale: Standard deviation of the noise, broadcastable to them.
        seed: Of the member, 0 to 2**63 - 1.
        step: Update, from 0.
    """
    word = int(np.random.SeedSequence([seed, 3, step]).generate_state(1, np.uint64)[0])
    generator = torch.Generator().manual_seed(word >> 1)
    # On the CPU whatever the device: its numbers are the same everywhere.
    noise = torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype)
    return noise.to(inputs.device).mul_(scale).add_(inputs)
