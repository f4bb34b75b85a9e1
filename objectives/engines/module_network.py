"""A module in training: with its AdamW, its random streams, and all of its state.

The state goes into a snapshot and comes back into a fresh network, so that training goes on bit for
bit: weights, buffers, the optimizer's moments, the random streams, the modules' own attributes.

Entry points: `ModuleNetwork`; `ModuleSession`, the members of a session as such networks.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import Any, Generic, TypeVar, final

import torch
from torch import Tensor, nn

from ..data.streams.batch import Batch, describe_ranges
from ..data.streams.order import EpochReader
from ..data.streams.source import BatchData
from ..data.streams.split_source import shape_change
from ..errors import ModelError, describe_error
from ..model import keyed_dropout
from ..training.evaluate import predict, predict_batch
from ..training.optimizer import adam_moments, load_moments
from ..training.serialize import Serialiser, UnserialisableValue, cpu_copy, deserialise
from ..training.snapshot import (
    NetworkMetadata,
    NetworkState,
    UnserialisableState,
    matching_states,
)
from ..user_code import is_out_of_memory, user_code_location
from .base import BatchOrder, EpochLoss, Member, TrainingSetup
from .module_attributes import ModuleAttributes
from .sequential import Sequential


class ModuleNetwork(ABC):
    """One member's module, optimizer and random streams; a subclass trains it.

    Attributes:
        training: What the members of the session have in common.
        seed: The member's.
        model: The module.
        randomness: Its random streams.
        optimizer: Its AdamW.
        keyed_dropouts: Its layers of dropout whose masks follow from the step.
        attributes: What its modules keep besides parameters and buffers.
        step: Updates so far.
        epoch_loss: The loss over the current epoch's rows so far.
        best_state: The `state_dict` of the best epoch; empty before there is one.
        peak_memory: Most bytes that a GPU's allocator held in a pass of training, less the data
            set that lies there; None where that was not measured.
        reader: Gives its training batches where the data comes in batches; None where it lies in
            arrays.
    """

    def __init__(self, training: TrainingSetup, member: Member) -> None:
        """Build the network; raises what its builder raises."""
        self.training, self.seed = training, member.seed
        self.model, self.randomness = training.build(member)
        self.optimizer = training.optimizer(self.model, member)
        self._initial_rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.keyed_dropouts = keyed_dropout.keyed_layers(self.model)
        self.attributes = ModuleAttributes(self.model)
        self.step = 0
        self.epoch_loss = EpochLoss()
        self.best_state: dict[str, Any] = {}
        self.peak_memory: int | None = None
        self.reader: EpochReader | None = None
        if isinstance(training.data, BatchData):
            self.reader = EpochReader(training.data.train, member.seed, training.device)

    @abstractmethod
    def advance(self, batches: BatchOrder, mid_epoch: bool) -> float:
        """Train on batches; return the mean loss over their rows.

        Args:
            batches: Which ones, in order.
            mid_epoch: Whether the mean is over the earlier rows of the epoch, too.
        """

    def begin_step(self) -> None:
        """Set what follows from the number of the step: learning rates and masks of dropout."""
        keyed_dropout.set_step(self.keyed_dropouts, self.seed, self.step)
        if self.training.settings.schedule == "constant":
            return
        factor = self.training.schedule_factor(self.step)
        for group, rate in zip(self.optimizer.param_groups, self._initial_rates, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor

    @property
    def parameter_count(self) -> int:
        """Return the numbers in the model's parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def predict(self, inputs: Tensor) -> Any:
        """Return the outputs for all rows, in evaluation mode."""
        settings = self.training.settings
        with self.randomness:
            return predict(
                self.model, inputs, settings.eval_batch, settings.autocast, self.training.device
            )

    def predict_batch(self, batch: Batch) -> Any:
        """Return the output for a batch on the device, in evaluation mode."""
        with self.randomness, self.batch_errors(batch):
            return predict_batch(self.model, batch, self.training.settings.autocast)

    @contextmanager
    def batch_errors(self, batch: Batch) -> Iterator[None]:
        """Say what is different about a batch on which the model or the loss raises.

        Args:
            batch: The present one.

        Raises:
            ModelError: It is of other shapes than the first one, or a class or token number of it
                is out of range.
            Exception: It is not, or memory ran out: what was raised, as it is.
        """
        try:
            yield
        except Exception as error:
            data = self.training.data
            if not isinstance(data, BatchData) or is_out_of_memory(error):
                raise
            change = shape_change(data.example, batch)
            # After an IndexError on a GPU (a device-side assertion) nothing can be read any more;
            # torch raises another kind there.
            ranges = describe_ranges(batch) if isinstance(error, IndexError) else ""
            if ranges and not change:
                raise ModelError(
                    f"the model or its loss raised {describe_error(error)}"
                    f"{user_code_location(error)} on a batch with {ranges}: give numbers from 0 to "
                    "below the model's outputs or the embedding's entries, or make these larger."
                ) from error
            if not change:
                raise
            raise ModelError(
                f"the model or its loss raised {describe_error(error)}{user_code_location(error)} "
                f"on a batch of other shapes than the first: {change}; give all samples one shape, "
                "or make the model take others."
            ) from error

    def save_best(self) -> None:
        """Keep a copy of the weights and buffers."""
        self.best_state = self.state_dict()

    def restore_best(self) -> None:
        """Put the copy back."""
        self.model.load_state_dict(self.best_state)

    def state_dict(self) -> dict[str, Any]:
        """Return a copy on the CPU: so the device's peak stays that of a training step."""
        return {
            name: value.detach().to("cpu", copy=True)
            if isinstance(value, Tensor)
            else deepcopy(value)
            for name, value in self.model.state_dict().items()
        }

    def network_state(self) -> NetworkState:
        """Return all that the next step depends on.

        Raises:
            UnserialisableState: Its `state_dict`, or an attribute that changes in training, holds
                what cannot be stored.
        """
        model = self.model
        packer = Serialiser(self.training.device, (*model.parameters(), *model.buffers()))
        states = {"model": model.state_dict(), "best": self.best_state}
        tensors = {
            f"{kind}.{name}": cpu_copy(value)
            for kind, state in states.items()
            for name, value in state.items()
            if isinstance(value, Tensor)
        }
        tensors |= {
            f"buffer.{name}": cpu_copy(buffer)
            for name, buffer in _non_persistent_buffers(model).items()
        }
        metadata: NetworkMetadata = {
            "step": self.step,
            "loss": self.epoch_loss.state_dict,
            "streams": packer.serialise(list(self.randomness.streams), "stream"),
            "attributes": self.attributes.pack(packer),
            "others": {kind: _pack_non_tensors(state, packer) for kind, state in states.items()},
        }
        tensors |= adam_moments(model, self.optimizer)
        return NetworkState(tensors=tensors | packer.tensors, metadata=metadata)

    def load_state(self, state: NetworkState) -> None:
        """Take over a state, before the first step; where this fails the network is of no use.

        Raises:
            IncompatibleSnapshot: It is the state of another network.
        """
        model, device, metadata = self.model, self.training.device, state.metadata
        current = model.state_dict()
        model_tensors, best_tensors = matching_states(state, _tensors_in(current))
        packed = metadata.get("others", {})

        def merged(kind: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
            """Return a `state_dict` in the model's own order, for a user's own way of loading."""
            values = {
                **tensors,
                **{
                    name: deserialise(value, state.tensors, device)
                    for name, value in packed.get(kind, {}).items()
                },
            }
            return {name: values[name] for name in current} if values else {}

        model.load_state_dict(merged("model", model_tensors))
        self.best_state = merged("best", best_tensors)
        _restore_buffers(model, state.tensors_of("buffer"))
        load_moments(model, self.optimizer, state)
        if metadata.get("streams"):
            streams = deserialise(metadata["streams"], state.tensors, torch.device("cpu"))
            self.randomness.load_state(streams)
        self.attributes.load_state(metadata.get("attributes", {}), state.tensors, device)
        self.step = metadata["step"]
        self.epoch_loss = EpochLoss(*metadata["loss"])


ModuleNetworkT = TypeVar("ModuleNetworkT", bound=ModuleNetwork)


@final
class ModuleSession(Sequential[ModuleNetworkT], Generic[ModuleNetworkT]):
    """Members that are modules, trained one after the other; see `Session`."""

    def __init__(
        self,
        training: TrainingSetup,
        members: Sequence[Member],
        network: Callable[[TrainingSetup, Member], ModuleNetworkT],
    ) -> None:
        """Build all members; one that cannot be built has failed.

        Args:
            training: What they have in common.
            members: The networks to train.
            network: Builds a member's network.
        """
        super().__init__(members, partial(network, training))
        # Of several members the allocator's figure would be everybody's.
        self._has_own_peak = len(members) == training.settings.folds == 1

    def peak_memory(self, member: int) -> int | None:
        """Return the bytes that a GPU's allocator held at most for it, where that was measured."""
        network = self._networks.get(member)
        return network.peak_memory if network is not None and self._has_own_peak else None

    def advance(
        self, batches: Mapping[int, BatchOrder], mid_epoch: Collection[int] = ()
    ) -> dict[int, float]:
        """Train members on batches of their own; see `Session`."""
        losses = {}
        for index, network in self._working(batches):
            with self._own_failure(index):
                losses[index] = network.advance(batches[index], index in mid_epoch)
        return losses

    def predict(self, members: Sequence[int], inputs: Tensor) -> dict[int, Any]:
        """Return the members' outputs for all rows; see `Session`."""
        outputs = {}
        for index, network in self._working(members):
            with self._own_failure(index):
                outputs[index] = network.predict(inputs)
        return outputs

    def predict_batch(self, members: Sequence[int], batch: Batch) -> dict[int, Any]:
        """Return members' outputs for a batch on the device; none of a member that fails.

        Args:
            members: Who predicts.
            batch: Of a data set that comes in batches.
        """
        outputs = {}
        for index, network in self._working(members):
            with self._own_failure(index):
                outputs[index] = network.predict_batch(batch)
        return outputs

    def drop(self, members: Sequence[int]) -> None:
        """Free the members' memory, and end what reads their data ahead."""
        for index in members:
            network = self._networks.get(index)
            if network is not None and network.reader is not None:
                network.reader.close()
        super().drop(members)


def _non_persistent_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Return the buffers that the `state_dict` leaves out."""
    persistent = model.state_dict(keep_vars=True)
    return {name: buffer for name, buffer in model.named_buffers() if name not in persistent}


def _restore_buffers(model: nn.Module, buffers: Mapping[str, Tensor]) -> None:
    for name, value in buffers.items():
        parent, _, buffer_name = name.rpartition(".")
        module = model.get_submodule(parent)
        current = module._buffers[buffer_name]
        if current is not None and current.shape == value.shape:
            current.copy_(value)
        else:
            device = next(model.parameters()).device if current is None else current.device
            module._buffers[buffer_name] = value.to(device)


def _tensors_in(state: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _pack_non_tensors(state: Mapping[str, Any], packer: Serialiser) -> dict[str, Any]:
    """Return what a `state_dict` has besides tensors."""
    packed = {}
    for name, value in state.items():
        if not isinstance(value, Tensor):
            try:
                packed[name] = packer.serialise(value, "other")
            except UnserialisableValue as error:
                raise UnserialisableState(f"the state '{name}' cannot be stored: {error}") from None
    return packed
