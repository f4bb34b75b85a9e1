"""The progress of a module and its AdamW: taken down, and put back into a fresh one.

Entry points: `capture`, `restore`.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..randomness import Randomness
from ..training.optimizer import adam_moments, load_moments
from ..training.serialize import Serialiser, UnserialisableValue, cpu_copy, deserialise
from ..training.snapshot import NetworkMetadata, NetworkState, UnserialisableState, require_matching
from .base import EpochLoss, TrainingSetup
from .module_attributes import ModuleAttributes


class StatefulNetwork(Protocol):
    """What is asked of a network; see `plain.PlainNetwork`."""

    training: TrainingSetup
    model: nn.Module
    optimizer: torch.optim.AdamW
    randomness: Randomness
    attributes: ModuleAttributes
    step: int
    epoch_loss: EpochLoss
    best_state: dict[str, Any]


def capture(network: StatefulNetwork) -> NetworkState:
    """Return a network's progress.

    Raises:
        UnserialisableState: Its `state_dict`, or an attribute that changes, holds what cannot be stored.
    """
    model = network.model
    packer = Serialiser(network.training.device, (*model.parameters(), *model.buffers()))
    states = {"model": model.state_dict(), "best": network.best_state}
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
        "step": network.step,
        "loss": network.epoch_loss.state_dict,
        "streams": packer.serialise(list(network.randomness.streams), "stream"),
        "attributes": network.attributes.pack(packer),
        "others": {kind: _pack_non_tensors(state, packer) for kind, state in states.items()},
    }
    tensors |= adam_moments(model, network.optimizer)
    return NetworkState(tensors=tensors | packer.tensors, metadata=metadata)


def restore(network: StatefulNetwork, state: NetworkState) -> None:
    """Have a fresh network go on from there; one where this fails is of no use any more.

    Raises:
        IncompatibleSnapshot: It is of another network.
    """
    model, device, metadata = network.model, network.training.device, state.metadata

    def merged_state(kind: str) -> dict[str, Any]:
        packed = metadata.get("others", {}).get(kind, {})
        others = {
            name: deserialise(packed_value, state.tensors, device)
            for name, packed_value in packed.items()
        }
        return {**state.tensors_of(kind), **others}

    model_state, best_state = merged_state("model"), merged_state("best")
    expected = _tensors_in(model.state_dict())
    require_matching(_tensors_in(model_state), expected, "the state")
    if best_state:
        require_matching(_tensors_in(best_state), expected, "the best state")
    # In the model's own order: so a user's own way of loading finds what it wrote.
    model.load_state_dict({name: model_state[name] for name in model.state_dict()})
    network.best_state = (
        {name: best_state[name] for name in model.state_dict()} if best_state else {}
    )
    _restore_buffers(model, state.tensors_of("buffer"))
    load_moments(model, network.optimizer, state)
    if metadata.get("streams"):
        streams = deserialise(metadata["streams"], state.tensors, torch.device("cpu"))
        network.randomness.load_state(streams)
    network.attributes.load_state(metadata.get("attributes", {}), state.tensors, device)
    network.step = metadata["step"]
    network.epoch_loss = EpochLoss(*metadata["loss"])


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
