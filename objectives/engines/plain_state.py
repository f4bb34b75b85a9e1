"""The progress of a module and its AdamW: taken down, and put back into a fresh one.

Entry points: `taken_down`, `put_back`.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..randomness import Randomness
from ..training.optimizer import moments, set_moments
from ..training.serialize import Packer, Unpackable, on_cpu, unpacked
from ..training.snapshot import Progress, Unkeepable, require_alike
from .base import EpochLoss, Training
from .module_attributes import Attributes


class Network(Protocol):
    """What is asked of a network; see `plain.Network`."""

    training: Training
    model: nn.Module
    optimizer: torch.optim.AdamW
    randomness: Randomness
    attributes: Attributes
    step: int
    loss: EpochLoss
    best: dict[str, Any]


def taken_down(network: Network) -> Progress:
    """Return a network's progress.

    Raises:
        Unkeepable: Its `state_dict`, or an attribute that changes, holds what cannot be stored.
    """
    model = network.model
    packer = Packer(network.training.device, (*model.parameters(), *model.buffers()))
    states = {"model": model.state_dict(), "best": network.best}
    tensors = {
        f"{kind}.{name}": on_cpu(value)
        for kind, state in states.items()
        for name, value in state.items()
        if isinstance(value, Tensor)
    }
    tensors |= {f"buffer.{name}": on_cpu(one) for name, one in _unstated(model).items()}
    facts = {
        "step": network.step,
        "loss": network.loss.facts,
        "streams": packer.pack(list(network.randomness.streams), "stream"),
        "attributes": network.attributes.packed(packer),
        "others": {kind: _others(state, packer) for kind, state in states.items()},
    }
    tensors |= moments(model, network.optimizer)
    return Progress(tensors=tensors | packer.tensors, facts=facts)


def put_back(network: Network, progress: Progress) -> None:
    """Have a fresh network go on from there; one where this fails is of no use any more.

    Raises:
        Unfit: It is of another network.
    """
    model, device, facts = network.model, network.training.device, progress.facts

    def whole(kind: str) -> dict[str, Any]:
        told = facts.get("others", {}).get(kind, {})
        found = {name: unpacked(one, progress.tensors, device) for name, one in told.items()}
        return {**progress.of(kind), **found}

    state, best = whole("model"), whole("best")
    own = _tensors(model.state_dict())
    require_alike(_tensors(state), own, "the state")
    if best:
        require_alike(_tensors(best), own, "the best state")
    # In the model's own order: so a user's own way of loading finds what it wrote.
    model.load_state_dict({name: state[name] for name in model.state_dict()})
    network.best = {name: best[name] for name in model.state_dict()} if best else {}
    _put_unstated(model, progress.of("buffer"))
    set_moments(model, network.optimizer, progress)
    if facts.get("streams"):
        streams = unpacked(facts["streams"], progress.tensors, torch.device("cpu"))
        network.randomness.go_on_from(streams)
    network.attributes.go_on_from(facts.get("attributes", {}), progress.tensors, device)
    network.step = facts["step"]
    network.loss = EpochLoss(*facts["loss"])


def _unstated(model: nn.Module) -> dict[str, Tensor]:
    """Return the buffers that the `state_dict` leaves out."""
    stated = model.state_dict(keep_vars=True)
    return {name: one for name, one in model.named_buffers() if name not in stated}


def _put_unstated(model: nn.Module, buffers: Mapping[str, Tensor]) -> None:
    for name, value in buffers.items():
        parent, _, own = name.rpartition(".")
        module = model.get_submodule(parent)
        old = module._buffers[own]
        if old is not None and old.shape == value.shape:
            old.copy_(value)
        else:
            device = next(model.parameters()).device if old is None else old.device
            module._buffers[own] = value.to(device)


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _others(state: Mapping[str, Any], packer: Packer) -> dict[str, Any]:
    """Return what a `state_dict` has besides tensors."""
    found = {}
    for name, value in state.items():
        if not isinstance(value, Tensor):
            try:
                found[name] = packer.pack(value, "other")
            except Unpackable as error:
                raise Unkeepable(f"the state '{name}' cannot be stored: {error}") from None
    return found
