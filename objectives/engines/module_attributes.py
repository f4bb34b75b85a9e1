"""Attributes of modules: what a network keeps besides parameters and buffers.

A count of its calls, a temperature that cools down, a tensor or a random generator of its own: the
next step depends on them as well, and no `state_dict` has them. Values that can be serialised go
into a snapshot. Others (functions, configurations) must be the objects that the network was built
with; where one was exchanged, no snapshot can be taken.

Entry point: `ModuleAttributes`.
"""

import random
from collections.abc import Iterator, Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from ..bitwise import bitwise_equal
from ..training.serialize import Serialiser, UnserialisableValue, deserialise
from ..training.snapshot import IncompatibleSnapshot, UnserialisableState

_TORCH_ATTRIBUTES = frozenset(vars(nn.Module()))
_PREFIX = "attribute"


@final
class ModuleAttributes:
    """The attributes of one network's modules."""

    def __init__(self, model: nn.Module) -> None:
        """Take note of the attributes as they are built."""
        self._model = model
        self._initial = {
            path: value
            for path, _, _, value in self._items()
            if not isinstance(value, bool | int | float | str | None)
        }

    def pack(self, packer: Serialiser) -> dict[str, Any]:
        """Return the attributes as JSON has them, by the names of modules and attributes.

        Raises:
            UnserialisableState: One that cannot be serialised is another object than at first.
        """
        packed = {}
        for path, _, _, value in self._items():
            if isinstance(value, Tensor) and packer.shares_excluded_storage(value):
                continue
            try:
                packed[path] = _pack_value(value, packer)
            except UnserialisableValue:
                if self._initial.get(path) is not value:
                    raise UnserialisableState(
                        f"the module's attribute '{path}' changes in training, and is "
                        f"a {type(value).__name__}, which cannot be stored"
                    ) from None
        return packed

    def load_state(
        self, packed: Mapping[str, Any], tensors: Mapping[str, Tensor], device: torch.device
    ) -> None:
        """Give the attributes their stored values.

        Args:
            packed: What `pack` returned; an attribute that is not in it stays as it is.
            tensors: The tensors of the snapshot.
            device: Where the network is trained.

        Raises:
            IncompatibleSnapshot: The values are of other modules.
        """
        modules = dict(self._model.named_modules())
        for path, value in packed.items():
            name, _, attribute = path.rpartition(".")
            if name not in modules:
                raise IncompatibleSnapshot(
                    f"the model has no module '{name}' for its attribute '{attribute}'"
                )
            _restore_value(modules[name], attribute, value, tensors, device)

    def _items(self) -> Iterator[tuple[str, nn.Module, str, Any]]:
        for name, module in self._model.named_modules():
            for attribute, value in vars(module).items():
                if attribute not in _TORCH_ATTRIBUTES:
                    yield f"{name}.{attribute}", module, attribute, value


def _pack_value(value: Any, packer: Serialiser) -> Any:
    state = _generator_state(value)
    if state is not None:
        return ["generator", packer.serialise(state, _PREFIX)]
    return packer.serialise(value, _PREFIX)


def _restore_value(
    module: nn.Module,
    attribute: str,
    packed: Any,
    tensors: Mapping[str, Tensor],
    device: torch.device,
) -> None:
    """Set an attribute; a tensor is written to in place, since other objects may share it."""
    current = vars(module).get(attribute)
    if isinstance(packed, list) and packed[0] == "generator":
        _set_generator_state(current, deserialise(packed[1], tensors, torch.device("cpu")))
        return
    restored = deserialise(packed, tensors, device)
    if (
        isinstance(current, Tensor)
        and isinstance(restored, Tensor)
        and _same_layout(current, restored)
    ):
        current.detach().copy_(restored)
    elif not _equal(current, restored):
        vars(module)[attribute] = restored


def _generator_state(value: Any) -> Any:
    """Return the state of a random generator; None of anything else."""
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, np.random.RandomState):
        return value.get_state()
    if isinstance(value, torch.Generator):
        return value.get_state()
    return None


def _set_generator_state(generator: Any, state: Any) -> None:
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState | torch.Generator):
        generator.set_state(state)
    else:
        raise IncompatibleSnapshot(
            f"a random generator is stored, the model has a {type(generator).__name__}"
        )


def _equal(left: Any, right: Any) -> bool:
    """Return whether two serialisable values are equal, type by type and bit by bit."""
    if type(left) is not type(right):
        return False
    if isinstance(left, Tensor):
        return _same_layout(left, right) and bitwise_equal(left, right)
    if isinstance(left, np.ndarray | np.generic):
        return _same_layout(left, right) and left.tobytes() == right.tobytes()
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(_equal(left[key], right[key]) for key in left)
    return bool(left == right)


def _same_layout(left: Any, right: Any) -> bool:
    """Return whether two tensors, or arrays, are of one type, shape and device."""
    return bool(
        left.dtype == right.dtype
        and left.shape == right.shape
        and getattr(left, "device", None) == getattr(right, "device", None)
    )
