"""Python values as JSON and tensors: exact after a round trip, and without pickle.

    serialiser = Serialiser(device)
    stored = serialiser.serialise(random.getstate(), "stream")      # JSON
    random.setstate(deserialise(stored, serialiser.tensors, device))

None, booleans, numbers, strings, tensors and numpy arrays can be serialised, and lists, tuples,
sets and dictionaries of them; no instance of a derived class, whose meaning is not known here.

Entry points: `Serialiser`, `deserialise`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from ..bitwise import has_bits

_SCALAR_TYPES = (type(None), bool, int, float, str)
_SEQUENCE_TAGS: Mapping[type, str] = {
    list: "list",
    tuple: "tuple",
    set: "set",
    frozenset: "frozenset",
}
_SEQUENCE_TYPES: Mapping[str, Callable[[Any], Any]] = {
    name: kind for kind, name in _SEQUENCE_TAGS.items()
}


class UnserialisableValue(Exception):
    """A value of a kind that cannot be serialised."""


@final
class Serialiser:
    """A converter of values into JSON and tensors.

    Attributes:
        tensors: Copies on the CPU, by the names that the JSON has for them.
    """

    def __init__(self, device: torch.device, excluded: Iterable[Tensor] = ()) -> None:
        """Start without tensors.

        Args:
            device: Of the training; tensors on it follow the training to another device.
            excluded: Tensors that are stored elsewhere: what shares their memory is refused.
        """
        self.tensors: dict[str, Tensor] = {}
        self._device = device
        self._excluded_storages = {_storage_key(tensor) for tensor in excluded}

    def shares_excluded_storage(self, tensor: Tensor) -> bool:
        """Return whether a tensor shares the memory of an excluded one."""
        return _storage_key(tensor) in self._excluded_storages

    def serialise(self, value: Any, prefix: str) -> Any:
        """Return a value as JSON has it.

        Args:
            value: Any.
            prefix: Of the names of its tensors.

        Raises:
            UnserialisableValue: It is, or holds, something that cannot be serialised.
        """
        count_before = len(self.tensors)
        try:
            return self._serialised(value, prefix)
        except (UnserialisableValue, RecursionError) as error:
            for name in list(self.tensors)[count_before:]:
                del self.tensors[name]
            raise UnserialisableValue(str(error)) from None

    def _serialised(self, value: Any, prefix: str) -> Any:
        kind = type(value)
        if kind in _SCALAR_TYPES:
            return value
        if kind in _SEQUENCE_TAGS:
            return [_SEQUENCE_TAGS[kind], *(self._serialised(item, prefix) for item in value)]
        if kind is dict:
            items = ([self._serialised(item, prefix) for item in pair] for pair in value.items())
            return ["dict", *items]
        if kind is Tensor:
            if self.shares_excluded_storage(value):
                raise UnserialisableValue(
                    "a tensor that shares its memory with one kept by other means"
                )
            on_training_device = value.device.type == self._device.type
            return ["tensor", self._store_tensor(value, prefix), on_training_device]
        if (kind is np.ndarray or isinstance(value, np.generic)) and value.dtype.kind in "biufc":
            raw = torch.from_numpy(np.array(bytearray(value.tobytes()), np.uint8))
            name = self._store_tensor(raw, prefix)
            return ["array", name, value.dtype.str, list(value.shape), kind is np.ndarray]
        raise UnserialisableValue(f"a {kind.__name__}")

    def _store_tensor(self, tensor: Tensor, prefix: str) -> str:
        name = f"{prefix}.{len(self.tensors)}"
        self.tensors[name] = cpu_copy(tensor)
        return name


def deserialise(serialised: Any, tensors: Mapping[str, Tensor], device: torch.device) -> Any:
    """Return a value that was serialised.

    Args:
        serialised: As JSON has it.
        tensors: The serialiser's, and maybe others.
        device: Of the training: where tensors go that were on the former training's device.

    Raises:
        KeyError, TypeError, ValueError: It was not made by a `Serialiser`.
    """
    if not isinstance(serialised, list):
        return serialised
    kind, *contents = serialised
    if kind == "dict":
        return {
            deserialise(key, tensors, device): deserialise(value, tensors, device)
            for key, value in contents
        }
    if kind == "tensor":
        name, on_training_device = contents
        return tensors[name].to(device if on_training_device else "cpu", copy=True)
    if kind == "array":
        name, dtype, shape, is_array = contents
        array = tensors[name].numpy().copy().view(dtype).reshape(shape)
        return array if is_array else array[()]
    return _SEQUENCE_TYPES[kind](deserialise(item, tensors, device) for item in contents)


def cpu_copy(tensor: Tensor) -> Tensor:
    """Return a contiguous copy on the CPU, which shares nothing with the original.

    Raises:
        UnserialisableValue: Its layout is not strided: it is sparse or quantised, say.
    """
    if not has_bits(tensor):
        raise UnserialisableValue(f"a tensor of layout {tensor.layout} and type {tensor.dtype}")
    copy = tensor.detach().to("cpu", copy=True)
    return copy.resolve_conj().resolve_neg().contiguous()


def _storage_key(tensor: Tensor) -> int:
    """Return what identifies the memory of a tensor."""
    return int(tensor.untyped_storage()._cdata) if has_bits(tensor) else id(tensor)
