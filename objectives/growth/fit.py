"""A short training of a model that came without weights, so that there is something to judge.

Entry point: `fit_briefly`.
"""

from __future__ import annotations

import torch
from torch import nn

from ..data.batches import BatchSampler
from ..randomness import Randomness
from ..training.optimizer import make_adamw
from .gradients import LossOfOutput
from .samples import Samples

BATCH_SIZE = 64
LEARNING_RATE = 1e-3
"""AdamW's, as a search has it by default."""


def fit_briefly(
    model: nn.Module, samples: Samples, loss: LossOfOutput, *, epochs: int, seed: int = 0
) -> None:
    """Train a model in place, by AdamW at the defaults of a search.

    Args:
        model: Any module.
        samples: Training rows.
        loss: The mean over the rows.
        epochs: Passes over the rows.
        seed: Of the batches' order, and of dropout.
    """
    device = samples.targets.device
    sampler = BatchSampler(samples.rows, min(BATCH_SIZE, samples.rows), seed)
    with Randomness(seed, device), torch.enable_grad():
        model.train()
        optimizer = make_adamw(model, LEARNING_RATE, 0.0)
        for _ in range(epochs):
            for rows in sampler.batches_until(1.0):
                batch = samples.select(rows)
                optimizer.zero_grad(set_to_none=True)
                loss(batch.call(model), batch.targets).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    model.eval()
