"""Attributes of modules: what a network keeps besides parameters and buffers.

A count of its calls, a temperature that cools down, a tensor or a random generator of its own: the
next step depends on them as well, and no `state_dict` has them. What can be packed goes into a
snapshot. Of what cannot (functions, configurations), it is enough that it is what it was when the
network was built; where another object has taken its place, there is no snapshot.

Entry point: `Attributes`.
"""

import random
from collections.abc import Iterator, Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from ..training.serialize import Packer, Unpackable, on_cpu, unpacked
from ..training.snapshot import Unfit, Unkeepable

_OF_TORCH = frozenset(vars(nn.Module()))
_KIND = "attribute"


@final
class Attributes:
    """The attributes of one network's modules."""

    def __init__(self, model: nn.Module) -> None:
        """Note them as built."""
        self._model = model
        self._built = {
            path: value
            for path, _, _, value in self._all()
            if not isinstance(value, bool | int | float | str | None)
        }

    def packed(self, packer: Packer) -> dict[str, Any]:
        """Return them as JSON has them, by the names of modules and attributes.

        Raises:
            Unkeepable: One that cannot be packed is not what the network was built with.
        """
        found = {}
        for path, _, _, value in self._all():
            if isinstance(value, Tensor) and packer.alien(value):
                continue
            try:
                found[path] = _packed(value, packer)
            except Unpackable:
                if self._built.get(path) is not value:
                    raise Unkeepable(
                        f"the module's attribute '{path}' changes in training, and is "
                        f"a {type(value).__name__}, which cannot be stored"
                    ) from None
        return found

    def go_on_from(
        self, told: Mapping[str, Any], tensors: Mapping[str, Tensor], device: torch.device
    ) -> None:
        """Give them the values that they had.

        Args:
            told: As packed; an attribute that it does not name stays.
            tensors: Those packed.
            device: Of the training.

        Raises:
            Unfit: They are those of other modules.
        """
        modules = dict(self._model.named_modules())
        for path, value in told.items():
            name, _, attribute = path.rpartition(".")
            if name not in modules:
                raise Unfit(f"the model has no module '{name}' for its attribute '{attribute}'")
            _put(modules[name], attribute, value, tensors, device)

    def _all(self) -> Iterator[tuple[str, nn.Module, str, Any]]:
        for name, module in self._model.named_modules():
            for attribute, value in vars(module).items():
                if attribute not in _OF_TORCH:
                    yield f"{name}.{attribute}", module, attribute, value


def _packed(value: Any, packer: Packer) -> Any:
    state = _state(value)
    if state is not None:
        return ["generator", packer.pack(state, _KIND)]
    return packer.pack(value, _KIND)


def _put(
    module: nn.Module,
    attribute: str,
    told: Any,
    tensors: Mapping[str, Tensor],
    device: torch.device,
) -> None:
    """Put a value back; a tensor stays the object that it is: others may have it, too."""
    old = vars(module).get(attribute)
    if isinstance(told, list) and told[0] == "generator":
        _set_state(old, unpacked(told[1], tensors, torch.device("cpu")))
        return
    new = unpacked(told, tensors, device)
    if isinstance(old, Tensor) and isinstance(new, Tensor) and _alike(old, new):
        old.detach().copy_(new)
    elif not _same(old, new):
        vars(module)[attribute] = new


def _state(value: Any) -> Any:
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


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState | torch.Generator):
        generator.set_state(state)
    else:
        raise Unfit(f"a random generator is stored, the model has a {type(generator).__name__}")


def _same(one: Any, other: Any) -> bool:
    """Whether two values of packed kinds are equal, type by type and bit by bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return _alike(one, other) and _bits(one) == _bits(other)
    if isinstance(one, np.ndarray | np.generic):
        return _alike(one, other) and one.tobytes() == other.tobytes()
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)


def _alike(one: Any, other: Any) -> bool:
    """Whether two tensors, or arrays, are of one type, shape and device."""
    return bool(
        one.dtype == other.dtype
        and one.shape == other.shape
        and getattr(one, "device", None) == getattr(other, "device", None)
    )


def _bits(tensor: Tensor) -> list[int]:
    return on_cpu(tensor).reshape(-1).view(torch.uint8).tolist()
