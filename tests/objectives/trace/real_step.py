"""What one real training step holds: the truth that predicted peaks are compared with.

`RealStorageTracker` shares nothing with the recorder under test: it keeps weak references to real
storages, and checks after every operator which of them are still alive.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from widthwise.objectives.cost.costs import StepSpec, TensorSpec

Build = Callable[[], nn.Module]
MakeOptimizer = Callable[[nn.Module], torch.optim.Optimizer]

CLASS = TensorSpec(shape=(), dtype=torch.int64)


class RealStorageTracker(TorchDispatchMode):
    """Watches real storages; `peak` is the most bytes alive after any operator."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0
        for tensor in tensors:
            self.track(tensor)
        self.update_peak()

    def track(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        reference = StorageWeakRef(storage)
        self.storages[reference.cdata] = (reference, storage.nbytes())

    def update_peak(self) -> None:
        self.storages = {k: v for k, v in self.storages.items() if not v[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.storages.values()))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.track(leaf)
        self.update_peak()
        return result


@contextmanager
def without_encoder_fastpath() -> Iterator[None]:
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def real_peaks(build: Build, step: StepSpec, make_optimizer: MakeOptimizer) -> tuple[int, int]:
    """Train two real steps and run one forward pass; return the peaks of the second and third."""
    torch.manual_seed(0)
    model = build()
    optimizer = make_optimizer(model)
    inputs = [sample(spec, step.batch_size) for spec in step.inputs]
    targets = sample(step.targets, step.batch_size)

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        with precision(step):
            loss = step.loss(model(*inputs), targets)
        loss.backward()
        optimizer.step()

    train()
    optimizer.zero_grad(set_to_none=True)
    state = [
        value
        for slots in optimizer.state.values()
        for value in slots.values()
        if isinstance(value, Tensor)
    ]
    parameters_and_buffers = [*model.parameters(), *model.buffers()]
    with RealStorageTracker([*parameters_and_buffers, *state, *inputs, targets]) as training:
        train()
    optimizer.zero_grad(set_to_none=True)
    model.eval()
    inference_tracker = RealStorageTracker([*parameters_and_buffers, *inputs])
    with (
        without_encoder_fastpath(),
        torch.no_grad(),
        precision(step),
        inference_tracker as inference,
    ):
        model(*inputs)
    return training.peak, inference.peak


def precision(step: StepSpec):
    return torch.autocast("cpu", step.autocast) if step.autocast else nullcontext()


def sample(spec: TensorSpec, size: int) -> Tensor:
    shape = (size, *spec.shape)
    return torch.randint(0, 5, shape) if spec.dtype == torch.int64 else torch.randn(shape)


OPTIMIZERS: dict[str, tuple[str | MakeOptimizer, MakeOptimizer]] = {
    "sgd": ("sgd", lambda model: torch.optim.SGD(model.parameters(), lr=0.1)),
    "adamw": ("adamw", lambda model: torch.optim.AdamW(model.parameters())),
}
