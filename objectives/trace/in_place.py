"""What torch computes in place for real, and out of place as soon as a dispatch mode is active.

A mode may replace any result, so under one torch does not overwrite tensors of its own making:

- the autograd engine adds up the gradients of a tensor with several consumers: into the first of
  them where nobody else owns it (`InputBuffer::accumulate`, torch/csrc/autograd/input_buffer.cpp),
  into a new tensor under a mode;
- `linear` adds its bias, and attention its mask, to a matrix product in place (Linear.cpp and
  transformers/attention.cpp in aten/src/ATen/native), into a new tensor under a mode;
- derivatives that scatter a gradient into zeros overwrite these zeros (torch/csrc/autograd/
  FunctionsManual.cpp), or copy them under a mode.

A trace runs under modes and must count what happens without. So such an operator is recognised by
who calls it and who owns its first argument, and its result then stays in that argument's storage.

Owners are counted by torch's own references. How many of them belong to the call itself is learned
once, from a graph whose gradients are known to have one owner each.

Entry point: `InPlaceRules`.
"""

from collections.abc import Sequence
from functools import cache
from types import FrameType
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch._prims_common import is_non_overlapping_and_dense_or_false
from torch.autograd import graph
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

aten = torch.ops.aten

_PRODUCTS = {aten.mm.default, aten.bmm.default, aten.mv.default}

_ZEROS = {aten.zeros.default, aten.zeros_like.default, aten.new_zeros.default}

_SCATTERS = {
    aten.index_add.default,
    aten.index_put.default,
    aten.index_fill.int_Scalar,
    aten.masked_scatter.default,
    aten.put.default,
    aten.scatter.src,
    aten.scatter.value,
    aten.scatter_add.default,
}
"""Operators that derivatives use in place, on zeros that they have just made."""

_ENGINE = graph._engine_run_backward.__code__
"""The function below which the engine runs: it calls the operators of the engine's own."""


class _Owners(NamedTuple):
    """How many references there are to a tensor and to its storage."""

    tensor: int
    storage: int


class _Fresh(NamedTuple):
    """A tensor that the last product or the last zeros made, and the call that made it."""

    storage: int
    caller: tuple[int, int, object]


@final
class InPlaceRules:
    """Tells of each operator of a step whether its result overwrites its first argument.

    rules = InPlaceRules()
    result = rules.overwritten(func, args, sys._getframe(1))
    if result is None:
        result = func(*args)
        rules.note_result(func, result, sys._getframe(1))
    """

    def __init__(self) -> None:
        self._sole_owner = _sole_owner()
        self._device_asked: int | None = None
        self._product: _Fresh | None = None
        self._zeros: _Fresh | None = None

    def note_device_query(self, tensor: Tensor) -> None:
        """Note whose device was asked for, directly before the operator that comes next."""
        self._device_asked = id(tensor)

    def note_result(self, func: Any, result: Any, caller: FrameType) -> None:
        """Note the tensors that a later operator of the same call may overwrite."""
        self._device_asked = None
        if func in _PRODUCTS:
            self._product = _Fresh(_storage_id(result), _call_site(caller))
        elif func in _ZEROS:
            self._zeros = _Fresh(_storage_id(result), _call_site(caller))

    def overwritten(self, func: Any, args: Sequence[Any], caller: FrameType) -> Tensor | None:
        """Return the argument in whose storage the result stays, None where it gets a new one.

        Args:
            func: The operator overload.
            args: Its positional arguments.
            caller: The Python frame that called into torch.
        """
        if func is aten.add.Tensor:
            if len(args) != 2 or not all(isinstance(value, Tensor) for value in args):
                return None
            adds_gradients = self._is_accumulation(args[0], args[1], caller)
            if (adds_gradients or self._made_by_call(self._product, args[0], caller)) and (
                _owners(args[0]) == self._sole_owner
            ):
                overwritten: Tensor = args[0]
                return overwritten
        elif func in _SCATTERS and caller.f_code is _ENGINE:
            zeros: Tensor = args[0]
            return zeros if self._made_by_call(self._zeros, zeros, caller) else None
        return None

    def _made_by_call(self, made: _Fresh | None, tensor: Tensor, caller: FrameType) -> bool:
        """Return whether a tensor was made by the very call that the operator belongs to."""
        return made == _Fresh(_storage_id(tensor), _call_site(caller))

    def _is_accumulation(self, first: Tensor, second: Tensor, caller: FrameType) -> bool:
        """Return whether the engine adds two gradients of one tensor, and may overwrite the first.

        Derivatives add tensors too; but only the engine asks for a gradient's device before.
        """
        return (
            caller.f_code is _ENGINE
            and self._device_asked == id(second)
            and not torch.is_grad_enabled()
            and first.layout == second.layout == torch.strided
            and is_non_overlapping_and_dense_or_false(first)
        )


def _call_site(frame: FrameType) -> tuple[int, int, object]:
    """Return what two operators that one call from Python runs have in common."""
    return id(frame), frame.f_lasti, id(torch._C._current_autograd_node())


def _storage_id(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _owners(tensor: Tensor) -> _Owners:
    storage = tensor.untyped_storage()
    references: int = tensor._use_count()  # type: ignore[attr-defined]
    return _Owners(references, torch._C._storage_Use_Count(storage._cdata))


@cache
def _sole_owner() -> _Owners:
    """Return the references to a tensor that only the operator's caller owns."""
    probe = _OwnersOfASum()  # type: ignore[no-untyped-call]
    with _disable_current_modes(), torch.enable_grad(), probe:
        value = torch.zeros(2, requires_grad=True)
        # Each product's derivative makes a gradient of its own, that nobody else owns.
        (value * 2 + value * 3).sum().backward()  # type: ignore[no-untyped-call]
    assert probe.owners is not None, "the gradients of two consumers are added"
    return probe.owners


@final
class _OwnersOfASum(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the owners of what a backward pass adds to."""

    owners: _Owners | None = None

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is aten.add.Tensor and not torch.is_grad_enabled():
            self.owners = _owners(args[0])
        return func(*args, **(kwargs or {}))
