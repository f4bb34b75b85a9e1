"""What an engine is: it trains the members of a session on the batches that the loop gives it.

The loop (`objectives.loop`) decides everything that a result depends on: seeds, order of the rows,
when to validate, when to stop, what is best. An engine only computes: so all engines give the same
result, and a faster one needs no rules of its own.

    session = engine.start(training, members)
    losses = session.advance({0: batches, 1: other_batches})   # member -> mean loss
    outputs = session.predict([0, 1], inputs)                  # member -> outputs
    session.failures                                           # member -> what it raised
    session.save_best([0]); session.restore_best([0]); session.drop([1])

Entry points: `Member`, `TrainingSetup`, the protocols `Engine` and `Session`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..data.batches import BatchSampler, batches
from ..data.dataset import Data
from ..data.input_noise import add_noise, input_scale
from ..data.streams.batch import Batch
from ..data.streams.order import EpochOrder
from ..data.streams.samples import first_rows
from ..data.streams.source import BatchData
from ..model import keyed_dropout
from ..model.objective import Objective
from ..parametrisation.standard import Parametrisation
from ..randomness import Randomness
from ..training.optimizer import make_adamw, schedule_factor
from ..training.settings import ProxySettings
from ..training.snapshot import NetworkState

BatchOrder = Any
"""Batches to train on, in order: row numbers of each (int64, on the CPU) where the data lies in
arrays, an `EpochPart` where it comes in batches. Its length is the number of batches."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One network to train: a candidate with one seed and one learning rate.

    Attributes:
        widths: The candidate.
        seed: Decides initial weights, order of the batches and dropout; 0 to 2**63 - 1.
        learning_rate: AdamW's step size, before the parametrisation's factors.
    """

    widths: Mapping[str, int]
    seed: int
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class TrainingSetup:
    """What the members of a session have in common.

    Attributes:
        objective: Model, loss and metric.
        data: The splits, on the device if they fit; a fold of the objective's, or all of it; or
            sources of batches, which the plain engine alone trains on.
        settings: Batch size, decay, precision.
        device: Where it runs.
        parametrisation: Initial weights and rates by width; None for the model's own and one rate.
    """

    objective: Objective
    data: Data | BatchData
    settings: ProxySettings
    device: torch.device
    parametrisation: Parametrisation | None = None
    _swappable_dropouts: dict[tuple[str, ...], tuple[str, ...]] = field(
        default_factory=dict, repr=False
    )

    def build(self, member: Member) -> tuple[nn.Module, Randomness]:
        """Return a member's network, freshly initialised on the device, and its random streams.

        Raises:
            ModelError: The builder raised or gave no module.
        """
        randomness = Randomness(member.seed, self.device)
        with randomness:
            model = self.objective.build(member.widths)
            if self.parametrisation is not None:
                with torch.no_grad():
                    self.parametrisation.initialise(model, member.widths)
            model = model.to(self.device)
        module_names = tuple(name for name, _ in model.named_modules())
        if module_names not in self._swappable_dropouts:
            with randomness.fork():
                self._swappable_dropouts[module_names] = keyed_dropout.swappable_layers(
                    model, self.sample_batch(2)
                )
        keyed_dropout.install_keyed_dropout(model, self._swappable_dropouts[module_names])
        return model, randomness

    @property
    def arrays(self) -> Data:
        """The data as arrays, which all engines but the plain one need.

        Raises:
            EngineUnsupported: It comes in batches.
        """
        if isinstance(self.data, BatchData):
            raise EngineUnsupported("the data comes in batches, not in arrays")
        return self.data

    def sample_batch(self, rows: int) -> Batch:
        """Return the first training samples, on the device, wherever the data lies."""
        return first_rows(self.data, rows).to(self.device)

    def order(self, seed: int) -> BatchSampler | EpochOrder:
        """Return the order of a training's batches, before the first.

        Args:
            seed: Of the training.
        """
        if isinstance(self.data, BatchData):
            return EpochOrder(self.data.train.steps)
        return BatchSampler(len(self.data.train), self.settings.batch_size, seed)

    def load_batches(self, rows: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs and targets of batches of training rows, on the device."""
        return batches(self.arrays.train, rows, self.device)

    @cached_property
    def noise_scale(self) -> Tensor | None:
        """Standard deviation of the noise on training inputs, on the device; None for none."""
        if self.settings.input_noise == 0:
            return None
        scale = input_scale(self.arrays.train.inputs) * self.settings.input_noise
        return scale.to(self.device)

    def noisy(self, inputs: Tensor, seed: int, step: int) -> Tensor:
        """Return a batch's inputs as a member is trained on them in a step.

        Args:
            inputs: Rows first, on the device.
            seed: The member's.
            step: Update, from 0.
        """
        if self.noise_scale is None:
            return inputs
        return add_noise(inputs, self.noise_scale, seed, step)

    @cached_property
    def total_steps(self) -> int:
        """Updates of a training at most."""
        return self.settings.epochs * self.order(0).steps_per_epoch

    def schedule_factor(self, step: int) -> float:
        """Return what all learning rates are multiplied by in a step, from 0."""
        return schedule_factor(self.settings.schedule, step, self.total_steps)

    def optimizer(self, model: nn.Module, member: Member) -> torch.optim.AdamW:
        """Return a member's optimizer."""
        return make_adamw(
            model,
            member.learning_rate,
            self.settings.weight_decay,
            self.learning_rate_factors(member),
        )

    def learning_rate_factors(self, member: Member) -> Mapping[str, float]:
        """Return parameter name to the factor on its rate."""
        return (
            {}
            if self.parametrisation is None
            else self.parametrisation.learning_rate_factors(member.widths)
        )


class Session(Protocol):
    """Networks in training; members go by their index in the sequence that it was started with.

    What one member does (a loss that is not finite, an exception, memory) never changes another.
    """

    @property
    def failures(self) -> Mapping[int, Exception]:
        """Return the members that failed, with what their model, loss or memory raised."""
        ...

    def advance(
        self, batches: Mapping[int, BatchOrder], mid_epoch: Collection[int] = ()
    ) -> dict[int, float]:
        """Train members on batches of their own.

        Args:
            batches: Member to the batches of the training split that it is trained on.
            mid_epoch: Members in the middle of an epoch, whose mean goes on from the call before:
                an epoch has the same mean, bit for bit, in however many parts it is trained.

        Returns:
            Member to its mean training loss over those rows, NaN or infinite where it is so. A
            member that fails has none: it is in `failures` from now on, and dropped.

        Raises:
            Exception: The session as a whole broke down; it is of no use any more.
        """
        ...

    def predict(self, members: Sequence[int], inputs: Tensor) -> dict[int, Any]:
        """Return members' outputs for all rows, in evaluation mode; none of a member that fails."""
        ...

    def save_best(self, members: Sequence[int]) -> None:
        """Keep a copy of the present weights and buffers, in place of the copy before."""
        ...

    def restore_best(self, members: Sequence[int]) -> None:
        """Put the copies back into place."""
        ...

    def drop(self, members: Sequence[int]) -> None:
        """Free the members' memory, their copies included."""
        ...

    def network_state(self, member: int) -> NetworkState:
        """Return all that a member's next step depends on, for another session to go on from.

        Raises:
            UnserialisableState: Its network has a state that cannot be stored.
        """
        ...

    def load_state(self, states: Mapping[int, NetworkState]) -> dict[int, Exception]:
        """Put members where they were, all of them before the first step.

        Returns:
            Member to why its state does not fit its network; such a member is of no use then.
        """
        ...

    def state_dict(self, member: int) -> dict[str, Any]:
        """Return the present weights and buffers as the network's own `state_dict`, on the CPU."""
        ...

    def parameter_count(self, member: int) -> int:
        """Return the numbers in the network's parameters; 0 if it could not be built."""
        ...

    def peak_memory(self, member: int) -> int | None:
        """Return the bytes that a GPU's allocator held at most for it, where that was measured."""
        ...


class Engine(Protocol):
    """A way to train; engines differ in speed alone."""

    @property
    def name(self) -> str:
        """Return what people call it."""
        ...

    def start(self, training: TrainingSetup, members: Sequence[Member]) -> Session:
        """Return a session of the members; one that cannot be built is among its failures.

        Raises:
            EngineUnsupported: The engine cannot train these networks with the plain engine's
                result.
        """
        ...


class EngineUnsupported(Exception):
    """These networks are not supported by an engine, for the reason given; by plain they are."""


@dataclass
class EpochLoss:
    """The training loss over the rows of the current epoch so far.

    Attributes:
        total: Sum of the rows' losses.
        rows: How many rows.
    """

    total: float = 0.0
    rows: int = 0

    def resume_total(self, mid_epoch: bool) -> float:
        """Return the sum to add to: that of the epoch's rows so far, or zero where one begins."""
        if not mid_epoch:
            self.total, self.rows = 0.0, 0
        return self.total

    def update(self, total: float, new_rows: int) -> float:
        """Take the sum, to which so many rows were added; return the mean."""
        self.total, self.rows = total, self.rows + new_rows
        return self.total / self.rows

    @property
    def state_dict(self) -> Sequence[float]:
        """What a snapshot holds of it."""
        return [self.total, self.rows]
