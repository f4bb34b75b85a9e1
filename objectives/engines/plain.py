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
from ..training.snapshot import Progress
from ..training.step import training_step
from .base import EpochLoss, Member, Training
from .module_attributes import Attributes
from .plain_state import put_back, taken_down
from .sequential import Turns


@final
class PlainEngine:
    """Trains each member by itself, by torch's own operators and autograd."""

    name = "plain"

    def start(self, training: Training, members: Sequence[Member]) -> "PlainTeam":
        """Build all members; it serves every one that can be built."""
        return PlainTeam(training, members)


@final
class PlainTeam(Turns["Network"]):
    """Members that take turns; see `Team`."""

    def __init__(self, training: Training, members: Sequence[Member]) -> None:
        self._training = training
        super().__init__(members, partial(Network, training))

    def advance(
        self, batches: Mapping[int, Sequence[Tensor]], midway: Collection[int] = ()
    ) -> dict[int, float | Exception]:
        """Train members on batches of their own; see `Team`."""
        return {
            place: self.each(place, methodcaller("advance", mine, place in midway))
            for place, mine in batches.items()
        }

    def predict(self, members: Sequence[int], inputs: Tensor) -> dict[int, Any]:
        """Return each member's outputs for all rows; see `Team`."""
        return {place: self.each(place, methodcaller("predict", inputs)) for place in members}

    def peak_memory(self, member: int) -> int | None:
        """Return the bytes that the GPU's allocator held at most in a pass of training."""
        network = self._networks.get(member)
        # Else the allocator's figure is everybody's.
        alone = len(self._parameters) == self._training.settings.folds == 1
        return network.peak_memory if network is not None and alone else None


class Network:
    """One member's model, optimizer and random streams."""

    def __init__(self, training: Training, member: Member) -> None:
        self.training, self.seed = training, member.seed
        self.model, self.randomness = training.build(member)
        self.optimizer = training.optimizer(self.model, member)
        self.keyed = keyed_dropout.layers(self.model)
        self.attributes = Attributes(self.model)
        self.step = 0
        self.loss = EpochLoss()
        self.best: dict[str, Any] = {}
        self.peak_memory: int | None = None

    @property
    def parameters(self) -> int:
        """Return the numbers in the model's parameters."""
        return sum(one.numel() for one in self.model.parameters())

    def advance(self, batches: Sequence[Tensor], midway: bool = False) -> float:
        """Train on batches; returns the mean loss over their rows, and those before if midway."""
        training, device = self.training, self.training.device
        on_gpu = device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        self.model.train()
        total = torch.tensor(self.loss.so_far(midway), dtype=torch.float64, device=device)
        with self.randomness:
            for inputs, targets in training.feed(batches):
                keyed_dropout.set_step(self.keyed, self.seed, self.step)
                total += self.learn(inputs, targets) * len(inputs)
                self.step += 1
        if on_gpu:
            self._note_peak(torch.cuda.max_memory_allocated(device))
        return self.loss.now(float(total), sum(map(len, batches)))

    def learn(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Do one update and return the loss: the very step whose memory is predicted."""
        settings = self.training.settings
        return training_step(
            self.model,
            self.optimizer,
            self.training.objective.loss,
            (inputs,),
            targets,
            settings.autocast,
            settings.parts(len(inputs)),
        )

    def predict(self, inputs: Tensor) -> Any:
        """Return the outputs for all rows."""
        settings = self.training.settings
        with self.randomness:
            return predict(
                self.model, inputs, settings.eval_batch, settings.autocast, self.training.device
            )

    def state(self) -> dict[str, Any]:
        """A copy on the CPU: the device's peak stays that of a training step."""
        return {
            name: value.detach().to("cpu", copy=True)
            if isinstance(value, Tensor)
            else deepcopy(value)
            for name, value in self.model.state_dict().items()
        }

    def progress(self) -> Progress:
        """Return all that the next step depends on; raises `Unkeepable`."""
        return taken_down(self)

    def go_on_from(self, progress: Progress) -> None:
        """Be where it was, before the first step."""
        put_back(self, progress)

    def remember(self) -> None:
        """Keep a copy of the weights and buffers."""
        self.best = self.state()

    def recall(self) -> None:
        """Put the copy back."""
        self.model.load_state_dict(self.best)

    def _note_peak(self, allocated: int) -> None:
        data = self.training.data
        held = sum(
            part.nbytes
            for split in (data.train, data.validation)
            for part in (split.inputs, split.targets)
            if part.is_cuda
        )
        self.peak_memory = max(allocated - held, self.peak_memory or 0)
