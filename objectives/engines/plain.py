"""The plain engine: any module, one member after the other; the reference of all engines.

Data lies on the device, the optimizer is fused, and a step is the very one whose memory is
predicted (`objectives.training.step.training_step`).

Entry point: `PlainEngine`.
"""

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from functools import partial
from operator import methodcaller
from typing import Any, final

import torch
from torch import Tensor

from ..model import keyed_dropout
from ..training.evaluate import predict
from ..training.snapshot import NetworkState
from ..training.step import training_step
from .base import EpochLoss, Member, TrainingSetup
from .module_attributes import ModuleAttributes
from .plain_state import capture, restore
from .sequential import Sequential


@final
class PlainEngine:
    """Trains each member by itself, by torch's own operators and autograd."""

    name = "plain"

    def start(self, training: TrainingSetup, members: Sequence[Member]) -> "PlainSession":
        """Build all members; it serves every one that can be built."""
        return PlainSession(training, members)


@final
class PlainSession(Sequential["PlainNetwork"]):
    """Members that take turns; see `Team`."""

    def __init__(self, training: TrainingSetup, members: Sequence[Member]) -> None:
        self._training = training
        super().__init__(members, partial(PlainNetwork, training))

    def advance(
        self, batches: Mapping[int, Sequence[Tensor]], mid_epoch: Collection[int] = ()
    ) -> dict[int, float | Exception]:
        """Train members on batches of their own; see `Team`."""
        return {
            index: self.run_member(
                index, methodcaller("advance", member_batches, index in mid_epoch)
            )
            for index, member_batches in batches.items()
        }

    def predict(self, members: Sequence[int], inputs: Tensor) -> dict[int, Any]:
        """Return each member's outputs for all rows; see `Team`."""
        return {index: self.run_member(index, methodcaller("predict", inputs)) for index in members}

    def peak_memory(self, member: int) -> int | None:
        """Return the bytes that the GPU's allocator held at most in a pass of training."""
        network = self._networks.get(member)
        # Else the allocator's figure is everybody's.
        is_alone = len(self._parameter_counts) == self._training.settings.folds == 1
        return network.peak_memory if network is not None and is_alone else None


class PlainNetwork:
    """One member's model, optimizer and random streams."""

    def __init__(self, training: TrainingSetup, member: Member) -> None:
        self.training, self.seed = training, member.seed
        self.model, self.randomness = training.build(member)
        self.optimizer = training.optimizer(self.model, member)
        self.keyed_dropouts = keyed_dropout.keyed_layers(self.model)
        self.attributes = ModuleAttributes(self.model)
        self.step = 0
        self.epoch_loss = EpochLoss()
        self.best_state: dict[str, Any] = {}
        self.peak_memory: int | None = None

    @property
    def parameter_count(self) -> int:
        """Return the numbers in the model's parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def advance(self, batches: Sequence[Tensor], mid_epoch: bool = False) -> float:
        """Train on batches; returns the mean loss over their rows, and those before if midway."""
        training, device = self.training, self.training.device
        on_gpu = device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        self.model.train()
        total = torch.tensor(
            self.epoch_loss.resume_total(mid_epoch), dtype=torch.float64, device=device
        )
        with self.randomness:
            for inputs, targets in training.load_batches(batches):
                keyed_dropout.set_step(self.keyed_dropouts, self.seed, self.step)
                total += self.train_step(inputs, targets) * len(inputs)
                self.step += 1
        if on_gpu:
            self._note_peak(torch.cuda.max_memory_allocated(device))
        return self.epoch_loss.update(float(total), sum(map(len, batches)))

    def train_step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Do one update and return the loss: the very step whose memory is predicted."""
        settings = self.training.settings
        return training_step(
            self.model,
            self.optimizer,
            self.training.objective.loss,
            (inputs,),
            targets,
            settings.autocast,
            settings.accumulation_steps(len(inputs)),
        )

    def predict(self, inputs: Tensor) -> Any:
        """Return the outputs for all rows."""
        settings = self.training.settings
        with self.randomness:
            return predict(
                self.model, inputs, settings.eval_batch, settings.autocast, self.training.device
            )

    def state_dict(self) -> dict[str, Any]:
        """A copy on the CPU: the device's peak stays that of a training step."""
        return {
            name: value.detach().to("cpu", copy=True)
            if isinstance(value, Tensor)
            else deepcopy(value)
            for name, value in self.model.state_dict().items()
        }

    def network_state(self) -> NetworkState:
        """Return all that the next step depends on; raises `Unkeepable`."""
        return capture(self)

    def load_state(self, state: NetworkState) -> None:
        """Be where it was, before the first step."""
        restore(self, state)

    def save_best(self) -> None:
        """Keep a copy of the weights and buffers."""
        self.best_state = self.state_dict()

    def restore_best(self) -> None:
        """Put the copy back."""
        self.model.load_state_dict(self.best_state)

    def _note_peak(self, allocated: int) -> None:
        data = self.training.data
        data_bytes = sum(
            tensor.nbytes
            for split in (data.train, data.validation)
            for tensor in (split.inputs, split.targets)
            if tensor.is_cuda
        )
        self.peak_memory = max(allocated - data_bytes, self.peak_memory or 0)
