"""Whole numbers of a model's Python code that remember how they came about.

`RememberedInt` is an int in every respect: a key, a limit of `range`, an argument of `math.sqrt`.
Its sums, products, differences and quotients remember too, and where two are found equal, that is
noted. While `SizesRemembered` is active, sizes that a model reads from a tensor are such numbers,
and where it hands them to torch, torch gets `torch.SymInt`s.

Entry points: `RememberedInt`, `SizesRemembered`, `sym_int`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .record import Record
from .symbolic_size import SizeNode


@final
class RememberedInt(int):
    """An int with the node that says how it came about.

    Attributes:
        node: Its polynomial, and the record that comparisons are noted in.
    """

    node: SizeNode

    def __new__(cls, node: SizeNode) -> RememberedInt:
        """Return the int of a node's value today."""
        number = super().__new__(cls, node.hint)
        number.node = node
        return number

    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        equal = int.__eq__(self, other) if isinstance(other, int) else int(self) == other
        if equal is True and isinstance(other, int):
            self.node.eq(self.node.wrap_int(other)).guard_bool()
        return equal

    def __ne__(self, other: object) -> bool:
        return not self == other

    def _combined(self, method: str, name: str, other: Any) -> Any:
        """Return what an operation of the node gives; of what is no size, what an int gives.

        Args:
            method: Of `int`; reflected where it begins with `__r`.
            name: Of the node's operation.
            other: The other operand.
        """
        if not isinstance(other, int) or isinstance(other, bool):
            return getattr(int, method)(self, other)
        pair = (self.node, self.node.wrap_int(other))
        first, second = reversed(pair) if method.startswith("__r") else pair
        return _kept(getattr(first, name)(second))

    def __add__(self, other: Any) -> Any:
        return self._combined("__add__", "add", other)

    def __radd__(self, other: Any) -> Any:
        return self._combined("__radd__", "add", other)

    def __sub__(self, other: Any) -> Any:
        return self._combined("__sub__", "sub", other)

    def __rsub__(self, other: Any) -> Any:
        return self._combined("__rsub__", "sub", other)

    def __mul__(self, other: Any) -> Any:
        return self._combined("__mul__", "mul", other)

    def __rmul__(self, other: Any) -> Any:
        return self._combined("__rmul__", "mul", other)

    def __floordiv__(self, other: Any) -> Any:
        return self._combined("__floordiv__", "int_floordiv", other)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._combined("__rfloordiv__", "int_floordiv", other)

    def __mod__(self, other: Any) -> Any:
        return self._combined("__mod__", "mod", other)

    def __rmod__(self, other: Any) -> Any:
        return self._combined("__rmod__", "mod", other)

    def __divmod__(self, other: Any) -> tuple[Any, Any]:
        return self // other, self % other

    def __neg__(self) -> int:
        return _kept(self.node.neg())

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        """Return what copies and pickles it: as an ordinary int."""
        return (int, (int(self),))

    def __deepcopy__(self, _memo: dict[int, Any]) -> RememberedInt:
        return self

    def __copy__(self) -> RememberedInt:
        return self


def sym_int(node: SizeNode) -> Any:
    """Return a node as a size that torch takes."""
    return torch.SymInt(node)  # type: ignore[no-untyped-call]


def _kept(node: SizeNode) -> int:
    """Return a node as a remembered int; as an ordinary one where it is constant."""
    constant = node.maybe_as_int()
    return RememberedInt(node) if constant is None else constant


@final
class SizesRemembered(TorchFunctionMode):
    """Let a model's Python code see `RememberedInt`s where torch has symbolic sizes."""

    def __init__(self, record: Record, rules: Mapping[Any, Callable[..., Any]]) -> None:
        """Take the record of the sizes, and rules that stand for functions of torch's."""
        super().__init__()
        self._record = record
        self._rules = rules

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of torch's with symbolic sizes; return remembered ones."""
        del types
        plain_args = self._to_torch(args)
        plain_kwargs = {name: self._to_torch(value) for name, value in (kwargs or {}).items()}
        rule = self._rules.get(func)
        call = func if rule is None else rule
        return _to_python(call(*plain_args, **plain_kwargs))

    def _to_torch(self, value: Any) -> Any:
        """Return an argument with `torch.SymInt`s in place of remembered ints."""
        if type(value) is RememberedInt:
            # One of another record was kept by the user's code, in a cache: here it is a number.
            return sym_int(value.node) if value.node.record is self._record else int(value)
        if isinstance(value, slice):
            return slice(*map(self._to_torch, (value.start, value.stop, value.step)))
        if type(value) in (list, tuple, torch.Size):
            items = [self._to_torch(item) for item in value]
            return items if type(value) is list else tuple(items)
        return value


def _to_python(value: Any) -> Any:
    """Return a result with remembered ints in place of `torch.SymInt`s."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, torch.SymInt):
        return _kept(value.node) if isinstance(value.node, SizeNode) else value
    if isinstance(value, torch.SymFloat | torch.SymBool):
        return value.node.hint
    if type(value) is torch.Size:
        return torch.Size([_to_python(item) for item in value])
    if type(value) in (list, tuple):
        return type(value)(_to_python(item) for item in value)
    return value
