"""A training loop written by hand with torch alone: whether the plain engine is a fair baseline.

Data lies on the device, AdamW is fused, nothing is read back within an epoch, and the best epoch's
weights are kept.

Entry point: `train_by_hand`.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from widthwise.objectives.data.dataset import Split
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.model.objective import ModuleObjective
from widthwise.objectives.training.settings import ProxySettings


def train_by_hand(
    objective: ModuleObjective,
    candidates: Sequence[Candidate],
    settings: ProxySettings,
    device: torch.device,
) -> list[float]:
    """Train one candidate after the other; return their best validation accuracies."""
    data = objective.data.to(device)
    accuracies = []
    for candidate in candidates:
        torch.manual_seed(candidate.seed)
        model = objective.builder(candidate.widths).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, fused=True)
        best_accuracy, best_weights = -1.0, {}
        for _ in range(settings.epochs):
            _train_epoch(model, optimizer, objective, data.train, settings.batch_size)
            accuracy = _accuracy(model, data.validation)
            if accuracy > best_accuracy:
                best_accuracy, best_weights = accuracy, deepcopy(model.state_dict())
        model.load_state_dict(best_weights)
        accuracies.append(best_accuracy)
    return accuracies


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    objective: ModuleObjective,
    split: Split,
    batch_size: int,
) -> float:
    """Train on every row once; return the mean loss."""
    model.train()
    total: Tensor = torch.zeros((), device=split.inputs.device)
    for rows in torch.randperm(len(split), device=split.inputs.device).split(batch_size):
        loss = objective.loss_function(model(split.inputs[rows]), split.targets[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += loss.detach() * len(rows)
    return float(total) / len(split)


@torch.no_grad()
def _accuracy(model: nn.Module, split: Split) -> float:
    model.eval()
    return float((model(split.inputs).argmax(1) == split.targets).float().mean())
