"""What a real training step really holds: live bytes of real tensors, asked after every operator.

Shares nothing with the recorder under test: weak references to the storages of all tensors that
operators take and return, and the question which of them are still alive.

Entry points: `real_peak`, `checkpointed`, `Autocast`.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint
from widthwise.objectives.step import StepSpec, TensorSpec


class RealBytes(TorchDispatchMode):
    """Watches real storages; `peak` is the most bytes alive after any operator."""

    def __init__(self, held: Iterable[Tensor]) -> None:
        super().__init__()
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0
        self.look(held)

    def look(self, tensors: Iterable[Any]) -> None:
        for tensor in tensors:
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                reference = StorageWeakRef(storage)
                self.storages[reference.cdata] = (reference, storage.nbytes())
        self.storages = {k: v for k, v in self.storages.items() if not v[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.storages.values()))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.look(tree_leaves((args, kwargs, result)))
        return result


OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=1e-3, foreach=False),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, foreach=False),
}


def real_peak(model: nn.Module, step: StepSpec) -> int:
    """Train a real model for two steps and return the peak of live bytes of the second."""
    torch.manual_seed(0)
    model.train()
    optimizer = OPTIMIZERS[step.optimizer](model.parameters())
    inputs = [sample(spec, step.batch_size) for spec in step.inputs]
    targets = sample(step.targets, step.batch_size)

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = step.loss(model(*inputs), targets)
        loss.backward()
        optimizer.step()

    train()
    optimizer.zero_grad(set_to_none=True)
    state = [value for slots in optimizer.state.values() for value in slots.values()]
    held = [*model.parameters(), *model.buffers(), *state, *inputs, targets]
    with RealBytes(held) as measured:
        train()
    return measured.peak


def sample(spec: TensorSpec, size: int) -> Tensor:
    """Return a random batch; whole numbers are 0 or 1."""
    shape = (size, *spec.shape)
    return torch.randint(0, 2, shape) if spec.dtype == torch.int64 else torch.randn(shape)


def checkpointed(model: nn.Module, blocks: tuple[str, ...]) -> nn.Module:
    """Make the modules of these classes recompute their activations in the backward pass."""
    found = [module for module in model.modules() if type(module).__name__ in blocks]
    assert found
    for module in found:
        module.forward = partial(checkpoint, module.forward, use_reentrant=False)
    return model


class Autocast(nn.Module):
    """A model whose forward pass runs in bfloat16 where that is safe; it returns fp32."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        with torch.autocast("cpu", torch.bfloat16):
            output = self.inner(x)
        if isinstance(output, tuple):
            return tuple(part.float() for part in output)
        return output.float()
