"""The plain engine: any module, one member after the other; the reference of all engines.

Data lies on the device or comes in batches, the optimizer is fused, and a step is the very one
whose memory is predicted (`objectives.training.step.training_step`).

Entry point: `PlainEngine`.
"""

from collections.abc import Iterator, Sequence
from typing import final

import torch

from ..data.dataset import Data
from ..data.streams.batch import Batch
from ..training.step import training_step
from .base import BatchOrder, Member, TrainingSetup
from .module_network import ModuleNetwork, ModuleSession


@final
class PlainEngine:
    """Trains each member by itself, by torch's own operators and autograd."""

    name = "plain"

    def start(
        self, training: TrainingSetup, members: Sequence[Member]
    ) -> ModuleSession["PlainNetwork"]:
        """Build all members; every network that can be built is supported."""
        return ModuleSession(training, members, PlainNetwork)


@final
class PlainNetwork(ModuleNetwork):
    """A member's module, trained by autograd."""

    def advance(self, batches: BatchOrder, mid_epoch: bool) -> float:
        """Train on batches; see `ModuleNetwork`."""
        training, settings, device = self.training, self.training.settings, self.training.device
        on_gpu = device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        self.model.train()
        total = torch.tensor(
            self.epoch_loss.resume_total(mid_epoch), dtype=torch.float64, device=device
        )
        rows = 0
        with self.randomness:
            for batch in self._load(batches):
                self.begin_step()
                with self.batch_errors(batch):
                    loss = training_step(
                        self.model,
                        self.optimizer,
                        training.objective.loss,
                        batch,
                        settings.autocast,
                        settings.accumulation_steps(batch.rows),
                    )
                total += loss * batch.rows
                rows += batch.rows
                self.step += 1
        if on_gpu:
            self._record_peak(torch.cuda.max_memory_allocated(device))
        return self.epoch_loss.update(float(total), rows)

    def _load(self, batches: BatchOrder) -> Iterator[Batch]:
        """Yield the batches, on the device, with the noise of their steps."""
        if self.reader is not None:
            yield from self.reader.read(batches)
            return
        for inputs, targets in self.training.load_batches(batches):
            noisy = self.training.noisy(inputs, self.seed, self.step)
            yield Batch(args=(noisy,), targets=targets)

    def _record_peak(self, allocated: int) -> None:
        data = self.training.data
        splits = (data.train, data.validation) if isinstance(data, Data) else ()
        data_bytes = sum(
            tensor.nbytes
            for split in splits
            for tensor in (split.inputs, split.targets)
            if tensor.is_cuda
        )
        self.peak_memory = max(allocated - data_bytes, self.peak_memory or 0)
