"""Packing: Python values as JSON and tensors, exact after a round trip, and without pickle.

    packer = Packer(device)
    told = packer.pack(random.getstate(), "stream")     # JSON; tensors are in `packer.tensors`
    random.setstate(unpacked(told, packer.tensors, device))

Packed are None, booleans, numbers, strings, tensors and numpy arrays, and lists, tuples, sets and
dictionaries of them; nothing of a derived class, whose meaning nobody knows here.

Entry points: `Packer`, `unpacked`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

_PLAIN = (type(None), bool, int, float, str)
_SERIES: Mapping[type, str] = {list: "list", tuple: "tuple", set: "set", frozenset: "frozenset"}
_MAKE: Mapping[str, Callable[[Any], Any]] = {name: kind for kind, name in _SERIES.items()}


class Unpackable(Exception):
    """A value of a kind that is not packed."""


@final
class Packer:
    """Packs values into JSON and tensors.

    Attributes:
        tensors: Copies on the CPU, by the names that the JSON has for them.
    """

    def __init__(self, device: torch.device, others: Iterable[Tensor] = ()) -> None:
        """Begin.

        Args:
            device: Where tensors lie that are to follow the training to another device.
            others: Tensors that are kept by other means: what shares their memory is not packed.
        """
        self.tensors: dict[str, Tensor] = {}
        self._device = device
        self._others = {_memory(one) for one in others}

    def alien(self, tensor: Tensor) -> bool:
        """Say whether a tensor shares the memory of one that is kept by other means."""
        return _memory(tensor) in self._others

    def pack(self, value: Any, prefix: str) -> Any:
        """Return a value as JSON has it.

        Args:
            value: Any.
            prefix: Of the names of its tensors.

        Raises:
            Unpackable: It is, or holds, something that is not packed.
        """
        before = len(self.tensors)
        try:
            return self._packed(value, prefix)
        except (Unpackable, RecursionError) as error:
            for name in list(self.tensors)[before:]:
                del self.tensors[name]
            raise Unpackable(str(error)) from None

    def _packed(self, value: Any, prefix: str) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind in _SERIES:
            return [_SERIES[kind], *(self._packed(one, prefix) for one in value)]
        if kind is dict:
            items = ([self._packed(part, prefix) for part in pair] for pair in value.items())
            return ["dict", *items]
        if kind is Tensor:
            if self.alien(value):
                raise Unpackable("a tensor that shares its memory with one kept by other means")
            follows = value.device.type == self._device.type
            return ["tensor", self._keep(value, prefix), follows]
        if (kind is np.ndarray or isinstance(value, np.generic)) and value.dtype.kind in "biufc":
            raw = torch.from_numpy(np.array(bytearray(value.tobytes()), np.uint8))
            name = self._keep(raw, prefix)
            return ["array", name, value.dtype.str, list(value.shape), kind is np.ndarray]
        raise Unpackable(f"a {kind.__name__}")

    def _keep(self, tensor: Tensor, prefix: str) -> str:
        name = f"{prefix}.{len(self.tensors)}"
        self.tensors[name] = on_cpu(tensor)
        return name


def unpacked(told: Any, tensors: Mapping[str, Tensor], device: torch.device) -> Any:
    """Return a value that was packed.

    Args:
        told: As JSON has it.
        tensors: The packer's, and maybe others.
        device: Of the training: where tensors go that lay on the former training's.

    Raises:
        KeyError, TypeError, ValueError: It was not made by a packer.
    """
    if not isinstance(told, list):
        return told
    kind, *rest = told
    if kind == "dict":
        return {
            unpacked(key, tensors, device): unpacked(value, tensors, device) for key, value in rest
        }
    if kind == "tensor":
        name, follows = rest
        return tensors[name].to(device if follows else "cpu", copy=True)
    if kind == "array":
        name, dtype, shape, whole = rest
        array = tensors[name].numpy().copy().view(dtype).reshape(shape)
        return array if whole else array[()]
    return _MAKE[kind](unpacked(one, tensors, device) for one in rest)


def on_cpu(tensor: Tensor) -> Tensor:
    """Return a contiguous copy on the CPU, which shares nothing with the original.

    Raises:
        Unpackable: Its numbers do not lie row by row: it is sparse or quantised, say.
    """
    if not _lies_in_rows(tensor):
        raise Unpackable(f"a tensor of layout {tensor.layout} and type {tensor.dtype}")
    copy = tensor.detach().to("cpu", copy=True)
    return copy.resolve_conj().resolve_neg().contiguous()


def _lies_in_rows(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_quantized


def _memory(tensor: Tensor) -> int:
    """Return what tells a tensor's memory from others."""
    return int(tensor.untyped_storage()._cdata) if _lies_in_rows(tensor) else id(tensor)
